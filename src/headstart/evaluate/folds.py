"""K-fold splits for cross-fitting: what is fitted on the other folds is evaluated on each fold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["kfold_split"]


def kfold_split(images: int, *, folds: int, seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield for each fold the rows of the other folds, to fit on, and its own rows, to evaluate on.

    Rows are shuffled with ``seed``, and fold sizes differ by at most 1. With fewer images than folds, each image is a
    fold; with a single image, there are no other rows.

    :raises ValueError: ``folds`` is below 2.

    >>> [(len(fit), len(held_out)) for fit, held_out in kfold_split(7, folds=3, seed=0)]
    [(4, 3), (5, 2), (5, 2)]
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    order = np.random.default_rng(seed).permutation(images)
    parts = np.array_split(order, min(folds, images))
    for number, held_out in enumerate(parts):
        others = [part for other, part in enumerate(parts) if other != number]
        yield np.concatenate([np.empty(0, dtype=np.int64), *others]), held_out
