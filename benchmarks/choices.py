"""What the defaults gain: the engine and precision of the frozen part, the framing, the pretrained head.

python benchmarks/choices.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import SHARED, emptied, keep, spread

from headstart import FitSettings, read_images
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.models.engine import open_engine
from headstart.workflow.fitting import fit


def milliseconds(work: Callable[[], object], images: int, times: int = 5) -> dict[str, float]:
    """An image, after one call to warm up."""
    work()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(round(1000 * (time.perf_counter() - start) / images, 3))
    return spread(taken)


def engines() -> dict[str, dict[str, float]]:
    """The default network up to its head, 32 images at a time."""
    backbone = load_backbone("tf_efficientnet_lite0")
    parts = cut(backbone.module, "head", input_shape=(3, 224, 224))
    images = np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), np.uint8)
    found = {}
    for engine in ("openvino", "torch"):
        for precision in ("float32", "bfloat16"):
            run = open_engine(parts.prefix, backbone.spec, engine=engine, precision=precision)
            found[f"{engine} {precision}"] = milliseconds(lambda run=run: run(images), 32)  # type: ignore[misc]
    return found


def accuracy(data: str, seeds: int, store: Path, **settings: str) -> dict[str, dict[str, float]]:
    """On validation, by the head alone; another split for each seed."""
    told = []
    for seed in range(seeds):
        fitted = fit(read_images(SHARED / data), FitSettings(seed=seed, store=str(store), **settings))  # type: ignore[arg-type]
        told.append((fitted.evaluation["top1"]["value"], fitted.evaluation["log_loss"]["value"]))
    return {name: spread([round(each[i], 4) for each in told]) for i, name in enumerate(("top1", "log_loss"))}


def main() -> None:
    """One after the other."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seeds", type=int, default=5)
    seeds = arguments.parse_args().seeds
    store = emptied("choices")
    figures: dict[str, object] = {"engine_ms_an_image": engines()}
    for data in ("trash6", "dogs120"):
        for framing in ("whole", "model"):
            figures[f"{data}, framing {framing}, pretrained head off"] = accuracy(
                data, seeds, store, framing=framing, pretrained_head="off"
            )
    figures["dogs120, framing whole, pretrained head auto"] = accuracy("dogs120", seeds, store)
    keep("choices", figures)


if __name__ == "__main__":
    main()
