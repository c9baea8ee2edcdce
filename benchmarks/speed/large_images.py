"""Large photographs: what decoding a JPEG at a fraction of its size saves, and whether it costs accuracy.

    python -m benchmarks.speed.large_images [--images 300] [--quick]

No data set at hand has large images, so this script makes some: those of dogs120, enlarged eight times (1,792×1,792,
the first ones of 30 breeds), with noise like that of a camera, as JPEG of quality 92. Each is decoded at full size and
as headstart decodes it, into the default network's evaluation view. The figures are the rates, the differences of the
views and of the features, and the accuracy of a head trained on half of the images and tested on the other half, on
features of either.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.datasets import labeled_images
from benchmarks.harness import Figures, empty_folder, save, spread
from PIL import Image

BREEDS, SCALE = 30, 8
FULL, REDUCED = "full size", "reduced, as headstart reads"


def enlarge(images: int, folder: Path) -> list[tuple[Path, str]]:
    """Write enlarged images; return paths and labels, sorted by breed."""
    by_breed: dict[str, list[Path]] = {}
    for path, breed in labeled_images("dogs120"):
        by_breed.setdefault(breed, []).append(path)
    chosen = [(path, breed) for breed in sorted(by_breed)[:BREEDS] for path in by_breed[breed][: images // BREEDS]]
    rng = np.random.default_rng(0)
    written = []
    for number, (path, breed) in enumerate(chosen):
        small = Image.open(path).convert("RGB")
        large = small.resize((SCALE * small.width, SCALE * small.height), Image.Resampling.LANCZOS)
        noise = rng.normal(0, 6, (large.height, large.width, 1))
        pixels = np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)
        written.append((folder / f"{number}.jpg", breed))
        Image.fromarray(pixels).save(written[-1][0], quality=92)
    return written


def decode_views(paths: list[Path], spec: Any, min_side: int | None) -> tuple[np.ndarray, float]:
    """Evaluation views (N, H, W, 3), decoded one by one, and images per second."""
    from headstart.data.decode import decode
    from headstart.data.transforms import evaluation_view

    start = time.perf_counter()
    found = np.stack([evaluation_view(decode(path, min_side=min_side), spec) for path in paths])
    return found, len(paths) / (time.perf_counter() - start)


def head_accuracy(features: np.ndarray, labels: list[str]) -> float:
    """Accuracy of a head trained on every other image, on the rest."""
    import torch

    from headstart.train.heads import HeadProblem, head_solver

    classes = sorted(set(labels))
    x, y = torch.from_numpy(features), torch.tensor([classes.index(label) for label in labels])
    train, rest = (x[::2], y[::2]), (x[1::2], y[1::2])
    found = head_solver("lbfgs").fit(train, rest, HeadProblem(classes=len(classes)))
    return round(float((found.head.logits(rest[0]).argmax(1) == rest[1]).float().mean()), 4)


def measure(paths: list[Path], labels: list[str], times: int) -> Figures:
    """Decode both ways in turn, then compare views, features and heads."""
    from headstart.data.transforms import min_source_side
    from headstart.inference.engine import open_engine
    from headstart.models.backbone import load_backbone
    from headstart.models.cut import cut

    backbone = load_backbone("tf_efficientnet_lite0")
    spec = backbone.spec.whole()
    parts = cut(backbone.module, "head", input_shape=(3, spec.height, spec.width))
    engine = open_engine(parts.prefix, spec, device="cpu", precision="float32")
    rates: dict[str, list[float]] = {FULL: [], REDUCED: []}
    for _ in range(times):
        full, rate = decode_views(paths, spec, None)
        rates[FULL].append(round(rate, 1))
        reduced, rate = decode_views(paths, spec, min_source_side(spec))
        rates[REDUCED].append(round(rate, 1))
    apart = np.abs(full.astype(int) - reduced)
    features = {FULL: engine(full), REDUCED: engine(reduced)}
    one, other = features.values()
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return {
        "images": len(paths),
        "pixels": spread([Image.open(path).width * Image.open(path).height for path in paths]),
        "per_s_of_one_core": {name: spread(found) for name, found in rates.items()},
        "view_difference_in_levels": {"mean": round(float(apart.mean()), 3), "max": int(apart.max())},
        "feature_cosine": {"median": round(float(np.median(cosines)), 5), "min": round(float(cosines.min()), 5)},
        "accuracy_of_a_head": {name: head_accuracy(found, labels) for name, found in features.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="60 images, once: shows only that the script runs")
    given = parser.parse_args()
    if given.quick:
        given.images, given.times = 60, 1
    paths, labels = zip(*enlarge(given.images, empty_folder("large_images")), strict=True)
    save("speed/large_images", measure(list(paths), list(labels), given.times), quick=given.quick)


if __name__ == "__main__":
    main()
