"""Folds for choosing hyperparameters on the training images, so that none need be held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError

__all__ = ["fold_masks"]


def fold_masks(targets: NDArray[np.int64], folds: int, seed: int) -> list[NDArray[np.bool_]]:
    """Assign each image to one fold: for each fold the mask (N,) of its images.

    Images are dealt out class by class, in random order, so that a class is spread over as many folds as possible.

    :param targets: (N,).
    :param folds: 2 or more; reduced to the number of images of the largest class, if that is less.
    :raises DataError: no class has two images.

    >>> [int(mask.sum()) for mask in fold_masks(np.arange(10) % 2, 5, seed=0)]
    [2, 2, 2, 2, 2]
    """
    if folds < 2:
        raise ValueError(f"folds must be 2 or more, got {folds}")
    largest = int(np.bincount(targets).max())
    if largest < 2:
        raise DataError("cross-validation needs a class with at least two images: add images to one of the classes")
    folds = min(folds, largest)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(targets)), targets))
    fold = np.empty(len(targets), np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return [fold == number for number in range(folds)]
