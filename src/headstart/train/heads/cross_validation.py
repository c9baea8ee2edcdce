"""Folds for choosing hyperparameters on the training images, so that none need be held out."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError

__all__ = ["fold_masks"]


def fold_masks(
    targets: NDArray[np.int64], folds: int, seed: int, *, groups: NDArray[np.int64] | None = None
) -> list[NDArray[np.bool_]]:
    """Assign each image to one fold: for each fold the mask (N,) of its images.

    Images are dealt out class by class, in random order, so that a class is spread over as many folds as possible.

    :param targets: (N,).
    :param folds: 2 or more; reduced to the number of images, or of groups, of the largest class, if that is less.
    :param groups: number of the group of each image, (N,): images of one group are in one fold.
    :raises DataError: no class has two images, or two groups of them.

    >>> [int(mask.sum()) for mask in fold_masks(np.arange(10) % 2, 5, seed=0)]
    [2, 2, 2, 2, 2]
    >>> [np.flatnonzero(mask).tolist() for mask in fold_masks(np.arange(8) % 2, 5, seed=0, groups=np.arange(8) // 4)]
    [[4, 5, 6, 7], [0, 1, 2, 3]]
    """
    if folds < 2:
        raise ValueError(f"folds must be 2 or more, got {folds}")
    divided = groups is not None and len(np.unique(groups)) < len(groups)
    units = targets if groups is None else np.unique(np.stack([targets, groups], 1), axis=0)[:, 0]
    largest = int(np.bincount(units).max())
    if largest < 2:
        of_groups = " of different groups" if divided else ""
        raise DataError(
            f"cross-validation needs a class with at least two images{of_groups}: add images to one of the classes"
        )
    folds = min(folds, largest)
    if divided:
        from sklearn.model_selection import StratifiedGroupKFold

        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            # Of classes with fewer images than folds: they are in as many folds as they can.
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            held_out = [rows for _, rows in splitter.split(targets, targets, groups)]
        return [np.isin(np.arange(len(targets)), rows) for rows in held_out if len(rows)]
    order = np.lexsort((np.random.default_rng(seed).permutation(len(targets)), targets))
    fold = np.empty(len(targets), np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return [fold == number for number in range(folds)]
