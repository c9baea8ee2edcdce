"""The images and labels that several benchmarks read from ../shared/data (or ``HEADSTART_SHARED``)."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.harness import SHARED, empty_folder


def labeled_images(data: str) -> list[tuple[Path, str]]:
    """Every image of a data set with its label: from labels.csv, else from one subfolder per class."""
    root = SHARED / data
    if (root / "labels.csv").exists():
        with (root / "labels.csv").open(newline="") as file:
            return [(root / "train" / f"{row['id']}.jpg", row["breed"]) for row in csv.DictReader(file)]
    return [(path, path.parent.name) for path in sorted(root.glob("*/*.jpg"))]


def few_dogs() -> list[tuple[Path, str]]:
    """Twelve images of each breed, about seven of which are trained on."""
    count: dict[str, int] = defaultdict(int)
    kept = []
    for path, label in labeled_images("dogs120"):
        count[label] += 1
        if count[label] <= 12:
            kept.append((path, label))
    return kept


def digits(folder: Path) -> list[tuple[Path, str]]:
    """The 1,797 digits of scikit-learn, as PNG files."""
    from PIL import Image
    from sklearn.datasets import load_digits

    made = []
    bunch = load_digits()
    for number, (pixels, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        path = folder / f"{number}.png"
        Image.fromarray((pixels * 15.9).astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC).save(path)
        made.append((path, str(label)))
    return made


def images_of(data: str) -> list[tuple[Path, str]]:
    """Images and labels of a data set, of a part of one ("few-dogs"), or of scikit-learn's ("digits")."""
    if data == "few-dogs":
        return few_dogs()
    return digits(empty_folder("digits")) if data == "digits" else labeled_images(data)
