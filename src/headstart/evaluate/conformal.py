"""Prediction sets that contain the true class with a chosen probability: split conformal prediction.

The threshold comes from images that were not trained on. If new images are exchangeable with them, prediction sets
contain the true class with at least the chosen probability, whatever the network: Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, Springer 2005; Papadopoulos et al., Inductive confidence machines for
regression, ECML 2002. The guarantee holds on average over images, not for each class.

The *nonconformity score* of a class is between 0 (enters the set first) and 1 (enters it last):

- ``lac``: 1 minus its probability. No other rule has smaller sets on average: Sadinle, Lei and Wasserman, Least
  ambiguous set-valued classifiers with bounded error levels, JASA 114, 2019, arXiv:1609.00451. The default.
- ``aps``: the total probability of all more probable classes. Sets are larger and adapt more closely to the difficulty
  of an image: Romano, Sesia and Candès, Classification with valid and adaptive coverage, NeurIPS 2020,
  arXiv:2006.02544.

The most probable class has the score 0, so that no set is empty. The threshold is taken from the same scores, so that
the guarantee is unaffected and not overshot (it only needs sets that grow with the threshold: Gupta, Kuchibhotla and
Ramdas, Nested conformal prediction and quantile out-of-bag ensemble methods, Pattern Recognition 127, 2022). Coverage
exceeds the target only if the accuracy of the network does: then each set is a single class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import SettingsError
from headstart.evaluate import intervals
from headstart.evaluate.checks import validate_probabilities
from headstart.evaluate.folds import kfold_split
from headstart.evaluate.schema import ClassCoverage, PredictionSetMetrics, SetSize

__all__ = [
    "Method",
    "conformal_threshold",
    "cross_fitted_sets",
    "prediction_set_metrics",
    "prediction_sets",
    "quantile_rank",
]

Method = Literal["lac", "aps"]
METHODS = ("lac", "aps")

Floats = NDArray[np.float64]


def conformal_threshold(
    probabilities: ArrayLike, targets: ArrayLike, *, coverage: float = 0.9, method: Method = "lac"
) -> float:
    """Return the largest nonconformity score of a class in a prediction set, for sets with the given coverage.

    It is the score of rank ceil((N + 1) coverage) among the N scores of the true classes, or 1 (all classes) if N is
    too small: a coverage of 0.9 needs 9 images, 0.95 needs 19.

    :param probabilities: ``(N, C)``, of images that were not trained on.
    :param targets: ``(N,)``.
    :raises DataError: a shape or value is wrong.
    :raises SettingsError: an unknown method, or a coverage that is not between 0 and 1.

    >>> conformal_threshold([[0.6, 0.3, 0.1]] * 10, [0] * 6 + [1] * 4)
    0.7
    """
    values, true = validate_probabilities(probabilities, targets)
    scores = _nonconformity(values, method)[np.arange(len(true)), true]
    rank = quantile_rank(len(true), coverage)
    return float(np.sort(scores)[rank - 1]) if rank <= len(true) else 1.0


def prediction_sets(probabilities: ArrayLike, threshold: float, *, method: Method = "lac") -> NDArray[np.bool_]:
    """Return the classes in the prediction set of each image, ``(N, C)``: those with a score up to ``threshold``.

    Every set contains the most probable class. ``method`` must be the one that the threshold was computed with.

    >>> prediction_sets([[0.6, 0.3, 0.1], [0.9, 0.05, 0.05]], 0.7)
    array([[ True,  True, False],
           [ True, False, False]])
    """
    return _nonconformity(np.asarray(probabilities, dtype=np.float64), method) <= threshold


def cross_fitted_sets(
    probabilities: ArrayLike,
    targets: ArrayLike,
    *,
    coverage: float = 0.9,
    method: Method = "lac",
    folds: int = 5,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Return prediction sets ``(N, C)``, each image's with the threshold of the other folds; all classes if N is 1.

    On the images that a threshold is computed from, its coverage holds by construction; cross-fitting avoids that.
    """
    values, true = validate_probabilities(probabilities, targets)
    sets = np.ones(values.shape, dtype=bool)
    for others, held_out in kfold_split(len(true), folds=folds, seed=seed):
        if len(others):
            threshold = conformal_threshold(values[others], true[others], coverage=coverage, method=method)
            sets[held_out] = prediction_sets(values[held_out], threshold, method=method)
    return sets


def prediction_set_metrics(
    probabilities: ArrayLike,
    targets: ArrayLike,
    classes: Sequence[str],
    *,
    threshold: float,
    cross_fitted: bool,
    coverage: float = 0.9,
    method: Method = "lac",
) -> PredictionSetMetrics:
    """Compute coverage and size of prediction sets on the evaluated split.

    :param probabilities: ``(N, C)``.
    :param targets: ``(N,)``.
    :param classes: the C class names.
    :param cross_fitted: True if ``threshold`` was computed from these images: then each image's set uses the threshold
        of the other folds.
    :raises DataError: a shape or value is wrong.

    >>> found = prediction_set_metrics(
    ...     [[0.6, 0.3, 0.1]] * 10, [0] * 6 + [1] * 3 + [2], ["a", "b", "c"], threshold=0.7, cross_fitted=False
    ... )
    >>> found.covered.value, found.mean_size.value, found.sizes
    (0.9, 2.0, (SetSize(size=2, images=10, covered=9),))
    >>> found.least_covered.name, found.least_covered.covered.value
    ('c', 0.0)
    """
    values, true = validate_probabilities(probabilities, targets)
    if cross_fitted:
        sets = cross_fitted_sets(values, true, coverage=coverage, method=method)
    else:
        sets = prediction_sets(values, threshold, method=method)
    covered, sizes = sets[np.arange(len(true)), true], sets.sum(axis=1)
    return PredictionSetMetrics(
        method=method,
        coverage=coverage,
        threshold=float(threshold),
        cross_fitted=cross_fitted,
        images=len(true),
        covered=intervals.wilson(int(covered.sum()), len(covered)),
        mean_size=intervals.mean(sizes),
        sizes=tuple(
            SetSize(size=size, images=int((sizes == size).sum()), covered=int(covered[sizes == size].sum()))
            for size in np.unique(sizes).tolist()
        ),
        least_covered=_least_covered(true, covered, classes),
    )


def quantile_rank(images: int, coverage: float) -> int:
    """Return the rank of the sorted value that a new one does not exceed with probability ``coverage``.

    It is ceil((n + 1) coverage), and above ``images`` if there are too few images.

    :raises SettingsError: ``coverage`` is not between 0 and 1.

    >>> quantile_rank(9, 0.9), quantile_rank(8, 0.9), quantile_rank(999, 0.9)
    (9, 9, 900)
    """
    if not 0 < coverage < 1:
        raise SettingsError(f"coverage must be between 0 and 1, for example 0.9, got {coverage:g}")
    return math.ceil((images + 1) * coverage - 1e-9)  # so that rounding errors (9.000000000000002) do not count


def _nonconformity(probabilities: Floats, method: str) -> Floats:
    """Return the score of each class of each image, ``(N, C)``; equally probable classes are in class order."""
    if method not in METHODS:
        raise SettingsError(f"the method of prediction sets must be one of {', '.join(METHODS)}, got {method!r}")
    order = np.argsort(-probabilities, axis=1, kind="stable")
    if method == "lac":
        scores = 1 - probabilities
    else:
        ranked = np.take_along_axis(probabilities, order, axis=1)
        scores = np.empty_like(probabilities)
        np.put_along_axis(scores, order, np.cumsum(ranked, axis=1) - ranked, axis=1)
    np.put_along_axis(scores, order[:, :1], 0.0, axis=1)
    return np.clip(scores, 0.0, 1.0)


def _least_covered(true: NDArray[np.int64], covered: NDArray[np.bool_], classes: Sequence[str]) -> ClassCoverage:
    """Return the class with the lowest coverage; in a tie the one with the most images."""
    images = np.bincount(true, minlength=len(classes))
    hits = np.bincount(true, weights=covered, minlength=len(classes)).astype(np.int64)
    proportions = np.where(images > 0, hits / np.maximum(images, 1), np.inf)
    target = int(np.lexsort((-images, proportions))[0])
    return ClassCoverage(
        name=classes[target],
        images=int(images[target]),
        covered=intervals.wilson(int(hits[target]), int(images[target])),
    )
