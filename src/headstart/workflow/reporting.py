"""From a run folder to its page, and from images to single pictures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from headstart.data.decode import decode
from headstart.data.manifest import Manifest
from headstart.errors import DataError, ImageProblem
from headstart.report import sheet, top_k_plot, write_report
from headstart.workflow.predicting import Predictions

__all__ = ["draw_sheet", "plot", "report"]


def report(run: Path) -> Path:
    """Write ``report.html`` from the other files of the run folder.

    :raises RunError: one of them is missing or damaged.
    """
    return write_report(run)


def draw_sheet(manifest: Manifest, path: Path, *, count: int, seed: int = 0) -> Path:
    """Draw ``count`` images that can be read, drawn at random, with their labels.

    :raises DataError: none can be read.
    """
    images: list[Image.Image] = []
    labels: list[str] = []
    for row in np.random.default_rng(seed).permutation(len(manifest)):
        if len(images) == count:
            break
        try:
            images.append(decode(manifest.source(int(row))))
        except ImageProblem:
            continue
        labels.append(manifest.labels[row] or "")
    if not images:
        raise DataError("none of the images can be read; headstart check PHOTOS tells why")
    return sheet(images, labels, path)


def plot(found: Predictions, path: Path, *, k: int, label: str | None = None) -> Path:
    """Draw one image beside its likeliest classes, the true one in green.

    :raises DataError: there are more images than one, or it cannot be read.
    """
    if len(found.manifest) != 1 or not len(found.probabilities):
        problem = next(iter(found.manifest.problems), None)
        raise DataError(
            f"--plot draws one image, got {len(found.manifest)}" if problem is None else f"--plot: {problem}"
        )
    names, shares = zip(*found.top(k)[0], strict=True)
    return top_k_plot(decode(found.manifest.source(0)), names, shares, path=path, true=label, k=k)
