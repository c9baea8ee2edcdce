"""What a GPU brings: the frozen part, extraction from files, bulk prediction, a training epoch, a fit from nothing.

    python benchmarks/gpu.py [--seconds 440] [--quick]

On a machine without a GPU it says so, runs nothing and writes nothing. No data set is needed: the pictures are random
cut-outs of those that scikit-image and scikit-learn carry, written as JPEGs, with the place they are cut from as label.
A part that would not end within --seconds is left out and says so; the figures are written after each part, so that a
machine that is taken away costs one part.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from harness import ROOT, emptied, keep, run, spread, times_of
from PIL import Image
from torch import nn

from headstart.classifier import Classifier
from headstart.data.checkup import inspect_all
from headstart.data.sources import read_images
from headstart.data.views import read_views
from headstart.features.extract import extract
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.models.backbone import Backbone, digest, load_backbone
from headstart.models.cut import Cut, cut
from headstart.models.engine import Normalised, choose_batch, open_engine
from headstart.scale.pool import Kind
from headstart.settings import EngineSettings, FitSettings
from headstart.train.part import Kept, Part
from headstart.train.tail import Loop, train_tail

SIZE = (500, 375)  # pixels, the middle of Kaggle's dogs
MODELS = {"tf_efficientnet_lite0": ("head", None), "mobilenetv2_100": ("from:blocks.5.2.conv_dw", "random")}


def sources() -> dict[str, np.ndarray]:
    """Pictures that packages carry."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    carried = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    return carried | {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}


def make_pictures(folder: Path, count: int) -> Path:
    """``count`` JPEGs in 24 classes: a random cut-out of a quarter of a picture, turned or not."""
    quarters = {}
    for name, picture in sources().items():
        height, width = picture.shape[0] // 2, picture.shape[1] // 2
        for number, (top, left) in enumerate(((0, 0), (0, width), (height, 0), (height, width))):
            quarters[f"{name}-{number}"] = Image.fromarray(picture[top : top + height, left : left + width, :3])
    labels = sorted(quarters)
    for label in labels:
        (folder / label).mkdir(parents=True)

    def make(number: int) -> None:
        chance = np.random.default_rng(number)
        label = labels[number % len(labels)]
        width, height = quarters[label].size
        share = chance.uniform(0.5, 0.9)
        left, top = chance.uniform(0, 1 - share, 2) * (width, height)
        box = (left, top, left + share * width, top + share * height)
        picture = quarters[label].resize(SIZE, Image.Resampling.BICUBIC, box=box)
        if chance.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        kept = io.BytesIO()
        picture.save(kept, "JPEG", quality=90)
        (folder / label / f"{number:06}.jpg").write_bytes(kept.getvalue())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(make, range(count)))
    return folder


def opened(name: str) -> tuple[Backbone, Cut]:
    """A network and where it is cut."""
    train, weights_file = MODELS[name]
    backbone = load_backbone(name, weights_file=weights_file)
    return backbone, cut(backbone.module, train, input_shape=(3, backbone.spec.height, backbone.spec.width))


def on_device(work: Callable[[], object], times: int) -> list[float]:
    """Seconds a call, the device waited for."""

    def whole() -> None:
        work()
        torch.cuda.synchronize()

    return times_of(whole, times, before=3)


# -- parts: each gives its figures -----------------------------------------------------------------------------------


def ceilings(_: argparse.Namespace) -> dict[str, Any]:
    """The device's own: a matrix product and a copy."""
    found: dict[str, Any] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        taken = on_device(lambda a=a, b=b: a @ b, 5)  # type: ignore[misc]
        found[f"matmul_{name}_tflops"] = spread([round(2 * 8192**3 / seconds / 1e12, 1) for seconds in taken])
    source = torch.empty(1 << 30, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    taken = on_device(lambda: target.copy_(source), 5)
    found["copy_gb_per_s"] = spread([round(2 * (1 << 30) / seconds / 1e9, 1) for seconds in taken])
    host = torch.empty(256 << 20, dtype=torch.uint8, pin_memory=True)
    taken = on_device(lambda: target[: 256 << 20].copy_(host, non_blocking=True), 5)
    return found | {"host_to_device_gb_per_s": spread([round((256 << 20) / each / 1e9, 1) for each in taken])}


def variants(whole: nn.Module) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Ways to run a frozen part on the device, on images that are there, uint8 (B, H, W, 3)."""
    plain = copy.deepcopy(whole).cuda()
    last = copy.deepcopy(whole).cuda().to(memory_format=torch.channels_last)
    half = copy.deepcopy(last).to(torch.bfloat16)

    def autocast(images: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            return plain(images)  # type: ignore[no-any-return]

    return {
        "float32": plain,
        "float32 channels_last": last,
        "bfloat16 by autocast": autocast,
        "bfloat16 channels_last": half,
        "bfloat16 channels_last, CUDA graph": graphed(half),
        "bfloat16 channels_last, torch.compile": torch.compile(copy.deepcopy(half)),
    }


def graphed(module: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Captured once for each size of batch, then replayed."""
    kept: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]] = {}

    def forward(images: torch.Tensor) -> torch.Tensor:
        if len(images) not in kept:
            given = images.clone()
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    module(given)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                told = module(given)
            kept[len(images)] = graph, given, told
        graph, given, told = kept[len(images)]
        given.copy_(images)
        graph.replay()
        return told

    return forward


def frozen_part(given: argparse.Namespace) -> dict[str, Any]:
    """Pictures a second through the frozen part, that are on the device already; beside it headstart's engine."""
    found: dict[str, Any] = {}
    for name in MODELS:
        backbone, parts = opened(name)
        whole = Normalised(parts.prefix, backbone.spec).eval()
        size = (backbone.spec.height, backbone.spec.width, 3)
        lines: dict[str, Any] = {}
        with torch.inference_mode():
            for variant, forward in variants(whole).items():
                for batch in (32, 256, 1024):
                    if variant.endswith("compile") and batch != 256:
                        continue  # each size compiles again
                    images = torch.randint(0, 256, (batch, *size), dtype=torch.uint8, device="cuda")
                    start = time.perf_counter()
                    forward(images)
                    torch.cuda.synchronize()
                    first = round(time.perf_counter() - start, 2)
                    taken = on_device(lambda forward=forward, images=images: forward(images), given.times)  # type: ignore[misc]
                    lines[f"{variant}, batch {batch}"] = {
                        "per_s": spread([round(batch / seconds) for seconds in taken]),
                        "first_s": first,
                    }
        for batch in (32, 256, 1024):
            images_here = np.random.default_rng(0).integers(0, 256, (batch, *size), np.uint8)
            for precision in ("float32", "bfloat16"):
                engine = open_engine(parts.prefix, backbone.spec, batch=batch, device="cuda", precision=precision)
                taken = times_of(lambda engine=engine, images=images_here: engine(images), given.times)  # type: ignore[misc]
                key = f"headstart's engine from host memory, {precision}, batch {batch}"
                lines[key] = {"per_s": spread([round(batch / seconds) for seconds in taken])}
        found[name] = lines
    return found


def from_files(given: argparse.Namespace) -> dict[str, Any]:
    """Decoding alone, extraction into a store, and bulk prediction, from JPEGs."""
    manifest = inspect_all(read_images(given.pictures))
    backbone, parts = opened("tf_efficientnet_lite0")
    spec, pixels = backbone.spec.whole(), FitSettings.max_pixels
    images = len(manifest)

    def decode(kind: Kind) -> None:
        for _ in read_views(manifest, range(images), spec, batch=256, max_pixels=pixels, kind=kind):
            pass

    found: dict[str, Any] = {"images": images, "cores": len(os.sched_getaffinity(0))}
    for kind in get_args(Kind):
        taken = times_of(lambda kind=kind: decode(kind), 2)  # type: ignore[misc]
        found[f"decoding_alone_per_s_in_{kind}"] = spread([round(images / each) for each in taken])
    for batch in (32, None):
        size = choose_batch(batch, "cuda")
        engine = open_engine(parts.prefix, spec, batch=size, device="cuda")
        facts = FeatureSpace(
            backbone.name, digest(parts.prefix), parts.name, spec, engine.precision, "float16", parts.feature_shape
        )

        def extraction(engine: Any = engine, facts: FeatureSpace = facts, size: int = size) -> None:
            space = FeatureStore(emptied("gpu-store")).space(facts)
            extract(manifest, space, spec, open_run=lambda: engine, batch=size, max_pixels=pixels)

        found[f"extraction_per_s_batch_{size}"] = spread([round(images / each) for each in times_of(extraction, 2)])
        classifier, settings = Classifier.pretrained(backbone.name), EngineSettings(device="cuda", extract_batch=batch)
        taken = times_of(
            lambda classifier=classifier, settings=settings: classifier.probabilities(manifest, settings=settings), 2
        )
        found[f"prediction_per_s_batch_{size}"] = spread([round(images / seconds) for seconds in taken])
    return found


def epoch(given: argparse.Namespace) -> dict[str, Any]:
    """An epoch of the tutorial's recipe over 7,666 kept features, 160×7×7 each, by headstart's loop."""
    backbone, parts = opened("mobilenetv2_100")
    for name, parameter in backbone.module.named_parameters():
        parameter.requires_grad_(name in set(parts.trainable))
    chance = np.random.default_rng(0)
    images = 512 if given.quick else 7666
    features = chance.standard_normal((images, *parts.feature_shape), np.float32).astype(np.float16)
    train = Part(Kept(features), chance.integers(0, 120, images))
    few = Part(Kept(features[:256]), train.targets[:256])
    found: dict[str, Any] = {"images": images}
    for device in ("cuda", "cpu"):
        for batch in (32, 256):
            if device == "cpu" and batch != 32:
                continue
            tail = copy.deepcopy(parts.tail).to(device)
            loop = Loop(epochs=3 if device == "cuda" else 1, batch=batch, optimizer="sgd", batchnorm="train")
            lines = train_tail(tail, train, few, loop, device=device)
            seconds = [line["seconds"] for line in lines]
            found[f"{device}_s_batch_{batch}"] = spread(seconds[1:] or seconds)
    return found


def from_nothing(given: argparse.Namespace) -> dict[str, Any]:
    """``headstart fit`` as a command, with an empty store and with a full one."""
    found: dict[str, Any] = {}
    for device in ("cuda", "cpu"):
        folder = emptied("gpu-fit")
        words = ("fit", given.pictures, "--out", folder / "run", "--store", folder / "store", "--device", device)
        for store in ("empty", "full"):
            start = time.perf_counter()
            run(sys.executable, "-m", "headstart.cli", *words)
            stages = json.loads((folder / "run" / "evaluation.json").read_text())["summary"]["seconds"]
            found[f"{device}, store {store}"] = {
                "seconds": round(time.perf_counter() - start, 2),
                "stages_s": stages,
            }
    return found


PARTS: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], int]] = {  # with the seconds that each may take
    "ceilings": (ceilings, 15),
    "frozen_part": (frozen_part, 120),
    "from_files": (from_files, 90),
    "epoch": (epoch, 60),
    "from_nothing": (from_nothing, 120),
}


def main() -> None:
    """Part after part, while there is time."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=440)
    arguments.add_argument("--times", type=int, default=10)
    arguments.add_argument("--images", type=int, default=8000)
    arguments.add_argument("--quick", action="store_true", help="few pictures: only whether it runs")
    given = arguments.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    if given.quick:
        given.times, given.images = 2, 480
    start = time.monotonic()
    given.pictures = make_pictures(emptied("gpu-pictures"), given.images)
    figures: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "pictures": f"{given.images} JPEGs of {SIZE[0]}×{SIZE[1]}",
        "making_pictures_s": round(time.monotonic() - start, 1),
    }
    for name, (part, needed) in PARTS.items():
        began = time.monotonic()
        if began - start + needed > given.seconds:
            figures[name] = f"left out: {given.seconds - began + start:.0f} s were left, it may take {needed}"
            continue
        try:
            figures[name] = part(given)
        except (Exception, SystemExit) as failure:  # the other parts' figures are worth having all the same
            figures[name] = f"failed: {type(failure).__name__}: {failure}"
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        keep("gpu", figures, quick=given.quick, say=False)
    keep("gpu", figures, quick=given.quick)
    print(f"kept below {ROOT / 'benchmarks' / 'results'}" * (not given.quick))


if __name__ == "__main__":
    main()
