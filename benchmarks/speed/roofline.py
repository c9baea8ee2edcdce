"""The limits of this machine, the work of each stage, and how close headstart comes: a roofline analysis.

    python -m benchmarks.speed.roofline [--times 5] [--quick]

First, what the machine can do at all: a matrix product, a copy in memory, JPEGs decoded by Pillow on one core and on
all, files read from disk. Then, what each stage has to do per image: multiplications (by torch's own counter) and
bytes. Work divided by the limit is the minimal time in milliseconds; its share of the measured time shows how close the
stage comes. Convolutions cannot reach the rate of a large matrix product, because depthwise layers have few
multiplications per byte. The page is ROOFLINE.md, written by ``python -m benchmarks.pages``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from benchmarks.harness import SHARED, WEIGHTS, Figures, save, spread, times_of
from benchmarks.speed.machine_limits import CORES, map_over, measure_limits
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from headstart.data.decode import decode
from headstart.data.sources.read import read_images
from headstart.data.transforms import evaluation_view
from headstart.data.uri import to_path
from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.inference.engine import choose_precision, open_engine
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.train.finetune import TrainConfig, finetune
from headstart.train.heads import HeadProblem, head_solver

NETWORKS = {
    "EfficientNet-Lite0": ("tf_efficientnet_lite0", "last:1"),
    "MobileNetV2": (str(WEIGHTS), "from:blocks.5.2.conv_dw"),  # the tutorial's last 20 layers
}
DATA = ("dogs120", "kaggle-dogs-240")
Count = Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]


def per_image(seconds: list[float], images: int) -> dict[str, float]:
    """Milliseconds."""
    return spread([round(1000 * each / images, 4) for each in seconds])


# -- counting work -----------------------------------------------------------------------------------------------------


def count_flops(work: Callable[[], object]) -> int:
    """As torch counts them: a multiplication with its addition is two."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def visit_products(module: nn.Module, x: torch.Tensor, count: Count) -> None:
    """Run the module once; call ``count`` with layer, inputs and output of each convolution and linear layer."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        module(x)
    for hook in hooks:
        hook.remove()


def training_flops(module: nn.Module, x: torch.Tensor) -> int:
    """FLOPs of a training step: forward, gradients of trainable weights, and the gradients of inputs that these need.

    Counted layer by layer, because torch's counter treats the backward pass of a depthwise convolution as that of a
    full one.
    """
    total, trainable_before = 0, False

    def count(layer: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total, trainable_before
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        total += 2 * output.numel() * weight[0].numel() * (1 + weight.requires_grad + trainable_before)
        trainable_before = trainable_before or weight.requires_grad

    visit_products(module, x, count)
    return total


def values_moved(module: nn.Module, x: torch.Tensor) -> int:
    """Values that convolutions and linear layers read and write, with everything else fused into them."""
    total = 0

    def count(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        total += inputs[0].numel() + output.numel()

    visit_products(module, x, count)
    return total


def minimal_times(flops: float, size: float, limits: Figures, precision: str, images: int = 1) -> dict[str, float]:
    """Milliseconds per image: of computing, and of moving all bytes through memory."""
    computing = flops / limits[f"matmul_{precision}_gflops"]["median"] / 1e6
    moving = size / limits["copy_gb_per_s"]["median"] / 1e6
    return {"computing_ms": computing / images, "moving_ms": moving / images}


def describe_work(flops: float, size: float) -> str:
    """Work of a stage, in words."""
    return f"{flops / 2e6:.0f} million multiplications, {size / 1e6:.1f} MB"


def describe_limit(limits: Figures, precision: str) -> str:
    """Limits of a stage, in words."""
    rate, copy = limits[f"matmul_{precision}_gflops"]["median"], limits["copy_gb_per_s"]["median"]
    return f"{precision} products, {rate:.0f} GFLOP/s; copy, {copy:.1f} GB/s"


# -- stages ------------------------------------------------------------------------------------------------------------


def image_stages(data: str, paths: list[Path], limits: Figures, times: int) -> list[Figures]:
    """From files to the network's input, on all cores."""
    contents = [path.read_bytes() for path in paths]
    size = float(np.mean([len(content) for content in contents]))
    decoded = [decode(content) for content in contents]
    pixels = float(np.mean([image.width * image.height for image in decoded]))
    spec = load_backbone("tf_efficientnet_lite0").spec.whole()

    def view(image: Image.Image) -> object:
        return evaluation_view(image, spec)

    ceiling = limits[f"jpeg_{data}_{CORES}_cores_per_s"]["median"]
    disk, copy = limits[f"disk_{data}_mb_per_s"]["median"], limits["copy_gb_per_s"]["median"]
    moved = 3 * (pixels + spec.width * spec.height)  # bytes read and written, at least
    return [
        {
            "stage": f"decode ({data})",
            "work": f"{size / 1000:.0f} kB, {pixels / 1000:.0f} thousand pixels",
            "ceiling": f"Pillow alone on {CORES} cores, {ceiling:.0f} per second; disk {disk:.0f} MB/s",
            "computing_ms": 1000 / ceiling,
            "moving_ms": size / disk / 1000,
            "measured_ms": per_image(times_of(lambda: map_over(decode, contents, CORES), times), len(paths)),
        },
        {
            "stage": f"resize to {spec.width}×{spec.height} ({data})",
            "work": f"{moved / 1e6:.2f} MB",
            "ceiling": f"copy, {copy:.1f} GB/s",
            "computing_ms": 0.0,
            "moving_ms": moved / copy / 1e6,
            "measured_ms": per_image(times_of(lambda: map_over(view, decoded, CORES), times), len(paths)),
        },
    ]


def forward_stage(title: str, name: str, limits: Figures, times: int) -> Figures:
    """The frozen part up to the head, as the engine runs it."""
    backbone = load_backbone(name)
    shape = (3, backbone.spec.height, backbone.spec.width)
    parts = cut(backbone.module, "head", input_shape=shape)
    precision = choose_precision("auto", "cpu")
    one = torch.zeros(1, *shape)
    flops = count_flops(lambda: parts.prefix(one))
    size = values_moved(parts.prefix, one) * (2 if precision == "bfloat16" else 4)
    engine = open_engine(parts.prefix, backbone.spec, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (engine.batch_size, *shape[1:], 3), np.uint8)
    return {
        "stage": f"forward ({title}, {engine.name} {engine.precision})",
        "work": describe_work(flops, size),
        "ceiling": describe_limit(limits, precision),
        **minimal_times(flops, size, limits, precision),
        "measured_ms": per_image(times_of(lambda: engine(images), 3 * times, warmup=3), len(images)),
    }


def training_stage(title: str, name: str, train: str, limits: Figures, images: int) -> Figures:
    """An epoch of fine-tuning the tail, float32, batches of 32."""
    backbone = load_backbone(name)
    parts = cut(backbone.module, train, input_shape=(3, backbone.spec.height, backbone.spec.width))
    for parameter_name, parameter in backbone.module.named_parameters():
        parameter.requires_grad_(parameter_name in set(parts.trainable))
    one = torch.zeros(1, *parts.feature_shape)
    flops = training_flops(parts.tail, one)
    # The forward pass, and twice as much backward; per step the weights, their gradient and the two moments of AdamW.
    weights = sum(parameter.numel() for parameter in parts.tail.parameters())
    size = 4 * (3 * values_moved(parts.tail, one) + 8 * weights / 32)
    rng = np.random.default_rng(0)
    features = rng.random((images, *parts.feature_shape), np.float32).astype(np.float16)
    train_data = FeatureDataset(InMemoryFeatures(features), rng.integers(0, 120, images))
    validation = FeatureDataset(InMemoryFeatures(features[:32]), train_data.targets[:32])
    history = finetune(parts.tail, train_data, validation, TrainConfig(epochs=3, batch_size=32))
    return {
        "stage": f"training step ({title}, {train})",
        "work": describe_work(flops, size),
        "ceiling": describe_limit(limits, "float32"),
        **minimal_times(flops, size, limits, "float32"),
        "measured_ms": per_image([record.seconds for record in history], images),
    }


def head_stage(paths: list[Path], labels: list[str], limits: Figures) -> Figures:
    """The whole regularization path of a head on real features, float32; per image."""
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

    def solve() -> object:
        return head_solver("lbfgs").fit(train, validation, HeadProblem(classes=len(classes)))

    seconds = times_of(solve, 3)
    flops = count_flops(solve)
    evaluations = flops / (4 * len(train[0]) * x.shape[1] * len(classes))  # two products each, forward and backward
    size = 2 * evaluations * 4 * x.numel()
    work = describe_work(flops / len(train[0]), size / len(train[0]))
    return {
        "stage": f"head, regularization path ({len(train[0])} images, {len(classes)} classes)",
        "work": f"{work} (about {evaluations:.0f} evaluations)",
        "ceiling": describe_limit(limits, "float32"),
        **minimal_times(flops, size, limits, "float32", len(train[0])),
        "measured_ms": per_image(seconds, len(train[0])),
    }


def main() -> None:
    """The machine, then stage by stage."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few images: shows only that the script runs")
    given = parser.parse_args()
    times, images = (1, 160) if given.quick else (given.times, 2000)
    manifests = {data: read_images(SHARED / data) for data in DATA}
    files = {data: [to_path(uri) for uri in each.uris[:images]] for data, each in manifests.items()}
    limits = measure_limits(files, times)
    stages = [stage for data in DATA for stage in image_stages(data, files[data], limits, times)]
    stages += [forward_stage(title, name, limits, times) for title, (name, _) in NETWORKS.items()]
    stages += [training_stage(title, *network, limits, images) for title, network in NETWORKS.items()]
    dogs, count = manifests["dogs120"], 400 if given.quick else 6000
    some, labels = [to_path(uri) for uri in dogs.uris[:count]], [str(label) for label in dogs.labels[:count]]
    stages.append(head_stage(some, labels, limits))
    save("speed/roofline", {"ceilings": limits, "stages": stages}, quick=given.quick, show=given.quick)


if __name__ == "__main__":
    main()
