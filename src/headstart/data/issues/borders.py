"""Borders that the images of one class have and others do not: a network may learn them instead of the class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headstart.data.issues.base import LOOK, CheckedImages, Issue

__all__ = ["MIN_FRAME", "find_borders"]

MIN_FRAME = 0.02
"""Share of the height or width that lines of one color at a side must take up to count as a frame."""

_INSIDE, _OUTSIDE = 0.5, 0.05  # shares of images: at least in the class, at most in the others
_FEWEST = 10  # images of a class by which shares are told
_SAME_COLOR = 0.03  # mean distance of a border's red, green and blue from that of the class, 1 is white
_SHOWN = 3


def find_borders(checked: CheckedImages) -> Iterator[Issue]:
    """The classes most of whose images have a border that few images of other classes have."""
    values, usable = checked.statistics, checked.manifest.usable
    labels = np.array(usable.labels, object)
    if values is None or not len(labels):
        return
    sides = np.stack([values[f"frame_{side}"] for side in ("top", "bottom", "left", "right")])
    framed = (sides.max(0) >= MIN_FRAME) & (sides.max(0) < 1)
    colors = np.stack([values[f"border_{color}"] for color in ("red", "green", "blue")], 1)
    for name in usable.classes:
        own = labels == name
        others = (labels != None) & ~own  # noqa: E711 - elementwise
        if min(own.sum(), others.sum()) < _FEWEST:
            continue
        middle = np.nanmedian(colors[own], 0)
        alike = np.abs(colors - middle).mean(1) < _SAME_COLOR
        for shows, what in ((framed, _frame), (alike, _color)):
            inside, outside = float(shows[own].mean()), float(shows[others].mean())
            if inside >= _INSIDE and outside <= _OUTSIDE:
                evidence = f"{inside:.0%} of the images of {name!r} have {what(middle)}, {outside:.1%} of the others do"
                rows = np.flatnonzero(own & shows)[:_SHOWN]
                yield Issue(
                    "border", None, inside - outside, evidence, LOOK, related=tuple(usable.uris[r] for r in rows)
                )
                break


def _frame(_: NDArray[np.floating]) -> str:
    return f"a frame of one color at a side, of at least {MIN_FRAME:.0%} of its length"


def _color(middle: NDArray[np.floating]) -> str:
    red, green, blue = np.rint(255 * middle).astype(int).tolist()
    return f"a border with a mean color near ({red}, {green}, {blue})"
