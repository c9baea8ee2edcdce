"""What the defaults gain: engine and precision of the frozen part, framing, the pretrained head.

python -m benchmarks.speed.engine_choice [--seeds 5] [--quick]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import SHARED, Figures, empty_folder, save, spread, times_of

from headstart import FitSettings, read_images
from headstart.inference.engine import open_engine
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut
from headstart.workflow.fit import fit


def engine_times(times: int) -> Figures:
    """Milliseconds per image of the default network up to its head, in batches of 32."""
    backbone = load_backbone("tf_efficientnet_lite0")
    parts = cut(backbone.module, "head", input_shape=(3, 224, 224))
    images = np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), np.uint8)
    found = {}
    for engine in ("openvino", "torch"):
        for precision in ("float32", "bfloat16"):
            forward = open_engine(parts.prefix, backbone.spec, engine=engine, precision=precision)
            seconds = times_of(lambda forward=forward: forward(images), times)  # type: ignore[misc]
            found[f"{engine} {precision}"] = spread([round(1000 * each / len(images), 3) for each in seconds])
    return found


def accuracy(data: str, seeds: int, store: Path, **settings: Any) -> Figures:
    """Accuracy and log-loss on validation, with another split for each seed."""
    found = []
    for seed in range(seeds):
        result = fit(read_images(SHARED / data), FitSettings(seed=seed, cache_dir=str(store), **settings))
        found.append((result.evaluation.top1.value, result.evaluation.log_loss.value))
    return {name: spread([round(each[i], 4) for each in found]) for i, name in enumerate(("top1", "log_loss"))}


def main() -> None:
    """One choice after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the engines, and one head on kaggle-dogs-240")
    given = parser.parse_args()
    store = empty_folder("engine_choice")
    if given.quick:
        quick: Figures = {"engine_ms_per_image": engine_times(1)}
        quick["kaggle-dogs-240, framing whole"] = accuracy("kaggle-dogs-240", 1, store)
        save("speed/engine_choice", quick, quick=True)
        return
    figures: Figures = {"engine_ms_per_image": engine_times(5)}
    for data in ("trash6", "dogs120"):
        for framing in ("whole", "model"):
            figures[f"{data}, framing {framing}, no pretrained head"] = accuracy(
                data, given.seeds, store, framing=framing, pretrained_head=False
            )
    figures["dogs120, framing whole, pretrained head"] = accuracy("dogs120", given.seeds, store)
    save("speed/engine_choice", figures)


if __name__ == "__main__":
    main()
