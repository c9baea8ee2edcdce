"""Large photographs: what reading a JPEG at a fraction of its size saves, and whether anything is lost.

    python benchmarks/large.py [--images 300] [--quick]

No data set at hand has large pictures, so that they are made: dogs120's, enlarged eight times (1,792×1,792, the first
ones of 30 breeds), with grain as a camera leaves it, as JPEG of quality 92. Each is read whole and as headstart
reads it, into the default network's evaluation view. Told are the rates, how far the views and the features lie apart,
and the accuracy of a head solved on half of the pictures and asked about the other half, on features of either.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import labelled
from harness import emptied, keep, spread
from PIL import Image

BREEDS, TIMES = 30, 8


def enlarged(images: int, folder: Path) -> list[tuple[Path, str]]:
    """Files with their labels, the breeds in turn."""
    by_breed: dict[str, list[Path]] = {}
    for path, breed in labelled("dogs120"):
        by_breed.setdefault(breed, []).append(path)
    chosen = [(path, breed) for breed in sorted(by_breed)[:BREEDS] for path in by_breed[breed][: images // BREEDS]]
    chance = np.random.default_rng(0)
    made = []
    for number, (path, breed) in enumerate(chosen):
        small = Image.open(path).convert("RGB")
        large = small.resize((TIMES * small.width, TIMES * small.height), Image.Resampling.LANCZOS)
        grain = chance.normal(0, 6, (large.height, large.width, 1))
        pixels = np.clip(np.asarray(large) + grain, 0, 255).astype(np.uint8)
        made.append((folder / f"{number}.jpg", breed))
        Image.fromarray(pixels).save(made[-1][0], quality=92)
    return made


def views(paths: list[Path], spec: Any, least: int | None) -> tuple[np.ndarray, float]:
    """Evaluation views (N, H, W, 3), one after the other, and pictures a second."""
    from headstart.data.decode import decode
    from headstart.data.transforms import evaluation_view

    start = time.perf_counter()
    found = np.stack([evaluation_view(decode(path, least=least), spec) for path in paths])
    return found, len(paths) / (time.perf_counter() - start)


def accuracy(features: np.ndarray, labels: list[str]) -> float:
    """Of a head solved on every other picture, asked about the rest."""
    import torch

    from headstart.train.head import solve_head

    classes = sorted(set(labels))
    x, y = torch.from_numpy(features), torch.tensor([classes.index(label) for label in labels])
    train, rest = (x[::2], y[::2]), (x[1::2], y[1::2])
    found = solve_head(train, rest, classes=len(classes))
    return round(float((found.solution.logits(rest[0]).argmax(1) == rest[1]).float().mean()), 4)


def main() -> None:
    """Both ways, in turn."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--images", type=int, default=300)
    arguments.add_argument("--times", type=int, default=3)
    arguments.add_argument("--quick", action="store_true", help="60 pictures, once: only whether it runs")
    given = arguments.parse_args()
    if given.quick:
        given.images, given.times = 60, 1
    made = enlarged(given.images, emptied("large"))
    paths, labels = [path for path, _ in made], [label for _, label in made]

    from headstart.data.transforms import enough
    from headstart.models.backbone import load_backbone
    from headstart.models.cut import cut
    from headstart.models.engine import open_engine

    backbone = load_backbone("tf_efficientnet_lite0")
    spec = backbone.spec.whole()
    parts = cut(backbone.module, "head", input_shape=(3, spec.height, spec.width))
    engine = open_engine(parts.prefix, spec, device="cpu", precision="float32")
    rates: dict[str, list[float]] = {"whole": [], "as headstart reads": []}
    for _ in range(given.times):
        whole, rate = views(paths, spec, None)
        rates["whole"].append(round(rate, 1))
        less, rate = views(paths, spec, enough(spec))
        rates["as headstart reads"].append(round(rate, 1))
    apart = np.abs(whole.astype(int) - less)
    features = {"whole": engine(whole), "as headstart reads": engine(less)}
    one, other = features.values()
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    figures = {
        "images": len(paths),
        "pixels": spread([Image.open(path).width * Image.open(path).height for path in paths]),
        "per_s_of_one_core": {name: spread(found) for name, found in rates.items()},
        "view_difference_in_levels": {"mean": round(float(apart.mean()), 3), "most": int(apart.max())},
        "feature_cosine": {"median": round(float(np.median(cosines)), 5), "least": round(float(cosines.min()), 5)},
        "accuracy_of_a_head": {name: accuracy(found, labels) for name, found in features.items()},
    }
    keep("large", figures, quick=given.quick)


if __name__ == "__main__":
    main()
