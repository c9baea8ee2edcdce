"""Large photographs: what decoding a JPEG at a fraction of its size saves, whether it costs accuracy, and memory.

    python -m benchmarks.speed.large_images [--images 300] [--photographs 100] [--quick]

No data set at hand has large images, so this script makes some: those of dogs120, enlarged eight times (1,792×1,792,
the first ones of 30 breeds), with noise like that of a camera, as JPEG of quality 92. Each is decoded at full size and
as headstart decodes it, into the default network's evaluation view. The figures are the rates, the differences of the
views and of the features, and the accuracy of a head trained on half of the images and tested on the other half, on
features of either.

Then the peak memory of each command on photographs of 40 megapixels of noise, in two classes, as JPEG, progressive
JPEG, PNG, TIFF and WebP in turn: the files of a class differ in a few bytes after the image.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.datasets import labeled_images
from benchmarks.harness import HEADSTART, ROOT, Figures, empty_folder, module, run, save, spread
from PIL import Image

BREEDS, SCALE = 30, 8
FULL, REDUCED = "full size", "reduced, as headstart reads"
PHOTOGRAPH = 7728, 5152  # pixels
ENCODINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("jpg", {"quality": 92}),
    ("progressive.jpg", {"quality": 92, "progressive": True}),
    ("png", {"compress_level": 1}),
    ("tif", {"compression": "tiff_lzw"}),
    ("webp", {"quality": 90, "method": 2}),
)


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


def take_photographs(count: int, folder: Path) -> None:
    """Write ``count`` files, half of them of either class."""
    width, height = PHOTOGRAPH
    for number, name in enumerate(("dark", "bright")):
        (folder / name).mkdir(parents=True)
        noise = np.random.default_rng(number).normal(80 + 90 * number, 25, (height // 8, width // 8, 3))
        photograph = Image.fromarray(noise.clip(0, 255).astype(np.uint8)).resize(PHOTOGRAPH, Image.Resampling.BICUBIC)
        for which, (suffix, options) in enumerate(ENCODINGS):
            path = folder / name / f"0.{suffix}"
            photograph.save(path, **options)
            content = path.read_bytes()
            path.unlink()
            for copy in range(which, count // 2, len(ENCODINGS)):
                path.with_name(f"{copy}.{suffix}").write_bytes(content + f"copy {copy}".encode())


def measure_memory(count: int) -> Figures:
    """Seconds and peak memory of each command; of check without torch, of the others with it.

    The photographs are made in another process, since a command inherits the memory of this one as its peak.
    """
    folder = empty_folder("photographs")
    photos, fitted = folder / "photos", folder / "run"
    run(*module("benchmarks.speed.large_images", "--photographs", count, "--make", photos), cwd=ROOT)
    commands: dict[str, tuple[object, ...]] = {
        "check": ("check", photos, "--out", folder / "check"),
        "fit": ("fit", photos, "--train", "head", "--out", fitted, "--cache-dir", folder / "cache"),
        "report": ("report", fitted),
        "predict": ("predict", fitted, photos, "--csv", folder / "predictions.csv"),
        "evaluate": ("evaluate", fitted, photos, "--out", folder / "evaluation"),
    }
    found: Figures = {"images": count, "pixels": PHOTOGRAPH[0] * PHOTOGRAPH[1]}
    for name, words in commands.items():
        done = run(HEADSTART, *words)
        found[name] = {"seconds": done.seconds, "peak_gb": done.peak_gb}
    empty_folder("photographs")  # some gigabytes
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--photographs", type=int, default=100, help="for memory")
    parser.add_argument("--make", type=Path, help="only write the photographs, into this folder")
    parser.add_argument("--quick", action="store_true", help="60 images, once: shows only that the script runs")
    given = parser.parse_args()
    if given.make:
        take_photographs(given.photographs, given.make)
        return
    if given.quick:
        given.images, given.times, given.photographs = 60, 1, 12
    memory = measure_memory(given.photographs)
    paths, labels = zip(*enlarge(given.images, empty_folder("large_images")), strict=True)
    figures = measure(list(paths), list(labels), given.times)
    save("speed/large_images", {**figures, "memory": memory}, quick=given.quick)


if __name__ == "__main__":
    main()
