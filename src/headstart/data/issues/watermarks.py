"""Watermarks that the images of one class have at the same place: a network may learn them instead of the class.

Edges of a watermark are at the same place, with the same sign, in all images that have it; edges of what was
photographed are not. So what stands out from the spread in the mean gradient of a class is a watermark (Dekel et al.,
On the effectiveness of visible watermarks, CVPR 2017, find them by the median gradient). Half of the images of a class
show where such edges are, the other half whether they are there by more than chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.data.gray_thumbnails import SIDE
from headstart.data.issues.base import LOOK, CheckedImages, Issue

__all__ = ["find_watermarks"]

_INSIDE, _OUTSIDE = 0.4, 0.05  # shares of images: at least in the class, at most in the others
_FEWEST = 12  # images of a class: half of them find the places
_STRONG = 24  # of 255: stronger edges count as this strong, so that a few images do not make up for the others
_STANDS_OUT = 3.5  # standard errors of the mean gradient
_MIN_PLACES = 25  # of 8,064; by chance a class may have as many, which the other half then does not confirm
_MAX_SHARE = 0.4  # of the strength of all edges of a class: with more, the objects themselves are at the same place
_ALIKE = 0.5  # correlation of an image's edges with those of the watermark
_SHOWN = 3
_BLOCK = 250  # images

T = TypeVar("T", bound=np.generic)


def find_watermarks(checked: CheckedImages) -> Iterator[Issue]:
    """The classes most of whose images have the same edges at the same place, and few of the others."""
    thumbnails, usable = checked.thumbnails, checked.manifest.usable
    if thumbnails is None or not len(thumbnails.rows):
        return
    edges = np.concatenate([_edges(block) for block in _blocks(thumbnails.pixels)])
    # Of all images, which is known far better than that of a class; at least that of 8-bit shades.
    spread = np.maximum(_spread(edges), 1)
    labels = np.array(usable.labels, object)[thumbnails.rows]
    for name in usable.classes:
        own, others = np.flatnonzero(labels == name), np.flatnonzero(labels != name)
        if min(len(own), len(others)) < _FEWEST:
            continue
        places, pattern = _common_edges(edges[own[::2]], spread)
        if len(places) < _MIN_PLACES:
            continue
        alike = np.concatenate([_alike(block[:, places], pattern) for block in _blocks(edges)])
        inside, outside = alike[own[1::2]], alike[others]
        if inside.mean() < _INSIDE or outside.mean() > _OUTSIDE:
            continue
        evidence = (
            f"{inside.mean():.0%} of the images of {name!r} have the same edges {_where(places)}, "
            f"{outside.mean():.1%} of the others do: a watermark or a label, if not the objects themselves"
        )
        shown = thumbnails.rows[own[1::2][inside]][:_SHOWN]
        uris = tuple(usable.uris[row] for row in shown)
        yield Issue("watermark", None, float(inside.mean() - outside.mean()), evidence, LOOK, related=uris)


def _blocks(values: NDArray[T]) -> Iterator[NDArray[T]]:
    """Views of so many images at a time, since what is computed of them takes several times their memory."""
    return (values[start : start + _BLOCK] for start in range(0, len(values), _BLOCK))


def _edges(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Differences to the right and to the lower neighbor, (n, 2 * SIDE * (SIDE - 1)), within ``_STRONG``."""
    shades = pixels.astype(np.int16)
    across, down = np.diff(shades, axis=2).transpose(0, 2, 1), np.diff(shades, axis=1)
    both = np.stack([across, down], axis=1).reshape(len(pixels), -1)
    return np.asarray(np.clip(both, -_STRONG, _STRONG), np.int8)


def _spread(edges: NDArray[np.int8]) -> NDArray[np.float32]:
    """The standard deviation at each place, (places,), from sums of integers."""
    sums, squares = np.zeros((2, edges.shape[1]), np.int64)
    for block in _blocks(edges):
        sums += block.sum(0)
        squares += np.square(block, dtype=np.int16).sum(0)
    variance = (squares - sums**2 / len(edges)) / len(edges)
    return np.sqrt(variance).astype(np.float32)


def _common_edges(
    edges: NDArray[np.int8], spread: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The places at which the images (n, places) have edges in common, and the mean there.

    :param spread: standard deviation of the edges of all images, (places,).
    """
    values = edges.astype(np.float32)
    mean, strength = values.mean(0), np.abs(values).sum(0)
    places = np.flatnonzero(np.abs(mean) * np.sqrt(len(values)) >= _STANDS_OUT * spread)
    if strength[places].sum() > _MAX_SHARE * strength.sum():
        places = places[:0]
    return places, mean[places]


def _alike(edges: NDArray[np.int8], pattern: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which images (n, places) have the edges of a pattern (places,)."""
    values = edges.astype(np.float32)
    size = np.linalg.norm(values, axis=1) * np.linalg.norm(pattern)
    return np.asarray(values @ pattern >= _ALIKE * np.maximum(size, 1e-6))


def _where(places: NDArray[np.int64]) -> str:
    """The place of most of the edges, as a reader would say it."""
    rows, columns = np.divmod(places % (SIDE * (SIDE - 1)), SIDE)
    across = places < SIDE * (SIDE - 1)  # stored with columns first
    x = np.where(across, rows, columns) / (SIDE - 1)
    y = np.where(across, columns, rows) / (SIDE - 1)
    names = [
        ("upper", "middle", "lower")[min(2, int(3 * np.median(y)))],
        ("left", "center", "right")[min(2, int(3 * np.median(x)))],
    ]
    return "in the middle" if names == ["middle", "center"] else f"at the {names[0]} {names[1]}"
