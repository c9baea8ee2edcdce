"""The limits of this machine, the work of each stage, and how near headstart comes: FLOOR.md.

    python benchmarks/floor.py [--times 5] [--quick]
    python benchmarks/floor.py --write           # FLOOR.md again, from the figures that are kept

First what the machine can do at all: a matrix product, a copy in memory, JPEGs decoded by Pillow on one core and on
all, files read. Then what each stage has to do for a picture: multiplications (torch's own counter) and bytes. Work
over ceiling is the floor, in milliseconds; the share says how much of the measured time it is. A forward pass of
convolutions cannot reach the rate of a large matrix product: depthwise layers have little to multiply for each byte.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import HERE, RESULTS, SHARED, TRIAL, WEIGHTS, keep, spread, times_of
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from headstart.data.decode import decode
from headstart.data.sources import read_images
from headstart.data.transforms import evaluation_view
from headstart.data.uri import to_path
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.models.engine import choose_precision, open_engine
from headstart.train.head import solve_head
from headstart.train.part import Kept, Part
from headstart.train.tail import Loop, train_tail

CORES = len(os.sched_getaffinity(0))
NETWORKS = {
    "EfficientNet-Lite0": ("tf_efficientnet_lite0", "last:1"),
    "MobileNetV2": (str(WEIGHTS), "from:blocks.5.2.conv_dw"),  # the tutorial's last 20 layers
}
DATA = ("dogs120", "kaggle-dogs-240")


# -- the machine ------------------------------------------------------------------------------------------------------


def machine(files: dict[str, list[Path]], times: int) -> dict[str, Any]:
    """What it can do at all."""
    found: dict[str, Any] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        taken = times_of(lambda a=a, b=b: a @ b, times)  # type: ignore[misc]
        found[f"matmul_{name}_gflops"] = spread([round(2 * 2048**3 / each / 1e9, 1) for each in taken])
    source = torch.ones(1 << 27)  # 512 MB, beyond every cache
    target = torch.empty_like(source)
    taken = times_of(lambda: target.copy_(source), times)
    found["copy_gb_per_s"] = spread([round(2 * source.nbytes / each / 1e9, 2) for each in taken])
    for data, paths in files.items():
        contents = [path.read_bytes() for path in paths]
        for cores in sorted({1, CORES}):
            taken = times_of(lambda c=contents, n=cores: over(pillow, c, n), times)  # type: ignore[misc]
            found[f"jpeg_{data}_{cores}_cores_per_s"] = spread([round(len(paths) / each, 1) for each in taken])
        total = sum(map(len, contents))
        taken = []
        for _ in range(times):
            forget(paths)
            start = time.perf_counter()
            over(Path.read_bytes, paths, CORES)
            taken.append(time.perf_counter() - start)
        found[f"disk_{data}_mb_per_s"] = spread([round(total / each / 1e6, 1) for each in taken])
    return found


def over(work: Callable[[Any], object], items: Sequence[Any], cores: int) -> None:
    """On so many threads."""
    if cores == 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(cores) as pool:
        for _ in pool.map(lambda number: [work(item) for item in items[number::cores]], range(cores)):
            pass


def pillow(content: bytes) -> None:
    """Nothing but the decoder."""
    Image.open(io.BytesIO(content)).load()


def forget(paths: list[Path]) -> None:
    """Ask the system to drop what it keeps of these files in memory."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


# -- the stages -------------------------------------------------------------------------------------------------------


def per_picture(seconds: list[float], pictures: int) -> dict[str, float]:
    """Milliseconds."""
    return spread([round(1000 * each / pictures, 4) for each in seconds])


def pictures_stages(data: str, paths: list[Path], limits: dict[str, Any], times: int) -> list[dict[str, Any]]:
    """From files to what a network is shown, on all cores."""
    contents = [path.read_bytes() for path in paths]
    size = float(np.mean([len(content) for content in contents]))
    decoded = [decode(content) for content in contents]
    pixels = float(np.mean([picture.width * picture.height for picture in decoded]))
    spec = load_backbone("tf_efficientnet_lite0").spec.whole()

    def view(picture: Image.Image) -> object:
        return evaluation_view(picture, spec)

    ceiling = limits[f"jpeg_{data}_{CORES}_cores_per_s"]["median"]
    disk, copy = limits[f"disk_{data}_mb_per_s"]["median"], limits["copy_gb_per_s"]["median"]
    views = 3 * (pixels + spec.width * spec.height)  # bytes read and written, at the least
    return [
        {
            "stage": f"decode ({data})",
            "work": f"{size / 1000:.0f} kB, {pixels / 1000:.0f} thousand pixels",
            "ceiling": f"Pillow alone on {CORES} cores, {ceiling:.0f} a second; disk {disk:.0f} MB/s",
            "computing_ms": 1000 / ceiling,
            "moving_ms": size / disk / 1000,
            "measured_ms": per_picture(times_of(lambda: over(decode, contents, CORES), times), len(paths)),
        },
        {
            "stage": f"resize to {spec.width}×{spec.height} ({data})",
            "work": f"{views / 1e6:.2f} MB",
            "ceiling": f"copy, {copy:.1f} GB/s",
            "computing_ms": 0.0,
            "moving_ms": views / copy / 1e6,
            "measured_ms": per_picture(times_of(lambda: over(view, decoded, CORES), times), len(paths)),
        },
    ]


def flops(work: Callable[[], object]) -> int:
    """As torch counts them: a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def watched(module: nn.Module, x: torch.Tensor, count: Callable[..., None]) -> None:
    """Run the module once; ``count`` sees each convolution and matrix product with what it is given and tells."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()


def training_flops(module: nn.Module, x: torch.Tensor) -> int:
    """Of a step: forward; back to the weights that are trained; back to inputs that anything trained lies before.

    Counted layer by layer, since torch's counter takes the way back of a depthwise convolution for that of a full one.
    """
    total, trained_before = 0, False

    def count(layer: nn.Module, _: tuple[torch.Tensor, ...], told: torch.Tensor) -> None:
        nonlocal total, trained_before
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        total += 2 * told.numel() * weight[0].numel() * (1 + weight.requires_grad + trained_before)
        trained_before = trained_before or weight.requires_grad

    watched(module, x, count)
    return total


def moved(module: nn.Module, x: torch.Tensor) -> int:
    """Values that convolutions and matrix products read and write, all else being fused into them."""
    total = 0

    def count(_: nn.Module, given: tuple[torch.Tensor, ...], told: torch.Tensor) -> None:
        nonlocal total
        total += given[0].numel() + told.numel()

    watched(module, x, count)
    return total


def floors(flop: float, size: float, limits: dict[str, Any], precision: str, pictures: int = 1) -> dict[str, float]:
    """Milliseconds a picture: of computing, and of moving all bytes through memory."""
    computing = flop / limits[f"matmul_{precision}_gflops"]["median"] / 1e6
    moving = size / limits["copy_gb_per_s"]["median"] / 1e6
    return {"computing_ms": computing / pictures, "moving_ms": moving / pictures}


def told_of(flop: float, size: float) -> str:
    """In words."""
    return f"{flop / 2e6:.0f} million multiplications, {size / 1e6:.1f} MB"


def ceiling_of(limits: dict[str, Any], precision: str) -> str:
    """In words."""
    rate, copy = limits[f"matmul_{precision}_gflops"]["median"], limits["copy_gb_per_s"]["median"]
    return f"{precision} products, {rate:.0f} GFLOP/s; copy, {copy:.1f} GB/s"


def forward_stage(title: str, name: str, limits: dict[str, Any], times: int) -> dict[str, Any]:
    """The frozen part up to the head, as the engine runs it."""
    backbone = load_backbone(name)
    shape = (3, backbone.spec.height, backbone.spec.width)
    parts = cut(backbone.module, "head", input_shape=shape)
    precision = choose_precision("auto", "cpu")
    one = torch.zeros(1, *shape)
    flop, size = flops(lambda: parts.prefix(one)), moved(parts.prefix, one) * (2 if precision == "bfloat16" else 4)
    engine = open_engine(parts.prefix, backbone.spec, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (engine.batch, *shape[1:], 3), np.uint8)
    return {
        "stage": f"forward ({title}, {engine.name} {engine.precision})",
        "work": told_of(flop, size),
        "ceiling": ceiling_of(limits, precision),
        **floors(flop, size, limits, precision),
        "measured_ms": per_picture(times_of(lambda: engine(images), 3 * times, before=3), len(images)),
    }


def training_stage(title: str, name: str, train: str, limits: dict[str, Any], images: int) -> dict[str, Any]:
    """An epoch of training the tail, float32, batches of 32."""
    backbone = load_backbone(name)
    parts = cut(backbone.module, train, input_shape=(3, backbone.spec.height, backbone.spec.width))
    for parameter_name, parameter in backbone.module.named_parameters():
        parameter.requires_grad_(parameter_name in set(parts.trainable))
    one = torch.zeros(1, *parts.feature_shape)
    flop = training_flops(parts.tail, one)
    # Forward, and twice as much back; the weights, their gradient and the two moments of AdamW once a step.
    weights = sum(parameter.numel() for parameter in parts.tail.parameters())
    size = 4 * (3 * moved(parts.tail, one) + 8 * weights / 32)
    chance = np.random.default_rng(0)
    features = chance.random((images, *parts.feature_shape), np.float32).astype(np.float16)
    kept = Part(Kept(features), chance.integers(0, 120, images))
    few = Part(Kept(features[:32]), kept.targets[:32])
    lines = train_tail(parts.tail, kept, few, Loop(epochs=3, batch=32))
    return {
        "stage": f"training step ({title}, {train})",
        "work": told_of(flop, size),
        "ceiling": ceiling_of(limits, "float32"),
        **floors(flop, size, limits, "float32"),
        "measured_ms": per_picture([line["seconds"] for line in lines], images),
    }


def head_stage(paths: list[Path], labels: list[str], limits: dict[str, Any]) -> dict[str, Any]:
    """The whole path of L2 strengths over real features, float32; a picture's share of it."""
    backbone = load_backbone("tf_efficientnet_lite0")
    spec = backbone.spec.whole()
    parts = cut(backbone.module, "head", input_shape=(3, spec.height, spec.width))
    engine = open_engine(parts.prefix, spec, device="cpu")
    with ThreadPoolExecutor(CORES) as pool:
        views = list(pool.map(lambda path: evaluation_view(decode(path), spec), paths))
    x = torch.from_numpy(np.concatenate([engine(np.stack(views[i : i + 32])) for i in range(0, len(views), 32)]))
    classes = sorted(set(labels))
    y = torch.tensor([classes.index(label) for label in labels])
    fifth = len(y) // 5
    train, validation = (x[fifth:], y[fifth:]), (x[:fifth], y[:fifth])
    taken = times_of(lambda: solve_head(train, validation, classes=len(classes)), 3)
    flop = flops(lambda: solve_head(train, validation, classes=len(classes)))
    evaluations = flop / (4 * len(train[0]) * x.shape[1] * len(classes))  # two products each, there and back
    size = 2 * evaluations * 4 * x.numel()
    return {
        "stage": f"head, the whole path ({len(train[0])} pictures, {len(classes)} classes)",
        "work": told_of(flop / len(train[0]), size / len(train[0])) + f" (about {evaluations:.0f} evaluations)",
        "ceiling": ceiling_of(limits, "float32"),
        **floors(flop, size, limits, "float32", len(train[0])),
        "measured_ms": per_picture(taken, len(train[0])),
    }


# -- the page ---------------------------------------------------------------------------------------------------------


def page(result: dict[str, Any]) -> str:
    """FLOOR.md."""
    machine, limits = result["machine"], result["ceilings"]
    lines = [
        "# The floor: what this machine allows, and how near headstart comes",
        "",
        f"Made by `{result['command']}` on {result['date']}: {machine['cores']} cores of {machine['processor']}. "
        "Median, with the lowest and highest in brackets.",
        "",
        "| the machine | |",
        "| --- | --- |",
        *(f"| {name.replace('_', ' ')} | {figure(value)} |" for name, value in limits.items()),
        "",
        "A multiplication is counted with its addition. *Computing* is at the rate of a large matrix product, or of",
        "Pillow's decoder; a network of depthwise layers has little to multiply for each byte and cannot come near it.",
        "*Moving* is all that its layers read and write, at the rate of a copy in memory (a file: of the disk, with",
        "nothing in memory yet); what stays in the caches is quicker. The share is the longer of the two over what was",
        "measured with the files in memory. About 100% is as quick as the large product, which another size may pass",
        "by a few percent.",
        "",
        "| stage | work a picture | ceiling | computing, ms a picture | moving, ms | measured, ms | share |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in result["stages"]:
        computing, moving = each["computing_ms"], each["moving_ms"]
        # Decoding is measured with the files in memory: its limit is the decoder, not the disk.
        limit = computing if each["stage"].startswith("decode") else max(computing, moving)
        lines.append(
            f"| {each['stage']} | {each['work']} | {each['ceiling']} | {computing:.3f} | {moving:.3f} | "
            f"{figure(each['measured_ms'])} | {limit / each['measured_ms']['median']:.0%} |"
        )
    lines += ["", *whole_fit(result)]
    return "\n".join(lines) + "\n"


def whole_fit(result: dict[str, Any]) -> list[str]:
    """The first fit of 10,222 pictures against the sum of its floors, where it has been measured."""
    place = RESULTS / "first_fit.json"
    if not place.exists():
        return []
    seconds = json.loads(place.read_text())["from_nothing_s"]["median"]
    by_stage = {each["stage"]: each["computing_ms"] for each in result["stages"]}
    needed = ("decode (dogs120)", "forward (EfficientNet-Lite0", "head, the whole path")
    floor = sum(next(ms for stage, ms in by_stage.items() if stage.startswith(sign)) for sign in needed) * 10.222
    return [
        f"A fit of 10,222 pictures from nothing (`first_fit.py`) takes {seconds:.1f} s; its decoding, forward pass and "
        f"head need {floor:.1f} s of pure computing together, {floor / seconds:.0%} of it. The rest is what keeps them "
        "from their ceilings, and imports, the check of every picture before, the engine's preparation, the store, the "
        "evaluation's bootstrap and the report.",
    ]


def figure(value: dict[str, float]) -> str:
    """Median and range."""
    return f"{value['median']:.4g} ({value['low']:.4g} to {value['high']:.4g})"


def main() -> None:
    """The machine, then stage after stage."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--times", type=int, default=5)
    arguments.add_argument("--write", action="store_true", help="only FLOOR.md, from the figures that are kept")
    arguments.add_argument("--quick", action="store_true", help="few pictures: only whether it runs")
    given = arguments.parse_args()
    folder, beside = (TRIAL, TRIAL) if given.quick else (RESULTS, HERE)
    if not given.write:
        times, images = (1, 160) if given.quick else (given.times, 2000)
        manifests = {data: read_images(SHARED / data) for data in DATA}
        files = {data: [to_path(uri) for uri in each.uris[:images]] for data, each in manifests.items()}
        limits = machine(files, times)
        stages = [line for data in DATA for line in pictures_stages(data, files[data], limits, times)]
        stages += [forward_stage(title, name, limits, times) for title, (name, _) in NETWORKS.items()]
        stages += [training_stage(title, *network, limits, images) for title, network in NETWORKS.items()]
        dogs = manifests["dogs120"]
        count = 400 if given.quick else 6000
        some, labels = [to_path(uri) for uri in dogs.uris[:count]], [str(label) for label in dogs.labels[:count]]
        stages.append(head_stage(some, labels, limits))
        keep("floor", {"ceilings": limits, "stages": stages}, quick=given.quick)
    (beside / "FLOOR.md").write_text(page(json.loads((folder / "floor.json").read_text())))


if __name__ == "__main__":
    main()
