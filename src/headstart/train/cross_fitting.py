"""The figures of a choice on images that it did not see.

Where many candidates are compared on the same images, the best one owes a part of its lead to chance, and its own
figures there are too good. Here each image is judged with the candidate that is chosen by the other images: those of
the other folds (cross-validation of the choice; Varma and Simon, Bias in error estimation when using cross-validation
for model selection, BMC Bioinformatics 2006). The candidates were trained on none of these images, so that nothing has
to be trained again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["cross_fitted_choice", "random_folds"]

_FOLDS = 10


def random_folds(count: int, seed: int, *, groups: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The fold of each image, (count,): at most ten, of about equal size.

    :param groups: number of the group of each image, (count,): images of one group are in one fold.

    >>> np.bincount(random_folds(25, seed=0)).tolist()
    [3, 3, 3, 3, 3, 2, 2, 2, 2, 2]
    """
    generator = np.random.default_rng(seed)
    if groups is None:
        return generator.permutation(count) % _FOLDS
    distinct, position = np.unique(groups, return_inverse=True)
    return (generator.permutation(len(distinct)) % _FOLDS)[position]


def cross_fitted_choice(folds: NDArray[np.int64], choose: Callable[[NDArray[np.bool_]], int]) -> NDArray[np.int64]:
    """For each image, the candidate that is chosen without the images of its fold, (N,).

    :param folds: of each image, (N,).
    :param choose: from the images that may be looked at, a mask (N,), to the number of the best candidate.

    >>> losses = np.array([[0.1, 0.1, 0.9, 0.1], [0.3, 0.3, 0.3, 0.3]])
    >>> cross_fitted_choice(np.arange(4), lambda seen: int(losses[:, seen].mean(1).argmin())).tolist()
    [1, 1, 0, 1]
    """
    chosen = np.zeros(len(folds), np.int64)
    numbers = np.unique(folds)
    if len(numbers) < 2:  # nothing else to choose by
        return np.full(len(folds), choose(np.ones(len(folds), bool)))
    for number in numbers:
        chosen[folds == number] = choose(folds != number)
    return chosen
