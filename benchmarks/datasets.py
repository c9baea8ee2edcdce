"""The images and labels that several benchmarks read from ../shared/data (or ``HEADSTART_SHARED``)."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.harness import SHARED


def labeled_images(data: str) -> list[tuple[Path, str]]:
    """Every image of a data set with its label: from labels.csv, else from one subfolder per class."""
    root = SHARED / data
    if (root / "labels.csv").exists():
        with (root / "labels.csv").open(newline="") as file:
            return [(root / "train" / f"{row['id']}.jpg", row["breed"]) for row in csv.DictReader(file)]
    return [(path, path.parent.name) for path in sorted(root.glob("*/*.jpg"))]
