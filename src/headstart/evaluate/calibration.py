"""Calibration: does a model that is 80 % confident get 80 % of those images right?

Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017, arXiv:1706.04599.
Confidence is the largest probability. Bins have equal width and include their upper edge.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluate.intervals import bootstrap, chunks
from headstart.evaluate.metrics import class_sums
from headstart.evaluate.schema import Interval, ReliabilityBin

__all__ = ["bin_index", "calibration_error", "expected_calibration_error", "reliability"]


def expected_calibration_error(
    confidence: NDArray[np.floating[Any]],
    correct: NDArray[np.bool_],
    weights: NDArray[np.float64],
    *,
    bins: int,
) -> NDArray[np.float64]:
    """Return the gap between confidence and accuracy of each image's bin, averaged over images.

    :param confidence: ``(N,)``.
    :param correct: ``(N,)``, whether the predicted class is the true one.
    :param weights: ``(R, N)``, how often each image counts in each of R resamples.
    :returns: ``(R,)``.

    >>> expected_calibration_error(np.array([0.8, 0.8]), np.array([True, False]), np.ones((1, 2)), bins=10)
    array([0.3])
    """
    gaps = class_sums(weights * (confidence - correct), bin_index(confidence, bins), classes=bins)
    return np.abs(gaps).sum(axis=1) / weights.sum(axis=1)  # type: ignore[no-any-return]


def calibration_error(
    confidence: NDArray[np.floating[Any]],
    correct: NDArray[np.bool_],
    *,
    bins: int,
    groups: NDArray[np.int64] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the expected calibration error with its 95 % interval; confidence and correct ``(N,)``.

    With ``groups`` ``(N,)`` the resamples are of groups of images.

    A bin with few images has a gap even where the model is perfectly calibrated. Therefore the bootstrap is reflected,
    and the interval extends to 0 if a perfectly calibrated model reaches the observed error with a probability of
    2.5 % or more. This is consistency resampling: Bröcker and Smith, Increasing the reliability of reliability
    diagrams, Weather and Forecasting 22, 2007.
    """
    images = len(correct)
    error = bootstrap(
        lambda weights: expected_calibration_error(confidence, correct, weights, bins=bins),
        images,
        groups=groups,
        reflect=True,
        resamples=resamples,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    index = bin_index(confidence, bins)
    # Simulate R perfectly calibrated models: summed gaps (R, bins).
    gaps = [
        class_sums(confidence - (rng.random((size, images)) < confidence), index, classes=bins)
        for size in chunks(resamples, images)
    ]
    by_chance = np.abs(np.concatenate(gaps)).sum(axis=1) / images
    return replace(error, low=0.0) if error.value <= np.quantile(by_chance, 0.975) else error


def reliability(
    confidence: NDArray[np.floating[Any]], correct: NDArray[np.bool_], *, bins: int
) -> tuple[ReliabilityBin, ...]:
    """Return the bins that contain images, lowest first; confidence and correct ``(N,)``.

    >>> reliability(np.array([0.8, 0.8]), np.array([True, False]), bins=2)
    (ReliabilityBin(low=0.5, high=1.0, images=2, confidence=0.8, accuracy=0.5),)
    """
    index = bin_index(confidence, bins)
    return tuple(
        ReliabilityBin(
            low=number / bins,
            high=(number + 1) / bins,
            images=int((index == number).sum()),
            confidence=float(confidence[index == number].mean()),
            accuracy=float(correct[index == number].mean()),
        )
        for number in np.unique(index).tolist()
    )


def bin_index(confidence: NDArray[np.floating[Any]], bins: int) -> NDArray[np.int64]:
    """Return the number of the bin of each confidence, ``(N,)``.

    >>> bin_index(np.array([0.0, 0.5, 0.51, 1.0]), 2)
    array([0, 0, 1, 1])
    """
    index: NDArray[np.int64] = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return index
