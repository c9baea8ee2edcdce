"""Shares of one part that take turns: what is chosen on the others is examined on each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["turns"]


def turns(images: int, *, folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each fold the rows of the other folds, to choose on, and its own rows, to examine.

    Drawn at random, the same for the same seed, and as equal in size as can be. With fewer images than folds, an image
    is a fold; of one image, there are no others.

    >>> [(len(others), len(own)) for others, own in turns(7, folds=3, seed=0)]
    [(4, 3), (5, 2), (5, 2)]
    """
    if folds < 2:
        raise ValueError(f"folds must be 2 or more, so that there are others to choose on, got {folds}")
    order = np.random.default_rng(seed).permutation(images)
    parts = np.array_split(order, min(folds, images))
    for number, own in enumerate(parts):
        others = [part for other, part in enumerate(parts) if other != number]
        yield np.concatenate([np.empty(0, dtype=np.int64), *others]), own
