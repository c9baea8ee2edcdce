"""Images as PNG: a sheet of labeled images, and one image with its predictions. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.decode import decode
from headstart.data.manifest import Manifest
from headstart.errors import DataError, ImageProblem
from headstart.report import sheet, top_k_plot

__all__ = ["TopPredictions", "draw_sheet", "plot"]


class TopPredictions(Protocol):
    """What :func:`plot` needs of :class:`headstart.workflow.predict.Predictions`."""

    @property
    def manifest(self) -> Manifest:
        """All images; those that could not be read have a problem."""

    @property
    def probabilities(self) -> npt.NDArray[Any]:
        """``(readable images, C)``."""

    def top(self, k: int) -> list[list[tuple[str, float]]]:
        """The k most probable classes of each readable image with their probabilities, most probable first."""


def draw_sheet(manifest: Manifest, path: Path, *, count: int, seed: int = 0) -> Path:
    """Write a PNG of ``count`` randomly drawn images with their labels; images that cannot be read are skipped.

    :raises DataError: no image can be read.
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
        raise DataError("none of the images can be read; run `headstart check PHOTOS` for the reasons")
    return sheet(images, labels, path)


def plot(predictions: TopPredictions, path: Path, *, k: int, label: str | None = None) -> Path:
    """Write a PNG of one image beside its ``k`` most probable classes; the true class is green if ``label`` is given.

    :raises DataError: there is more than one image, or it cannot be read.
    """
    manifest = predictions.manifest
    if len(manifest) != 1 or not len(predictions.probabilities):
        problem = next(iter(manifest.problems), None)
        raise DataError(f"--plot draws one image, got {len(manifest)}" if problem is None else f"--plot: {problem}")
    names, probabilities = zip(*predictions.top(k)[0], strict=True)
    return top_k_plot(decode(manifest.source(0)), names, probabilities, path=path, true=label, k=k)
