"""What a GPU gains: the frozen part in several precisions, extraction and prediction from files, an epoch, a whole fit.

    python -m benchmarks.speed.gpu [--seconds 440] [--quick]

Without a GPU it measures nothing. No data set is needed: the images are random crops of those that scikit-image and
scikit-learn ship, written as JPEGs, with the place they are cropped from as label. A section that would not end within
--seconds is skipped and states so; figures are saved after each section, so that the loss of the machine costs one
section.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks.harness import Figures, empty_folder, read_json, run, save, spread, times_of
from benchmarks.speed.gpu_images import SIZE, write_images
from benchmarks.speed.gpu_variants import variants

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, FitSettings
from headstart.data.inspection import inspect_all
from headstart.data.sources.read import read_images
from headstart.data.views import read_views
from headstart.features.extractor import extract_features
from headstart.features.key import FeatureSpace
from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.features.store import FeatureStore
from headstart.inference.engine import choose_batch_size, open_engine
from headstart.models.backbone import Backbone, digest, load_backbone
from headstart.models.cut import Cut, cut
from headstart.train.finetune import TrainConfig, finetune

MODELS = {"tf_efficientnet_lite0": ("head", None), "mobilenetv2_100": ("from:blocks.5.2.conv_dw", "random")}


def load(name: str) -> tuple[Backbone, Cut]:
    """A network and its cut."""
    train, weights_file = MODELS[name]
    backbone = load_backbone(name, weights_file=weights_file)
    return backbone, cut(backbone.module, train, input_shape=(3, backbone.spec.height, backbone.spec.width))


def device_times(work: Callable[[], object], times: int) -> list[float]:
    """Seconds of each call, until the device has finished."""

    def until_done() -> None:
        work()
        torch.cuda.synchronize()

    return times_of(until_done, times, warmup=3)


# -- sections: each returns its figures --------------------------------------------------------------------------------


def ceilings(_: argparse.Namespace) -> Figures:
    """The device's own limits: a matrix product and a copy."""
    found: Figures = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        seconds = device_times(lambda a=a, b=b: a @ b, 5)  # type: ignore[misc]
        found[f"matmul_{name}_tflops"] = spread([round(2 * 8192**3 / each / 1e12, 1) for each in seconds])
    source = torch.empty(1 << 30, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    seconds = device_times(lambda: target.copy_(source), 5)
    found["copy_gb_per_s"] = spread([round(2 * (1 << 30) / each / 1e9, 1) for each in seconds])
    host = torch.empty(256 << 20, dtype=torch.uint8, pin_memory=True)
    seconds = device_times(lambda: target[: 256 << 20].copy_(host, non_blocking=True), 5)
    return found | {"host_to_device_gb_per_s": spread([round((256 << 20) / each / 1e9, 1) for each in seconds])}


def frozen_part(given: argparse.Namespace) -> Figures:
    """Images per second through the frozen part, from device memory; and headstart's engine, from host memory."""
    found: Figures = {}
    for name in MODELS:
        backbone, parts = load(name)
        size = (backbone.spec.height, backbone.spec.width, 3)
        lines: Figures = {}
        with torch.inference_mode():
            for variant, forward in variants(parts.prefix, backbone.spec).items():
                for batch in (32, 256, 1024):
                    if variant.endswith("compile") and batch != 256:
                        continue  # each batch size compiles again
                    images = torch.randint(0, 256, (batch, *size), dtype=torch.uint8, device="cuda")
                    start = time.perf_counter()
                    forward(images)
                    torch.cuda.synchronize()
                    first = round(time.perf_counter() - start, 2)
                    seconds = device_times(lambda forward=forward, images=images: forward(images), given.times)  # type: ignore[misc]
                    per_s = spread([round(batch / each) for each in seconds])
                    lines[f"{variant}, batch {batch}"] = {"per_s": per_s, "first_s": first}
        found[name] = lines | engine_rates(parts, backbone, given.times)
    return found


def engine_rates(parts: Cut, backbone: Backbone, times: int) -> Figures:
    """headstart's engine, from host memory to host memory."""
    lines: Figures = {}
    size = (backbone.spec.height, backbone.spec.width, 3)
    for batch in (32, 256, 1024):
        images = np.random.default_rng(0).integers(0, 256, (batch, *size), np.uint8)
        for precision in ("float32", "bfloat16"):
            engine = open_engine(parts.prefix, backbone.spec, batch_size=batch, device="cuda", precision=precision)
            seconds = times_of(lambda engine=engine, images=images: engine(images), times)  # type: ignore[misc]
            key = f"headstart's engine from host memory, {precision}, batch {batch}"
            lines[key] = {"per_s": spread([round(batch / each) for each in seconds])}
    return lines


def from_files(given: argparse.Namespace) -> Figures:
    """Decoding alone, extraction into a store, and prediction in bulk, from JPEGs."""
    manifest = inspect_all(read_images(given.images_folder))
    backbone, parts = load("tf_efficientnet_lite0")
    spec, max_pixels = backbone.spec.whole(), FitSettings.max_pixels
    count = len(manifest)

    def decode(kind: str) -> None:
        for _ in read_views(manifest, range(count), spec, batch_size=256, max_pixels=max_pixels, kind=kind):
            pass

    found: Figures = {"images": count, "cores": len(os.sched_getaffinity(0))}
    for kind in ("threads", "processes"):
        seconds = times_of(lambda kind=kind: decode(kind), 2)  # type: ignore[misc]
        found[f"decoding_alone_per_s_in_{kind}"] = spread([round(count / each) for each in seconds])
    for batch in (32, None):
        size = choose_batch_size(batch, "cuda")
        engine = open_engine(parts.prefix, spec, batch_size=size, device="cuda")
        space = FeatureSpace(
            backbone.name, digest(parts.prefix), parts.name, spec, engine.precision, "float16", parts.feature_shape
        )

        def extraction(engine: Any = engine, space: FeatureSpace = space, size: int = size) -> None:
            table = FeatureStore(empty_folder("gpu-store")).table(space)
            extract_features(manifest, table, spec, open_engine=lambda: engine, batch_size=size, max_pixels=max_pixels)

        found[f"extraction_per_s_batch_{size}"] = spread([round(count / each) for each in times_of(extraction, 2)])
        classifier = Classifier.pretrained(backbone.name)
        settings = EngineSettings(device="cuda", extract_batch_size=batch)
        seconds = times_of(lambda c=classifier, s=settings: c.infer(manifest, settings=s), 2)  # type: ignore[misc]
        found[f"prediction_per_s_batch_{size}"] = spread([round(count / each) for each in seconds])
    return found


def epoch(given: argparse.Namespace) -> Figures:
    """An epoch of the tutorial's recipe over 7,666 stored features of 160×7×7, in headstart's loop."""
    backbone, parts = load("mobilenetv2_100")
    for name, parameter in backbone.module.named_parameters():
        parameter.requires_grad_(name in set(parts.trainable))
    rng = np.random.default_rng(0)
    images = 512 if given.quick else 7666
    features = rng.standard_normal((images, *parts.feature_shape), np.float32).astype(np.float16)
    train = FeatureDataset(InMemoryFeatures(features), rng.integers(0, 120, images))
    validation = FeatureDataset(InMemoryFeatures(features[:256]), train.targets[:256])
    found: Figures = {"images": images}
    for device, batch, epochs in (("cuda", 32, 3), ("cuda", 256, 3), ("cpu", 32, 1)):
        tail = copy.deepcopy(parts.tail).to(device)
        config = TrainConfig(epochs=epochs, batch_size=batch, optimizer="sgd", batchnorm="train")
        history = finetune(tail, train, validation, config, device=device)
        seconds = [record.seconds for record in history]
        found[f"{device}_s_batch_{batch}"] = spread(seconds[1:] or seconds)
    return found


def from_nothing(given: argparse.Namespace) -> Figures:
    """``headstart fit`` as a command, with an empty store and with a full one."""
    found: Figures = {}
    for device in ("cuda", "cpu"):
        folder = empty_folder("gpu-fit")
        paths = ("--out", folder / "run", "--cache-dir", folder / "store")
        for store in ("empty", "full"):
            start = time.perf_counter()
            run(sys.executable, "-m", "headstart.cli", "fit", given.images_folder, *paths, "--device", device)
            seconds = round(time.perf_counter() - start, 2)
            stages = read_json(folder / "run" / "evaluation.json")["summary"]["seconds"]
            found[f"{device}, store {store}"] = {"seconds": seconds, "stages_s": stages}
    return found


SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], Figures], int]] = {  # with the seconds that each may take
    "ceilings": (ceilings, 15),
    "frozen_part": (frozen_part, 120),
    "from_files": (from_files, 90),
    "epoch": (epoch, 60),
    "from_nothing": (from_nothing, 120),
}


def main() -> None:
    """Section by section, while there is time."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=440)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--quick", action="store_true", help="few images: shows only that the script runs")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    if given.quick:
        given.times, given.images = 2, 480
    start = time.monotonic()
    given.images_folder = write_images(empty_folder("gpu-images"), given.images)
    figures: Figures = {
        "gpu": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "images": f"{given.images} JPEGs of {SIZE[0]}×{SIZE[1]}",
        "making_images_s": round(time.monotonic() - start, 1),
    }
    for name, (section, needed) in SECTIONS.items():
        began = time.monotonic()
        left = given.seconds - (began - start)
        if needed > left:
            figures[name] = f"skipped: {left:.0f} s were left, and it may take {needed} s"
            continue
        try:
            figures[name] = section(given)
        except (Exception, SystemExit) as failure:  # the figures of the other sections are worth having
            figures[name] = f"failed: {type(failure).__name__}: {failure}"
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        save("speed/gpu", figures, quick=given.quick, show=False)
    print(f"saved: {save('speed/gpu', figures, quick=given.quick)}")


if __name__ == "__main__":
    main()
