"""Sets of classes that hold the true one as often as was asked for: split conformal prediction.

A threshold is taken from images that were not trained on. If new images are like them, their sets hold the true class
with at least the chosen probability, whatever the network: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random
World, Springer 2005; Papadopoulos et al., Inductive confidence machines for regression, ECML 2002. That is true on
average over images, not for each class.

A class's *rank score* says how late it comes into the set, from 0 (first) to 1 (last):

- ``lac``: 1 minus its probability. No other rule has smaller sets on average: Sadinle, Lei and Wasserman, Least
  ambiguous set-valued classifiers with bounded error levels, JASA 114, 2019, arXiv:1609.00451. The default.
- ``aps``: the probability of all classes before it. Larger sets, which follow more closely how hard an image is:
  Romano, Sesia and Candès, Classification with valid and adaptive coverage, NeurIPS 2020, arXiv:2006.02544.

The most probable class has the score 0, so that no set is empty. Since the threshold is taken from the same scores,
the promise stays as it is, and is not overshot (sets that grow with the threshold are all that it needs: Gupta,
Kuchibhotla and Ramdas, Nested conformal prediction and quantile out-of-bag ensemble methods, Pattern Recognition 127,
2022). Only a network that is right more often than was asked for does better: its sets are of one class, and hold the
true one as often as it is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import SettingsError
from headstart.evaluate import intervals
from headstart.evaluate.checks import checked_probabilities
from headstart.evaluate.folds import turns

__all__ = ["Method", "conformal_threshold", "prediction_sets", "rank_of_quantile", "sets_out_of_fold", "sets_section"]

Method = Literal["lac", "aps"]
METHODS = ("lac", "aps")

Floats = NDArray[np.float64]


def conformal_threshold(
    probabilities: ArrayLike, targets: ArrayLike, *, coverage: float = 0.9, method: Method = "lac"
) -> float:
    """The rank score up to which classes belong to a set, for sets that hold the true class in ``coverage`` of images.

    ``probabilities`` ``(N, C)`` and ``targets`` ``(N,)`` are of images that were not trained on. It is the score of
    rank ceil((N + 1) coverage) among the N scores of the true classes, or 1 (all classes) where N is too small for
    that: 9 images are needed for 0.9, and 19 for 0.95.

    Raises :class:`~headstart.errors.DataError` if shapes or values are not so,
    :class:`~headstart.errors.SettingsError` for a coverage or a method that there is not.

    >>> conformal_threshold([[0.6, 0.3, 0.1]] * 10, [0] * 6 + [1] * 4)
    0.7
    """
    shares, true = checked_probabilities(probabilities, targets)
    scores = _rank_scores(shares, method)[np.arange(len(true)), true]
    rank = rank_of_quantile(len(true), coverage)
    return float(np.sort(scores)[rank - 1]) if rank <= len(true) else 1.0


def prediction_sets(probabilities: ArrayLike, threshold: float, *, method: Method = "lac") -> NDArray[np.bool_]:
    """Which classes each image's set holds, ``(N, C)``: the most probable one, and all of scores up to ``threshold``.

    ``method`` must be the one that the threshold was made with.

    >>> prediction_sets([[0.6, 0.3, 0.1], [0.9, 0.05, 0.05]], 0.7)
    array([[ True,  True, False],
           [ True, False, False]])
    """
    return _rank_scores(np.asarray(probabilities, dtype=np.float64), method) <= threshold


def sets_out_of_fold(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    coverage: float = 0.9,
    method: Method = "lac",
    folds: int = 5,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Sets ``(N, C)``, each image's with the threshold of the other folds' images; all classes for a single image.

    So that coverage on the part that the threshold is taken from is not met by construction.
    """
    shares, true = checked_probabilities(probabilities, targets)
    sets = np.ones(shares.shape, dtype=bool)
    for others, own in turns(len(true), folds=folds, seed=seed):
        if len(others):
            threshold = conformal_threshold(shares[others], true[others], coverage=coverage, method=method)
            sets[own] = prediction_sets(shares[own], threshold, method=method)
    return sets


def sets_section(
    probabilities: ArrayLike,
    targets: ArrayLike,
    classes: Sequence[str],
    *,
    threshold: float,
    cross_fitted: bool,
    coverage: float = 0.9,
    method: Method = "lac",
) -> dict[str, Any]:
    """``evaluation["sets"]``: whether the sets keep their promise, and how large they are, as plain JSON values.

    ``probabilities`` ``(N, C)`` and ``targets`` ``(N,)`` are of the part that is evaluated, ``classes`` the C names.
    Say ``cross_fitted`` where ``threshold`` was taken from these very images: then each image's set comes from the
    threshold of other folds. ``sizes`` counts the images a size, and those among them whose set holds the true class;
    ``least`` is the class that is held least often. Shares come with Wilson's interval.

    >>> found = sets_section(
    ...     [[0.6, 0.3, 0.1]] * 10, [0] * 6 + [1] * 3 + [2], ["a", "b", "c"], threshold=0.7, cross_fitted=False
    ... )
    >>> found["covered"]["value"], found["mean_size"]["value"], found["sizes"]
    (0.9, 2.0, [{'size': 2, 'images': 10, 'covered': 9}])
    >>> found["least"]["class"], found["least"]["covered"]["value"]
    ('c', 0.0)
    """
    shares, true = checked_probabilities(probabilities, targets)
    if cross_fitted:
        sets = sets_out_of_fold(shares, true, coverage=coverage, method=method)
    else:
        sets = prediction_sets(shares, threshold, method=method)
    held, sizes = sets[np.arange(len(true)), true], sets.sum(axis=1)
    return {
        "method": method,
        "coverage": coverage,
        "threshold": float(threshold),
        "cross_fitted": cross_fitted,
        "images": len(true),
        "covered": intervals.wilson(int(held.sum()), len(held)),
        "mean_size": intervals.mean(sizes),
        "sizes": [
            {"size": size, "images": int((sizes == size).sum()), "covered": int(held[sizes == size].sum())}
            for size in np.unique(sizes).tolist()
        ],
        "least": _least(true, held, classes),
    }


def rank_of_quantile(images: int, coverage: float) -> int:
    """Which of so many sorted values a new one stays below with probability ``coverage``: ceil((n + 1) coverage).

    More than ``images`` where there are too few to say.

    >>> rank_of_quantile(9, 0.9), rank_of_quantile(8, 0.9), rank_of_quantile(999, 0.9)
    (9, 9, 900)
    """
    if not 0 < coverage < 1:
        raise SettingsError(f"coverage must lie between 0 and 1, such as 0.9, got {coverage:g}")
    return math.ceil((images + 1) * coverage - 1e-9)  # 10 × 0.9 must not be 9.000000000000002


def _rank_scores(shares: Floats, method: str) -> Floats:
    """The rank score of each class of each image, ``(N, C)``; equally probable classes are in class order."""
    if method not in METHODS:
        raise SettingsError(f"the method of prediction sets must be one of {', '.join(METHODS)}, got {method!r}")
    order = np.argsort(-shares, axis=1, kind="stable")
    if method == "lac":
        scores = 1 - shares
    else:
        ranked = np.take_along_axis(shares, order, axis=1)
        scores = np.empty_like(shares)
        np.put_along_axis(scores, order, np.cumsum(ranked, axis=1) - ranked, axis=1)
    np.put_along_axis(scores, order[:, :1], 0.0, axis=1)
    return np.clip(scores, 0.0, 1.0)


def _least(true: NDArray[np.int64], held: NDArray[np.bool_], classes: Sequence[str]) -> dict[str, Any]:
    """The class whose images' sets hold it least often; among equals the one with the most images."""
    images = np.bincount(true, minlength=len(classes))
    covered = np.bincount(true, weights=held, minlength=len(classes)).astype(np.int64)
    shares = np.where(images > 0, covered / np.maximum(images, 1), np.inf)
    target = int(np.lexsort((-images, shares))[0])
    return {
        "class": classes[target],
        "images": int(images[target]),
        "covered": intervals.wilson(int(covered[target]), int(images[target])),
    }
