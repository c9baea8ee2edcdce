"""How well the pixels of two images agree once one of them is laid over the other, mirrored if need be.

Features tell which images are similar; two photographs of one object, or of one scene a minute later, are as similar as
an image and its copy. Their pixels are not: those of a copy agree everywhere, whatever was cut off at the border.

Two steps, both on gray thumbnails, in which aspect ratio and size play no part. First three quarters of one image are
laid over the other at seven by seven places, five scales and both orientations (24 pixels a side). Then the best of
these is refined by Gauss-Newton steps on the four sides of the box, at 96 pixels a side without the low frequencies:
shadows and white backgrounds are much alike in different images. The measure is the correlation of the gray values,
which does not depend on brightness and contrast (normalized cross-correlation; the refinement is that of Evangelidis &
Psarakis 2008, "Parametric image alignment using enhanced correlation coefficient maximization", with the derivatives
as differences).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from headstart.data.decode import Source, decoded
from headstart.data.value_range import ValueRange

__all__ = ["SIDE", "Agreement", "Thumbnail", "compare", "gray_thumbnail"]

SIDE = 96
"""Pixels a side of a thumbnail."""

_COARSE, _WINDOW, _PATCH = 24, 18, 48  # pixels a side
_SHARE = _WINDOW / _COARSE  # of each side of an image that is compared
_PLACES = _COARSE - _WINDOW + 1
_SCALES = (1.0, 0.95, 0.9, 0.85, 0.8)  # of an image that is the larger part of the other
_SIGMA = 6.0  # pixels of the thumbnail: lower frequencies are left out
_NOISE = 1.0  # gray levels: what varies less is not content
_WORTH_REFINING = 0.85  # coarse agreement; that of copies was at least 0.87
_STEPS, _LONGEST_STEP, _SMALLEST_BOX = 5, 4.0, 0.4
_DAMPING, _GAIN, _ENOUGH = 1e-3, 1e-4, 0.99  # of a step; correlation that is worth another step, and needs none


@dataclass(frozen=True)
class Agreement:
    """How well two images agree."""

    correlation: float  # of the gray values, in [-1, 1]; 0 where a rough comparison shows that they differ
    mirrored: bool = False


def gray_thumbnail(source: Source, *, max_pixels: int, value_ranges: Sequence[ValueRange] = ()) -> NDArray[np.uint8]:
    """Decode an image to (SIDE, SIDE) gray values, aspect ratio not kept.

    :raises ImageProblem: it cannot be decoded.
    """
    with decoded(source, max_pixels=max_pixels, min_side=SIDE, value_ranges=value_ranges) as image:
        gray = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
        return np.asarray(gray, np.uint8)


class Thumbnail:
    """A gray thumbnail (SIDE, SIDE), prepared to be compared with others."""

    def __init__(self, gray: NDArray[np.uint8]) -> None:
        self._values = gray.astype(np.float32)
        reduced, central = _interpolation()
        coarse = np.asarray(reduced @ self._values @ reduced.T, np.float32)
        views = sliding_window_view(coarse, (_WINDOW, _WINDOW))
        self.windows = _standardized(views.reshape(-1, _WINDOW**2))  # (places², pixels)
        parts = central @ self._values @ central.transpose(0, 2, 1)
        both = np.concatenate([parts, parts[:, :, ::-1]])
        self.parts = _standardized(both.reshape(len(both), -1))  # (2 × scales, pixels)

    @cached_property
    def detail(self) -> Image.Image:
        """The thumbnail without its low frequencies."""
        return Image.fromarray(self._values - gaussian_filter(self._values, _SIGMA, mode="nearest"))

    @cached_property
    def mirrored_detail(self) -> Image.Image:
        """The same, flipped left-right."""
        return self.detail.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def compare(first: Thumbnail, second: Thumbnail) -> Agreement:
    """How well two images agree where one of them is a part of the other, or both overlap by most of their area.

    >>> noise = np.asarray(Image.effect_noise((24, 24), 80).resize((120, 120), Image.Resampling.BICUBIC))
    >>> cropped = np.asarray(Image.fromarray(noise[5:115, 9:119]).resize((SIDE, SIDE)).transpose(0))
    >>> found = compare(Thumbnail(np.asarray(Image.fromarray(noise).resize((SIDE, SIDE)))), Thumbnail(cropped))
    >>> found.correlation > 0.95, found.mirrored
    (True, True)
    """
    best, whole, part, place, turn = -2.0, first, second, 0, 0
    for one, other in ((first, second), (second, first)):
        correlations = one.windows @ other.parts.T
        highest = int(correlations.argmax())
        if correlations.flat[highest] > best:
            best, whole, part = float(correlations.flat[highest]), one, other
            place, turn = divmod(highest, correlations.shape[1])
    mirrored, scale = divmod(turn, len(_SCALES))
    if best < _WORTH_REFINING:
        return Agreement(0.0)
    top, left = (SIDE / _COARSE * number for number in divmod(place, _PLACES))
    box = np.array([left, top, left + SIDE * _SHARE, top + SIDE * _SHARE])
    target = _standardized(_patch(whole.detail, box, _PATCH))
    detail = part.mirrored_detail if mirrored else part.detail
    return Agreement(_refined(detail, _central_box(_SCALES[scale]), target), bool(mirrored))


def _refined(image: Image.Image, box: NDArray[np.float64], target: NDArray[np.float32]) -> float:
    """The highest correlation with the target of what is in a box near the given one."""
    values = _standardized(_patch(image, box, _PATCH))
    best = float(values @ target)
    for _ in range(_STEPS):
        if best > _ENOUGH:
            break
        slopes = np.empty((len(target), 4), np.float32)
        for side in range(4):
            change = np.zeros(4)
            change[side] = 1.0 if box[side] < SIDE - 1 else -1.0
            slopes[:, side] = (_standardized(_patch(image, box + change, _PATCH)) - values) * change[side]
        normal = slopes.T @ slopes
        normal[np.diag_indices(4)] *= 1 + _DAMPING
        step = np.linalg.lstsq(normal, slopes.T @ (target - values), rcond=None)[0]
        moved = np.clip(box + np.clip(step, -_LONGEST_STEP, _LONGEST_STEP), 0, SIDE)
        if min(moved[2] - moved[0], moved[3] - moved[1]) < _SMALLEST_BOX * SIDE:
            break
        values = _standardized(_patch(image, moved, _PATCH))
        correlation = float(values @ target)
        gain, best, box = correlation - best, max(best, correlation), moved
        if gain < _GAIN:
            break
    return best


@cache
def _interpolation() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Matrices that resize the rows of a thumbnail: all of them, (pixels, SIDE), and at each scale the central ones.

    The columns are resized by the same matrices transposed; for many small images that is quicker than Pillow.
    """
    identity = Image.fromarray(np.eye(SIDE, dtype=np.float32))

    def rows(count: int, top: float, bottom: float) -> NDArray[np.float32]:
        return np.asarray(identity.resize((SIDE, count), Image.Resampling.BILINEAR, box=(0, top, SIDE, bottom)))

    boxes = (_central_box(scale) for scale in _SCALES)
    return rows(_COARSE, 0, SIDE), np.stack([rows(_WINDOW, box[1], box[3]) for box in boxes])


def _central_box(scale: float) -> NDArray[np.float64]:
    """Left, top, right and bottom of what three quarters of the other image cover, which is larger by 1 / scale."""
    share = _SHARE / scale
    return np.array([1 - share, 1 - share, 1 + share, 1 + share]) * (SIDE / 2)


def _patch(image: Image.Image, box: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    left, top, right, bottom = box.tolist()
    return np.asarray(
        image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, right, bottom)), np.float32
    ).ravel()


def _standardized(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows with a mean of 0 and a length of 1, or less if they hardly vary."""
    centered = values - values.mean(-1, keepdims=True)
    power = np.einsum("...i,...i->...", centered, centered)[..., None]
    return np.asarray(centered / np.sqrt(power + _NOISE**2 * values.shape[-1]), np.float32)
