"""Images as PNG: a sheet of labeled images, and one image with its predictions. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.decode import decoded, inspect
from headstart.data.manifest import Manifest
from headstart.data.sources.base import ImageReference, reference
from headstart.data.value_range import PixelValues, ValueRange, choose_ranges
from headstart.errors import DataError
from headstart.report import sheet, top_k_plot

__all__ = ["TopPredictions", "draw_captioned", "draw_sheet", "plot"]

_SIDE = 600  # pixels; the largest picture is drawn with fewer


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
    rows: list[int] = []
    values: list[PixelValues | None] = []
    for row in np.random.default_rng(seed).permutation(len(manifest)).tolist():
        if len(rows) == count:
            break
        seen = inspect(manifest.source(row))
        if seen.problem is None:
            rows.append(row)
            values.append(seen.values)
    if not rows:
        raise DataError("none of the images can be read; run `headstart check PHOTOS` for the reasons")
    ranges = choose_ranges(values).ranges
    labels = manifest.labels
    return sheet([_small(manifest.source(row), ranges) for row in rows], [labels[row] or "" for row in rows], path)


def draw_captioned(
    uris: Sequence[str], captions: Sequence[str], path: Path, *, value_ranges: Sequence[ValueRange] = ()
) -> Path:
    """Write a PNG of images, each below its caption; images that cannot be read are skipped.

    :raises DataError: no image can be read.
    """
    found = zip(map(reference, uris), captions, strict=True)
    readable = [(image, caption) for image, caption in found if inspect(image).problem is None]
    if not readable:
        raise DataError("none of the images can be read any more")
    return sheet([_small(image, value_ranges) for image, _ in readable], [caption for _, caption in readable], path)


def plot(
    predictions: TopPredictions,
    path: Path,
    *,
    k: int,
    label: str | None = None,
    value_ranges: Sequence[ValueRange] = (),
) -> Path:
    """Write a PNG of one image beside its ``k`` most probable classes; the true class is green if ``label`` is given.

    :param value_ranges: of the classifier, for pixels that are not 8-bit.
    :raises DataError: there is more than one image, or it cannot be read.
    """
    manifest = predictions.manifest
    if len(manifest) != 1 or not len(predictions.probabilities):
        problem = next(iter(manifest.problems), None)
        raise DataError(f"--plot draws one image, got {len(manifest)}" if problem is None else f"--plot: {problem}")
    names, probabilities = zip(*predictions.top(k)[0], strict=True)
    image = _small(manifest.source(0), value_ranges)
    return top_k_plot(image, names, probabilities, path=path, true=label, k=k)


def _small(image: ImageReference, value_ranges: Sequence[ValueRange]) -> Image.Image:
    """An image no larger than it is drawn."""
    with decoded(image, min_side=_SIDE, value_ranges=value_ranges) as pixels:
        if min(pixels.size) <= 2 * _SIDE:
            return pixels
        factor = _SIDE / min(pixels.size)
        return pixels.resize((round(factor * pixels.width), round(factor * pixels.height)), reducing_gap=3.0)
