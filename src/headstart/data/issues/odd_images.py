"""Images that are odd by their file, size, brightness or sharpness.

An image is listed where a number is beyond a limit that holds for any set, and far from the other images of this one:
more than three standard deviations from the median, where 1.4826 times the median absolute deviation stands for the
standard deviation (Iglewicz and Hoaglin, How to detect and handle outliers, ASQC 1993). A set of X-rays is not dark
as a whole, nor one of icons tiny.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from headstart.data.issues.base import DROP, LOOK, CheckedImages, Issue
from headstart.data.more_formats import SUFFIXES
from headstart.data.sources.frames import FrameSource
from headstart.data.uri import display_name

__all__ = [
    "fence",
    "find_blurred",
    "find_bright",
    "find_dark",
    "find_extreme_shapes",
    "find_frames",
    "find_tiny",
    "find_turned",
    "find_uniform",
    "find_wrong_extensions",
]

DARK, BRIGHT = 0.25, 0.65
"""Below this 95th percentile of the brightness an image is dark; above this 5th percentile it is bright."""

UNIFORM = 0.01
"""Standard deviation of the brightness below which an image shows nothing."""

BLURRED, BLURRED_SHARE = 50, 0.04
"""Variance of the Laplacian below which an image is blurred, if it is below this share of the image's own variance,
too: thin lines on a plain ground have little of both."""

TINY, SMALLER = 64, 3
"""A tiny image has fewer pixels than a square of this side, whose side is below the set's median by this factor."""

EXTREME = 3
"""Longer side over shorter side from which on a shape is extreme."""

_DEVIATIONS = 3
_SAME_FORMAT = {"MPO": "JPEG", "JPEG2000": "JPEG 2000", "DIB": "BMP"}  # MPO: JPEG files of cameras, with two images
_TURNS = {2: "mirrored", 3: "upside down", 4: "mirrored and upside down", 5: "mirrored and on its side"}
_TURNS |= {6: "on its side", 7: "mirrored and on its side", 8: "on its side"}


def fence(values: NDArray[np.floating], *, side: int, least: float) -> float:
    """The value from which on others of the same set are far away, below (side -1) or above (side 1) its median.

    :param least: the smallest standard deviation that is believed: values of made sets may all be the same.

    >>> round(fence(np.array([1.0, 2.0, 3.0, 4.0, 100.0]), side=1, least=0.1), 2)
    7.45
    """
    middle = float(np.nanmedian(values))
    deviation = max(1.4826 * float(np.nanmedian(np.abs(values - middle))), least)
    return middle + side * _DEVIATIONS * deviation


def find_wrong_extensions(checked: CheckedImages) -> Iterator[Issue]:
    """The files whose extension is that of another format than their content."""
    if checked.formats is None:
        return
    extensions = {**Image.registered_extensions(), **SUFFIXES}
    for uri, name in zip(checked.manifest.usable.uris, checked.formats, strict=True):
        suffix = os.path.splitext(display_name(uri))[1]  # noqa: PTH122 - a URI
        stated = extensions.get(suffix.lower())
        if name and stated and _SAME_FORMAT.get(name, name) != _SAME_FORMAT.get(stated, stated):
            yield Issue("extension", uri, 1.0, f"the file is named {suffix}, but its content is {name}", LOOK)


def find_tiny(checked: CheckedImages) -> Iterator[Issue]:
    """The images with far fewer pixels than others."""
    uris, width, height = _sizes(checked)
    if not len(uris):
        return
    sides = np.sqrt(width * height)
    median = float(np.median(sides))
    for row in np.flatnonzero((sides < TINY) & (sides * SMALLER < median)):
        evidence = (
            f"{width[row]}x{height[row]} pixels; the median has as many as a square with a side of {median:,.0f} pixels"
        )
        yield Issue("tiny", uris[row], float(1 - sides[row] / TINY), evidence, LOOK)


def find_extreme_shapes(checked: CheckedImages) -> Iterator[Issue]:
    """The images that are far longer in one direction than others."""
    uris, width, height = _sizes(checked)
    if not len(width):
        return
    ratio = np.maximum(width, height) / np.minimum(width, height)
    limit = fence(np.log(ratio), side=1, least=0.05)
    for row in np.flatnonzero((ratio >= EXTREME) & (np.log(ratio) > limit)):
        evidence = (
            f"{width[row]}x{height[row]} pixels, {ratio[row]:.1f} to 1; the median is {np.median(ratio):.1f} to 1 in "
            "this set"
        )
        yield Issue("extreme-shape", uris[row], float(1 - 1 / ratio[row]), evidence, LOOK)


def find_uniform(checked: CheckedImages) -> Iterator[Issue]:
    """The images that show nothing."""
    if checked.statistics is None:
        return
    uris, contrast = checked.manifest.usable.uris, checked.statistics["contrast"]
    for row in np.flatnonzero(_is_uniform(checked)):
        evidence = f"nearly one color: the brightness has a standard deviation of {contrast[row]:.2%} of white"
        yield Issue("uniform", uris[row], float(1 - contrast[row]), evidence, DROP)


def find_dark(checked: CheckedImages) -> Iterator[Issue]:
    """The images that are nearly black; those of one color are listed as such."""
    if checked.statistics is None or not len(checked.statistics["high"]):
        return
    high, uris = checked.statistics["high"], checked.manifest.usable.uris
    limit = min(DARK, fence(high, side=-1, least=0.02))
    for row in np.flatnonzero((high < limit) & ~_is_uniform(checked)):
        evidence = (
            f"95 % of the pixels are darker than {high[row]:.0%} of white; in the median image they are darker than "
            f"{np.nanmedian(high):.0%}"
        )
        yield Issue("dark", uris[row], float(1 - high[row]), evidence, LOOK)


def find_bright(checked: CheckedImages) -> Iterator[Issue]:
    """The images that are nearly white; those of one color are listed as such."""
    if checked.statistics is None or not len(checked.statistics["low"]):
        return
    low, uris = checked.statistics["low"], checked.manifest.usable.uris
    limit = max(BRIGHT, fence(low, side=1, least=0.02))
    for row in np.flatnonzero((low > limit) & ~_is_uniform(checked)):
        evidence = (
            f"95 % of the pixels are brighter than {low[row]:.0%} of white; in the median image they are brighter than "
            f"{np.nanmedian(low):.0%}"
        )
        yield Issue("bright", uris[row], float(low[row]), evidence, LOOK)


def find_blurred(checked: CheckedImages) -> Iterator[Issue]:
    """The images without edges, at the size at which sharpness is measured; those of one color are listed as such."""
    if checked.statistics is None or not len(checked.statistics["sharpness"]):
        return
    sharpness, uris = checked.statistics["sharpness"], checked.manifest.usable.uris
    limit = min(BLURRED, float(np.exp(fence(np.log(sharpness + 1), side=-1, least=0.1))) - 1)
    share = sharpness / np.maximum((255 * checked.statistics["contrast"]) ** 2, 1e-6)
    for row in np.flatnonzero((sharpness < limit) & (share < BLURRED_SHARE) & ~_is_uniform(checked)):
        evidence = (
            f"the variance of the Laplacian is {sharpness[row]:,.1f}, {share[row]:.1%} of that of the brightness; the "
            f"median is {np.nanmedian(sharpness):,.0f} in this set"
        )
        yield Issue("blurred", uris[row], float(1 - sharpness[row] / BLURRED), evidence, LOOK)


def find_turned(checked: CheckedImages) -> Iterator[Issue]:
    """The images that are upright by their EXIF orientation alone: other programs may show them otherwise."""
    if checked.statistics is None:
        return
    for uri, turn in zip(checked.manifest.usable.uris, checked.statistics["orientation"].tolist(), strict=True):
        if turn in _TURNS:
            evidence = (
                f"stored {_TURNS[turn]}, and upright by EXIF orientation {turn:.0f}, which headstart applies and other "
                "programs may not"
            )
            yield Issue("orientation", uri, 0.5, evidence, LOOK)


def find_frames(checked: CheckedImages) -> Iterator[Issue]:
    """The files with more than one frame, of which the first is the image."""
    if checked.statistics is None:
        return
    names = checked.formats or (None,) * len(checked.statistics["frames"])
    found = zip(checked.manifest.usable.uris, checked.statistics["frames"].tolist(), names, strict=True)
    for uri, frames, name in found:
        if frames > 1 and not uri.startswith(f"{FrameSource.scheme}:"):  # else each of them is an image
            more = "; --frames all takes each as an image" if name in ("TIFF", "DICOM") else ""
            yield Issue("frames", uri, 0.5, f"{name} of {frames:,.0f} frames, of which the first is taken{more}", LOOK)


def _sizes(checked: CheckedImages) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The usable images that have been inspected, with their widths and heights."""
    table = checked.manifest.usable.table
    table = table.filter(pc.is_valid(table["width"]))
    width, height = (table[name].to_numpy().astype(np.int64) for name in ("width", "height"))
    return table["uri"].to_pylist(), width, height


def _is_uniform(checked: CheckedImages) -> NDArray[np.bool_]:
    assert checked.statistics is not None
    return np.asarray(checked.statistics["contrast"] < UNIFORM)
