"""Whether a model that is 80 % sure is right in 80 % of the cases.

Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017, arXiv:1706.04599.
Confidence is the largest probability; bins are equally wide and hold their upper edge.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from headstart.evaluate.intervals import Interval, bootstrap, chunks
from headstart.evaluate.metrics import class_sums

__all__ = ["Bin", "calibration_error", "expected_calibration_error", "reliability"]


class Bin(TypedDict):
    """The images whose confidence lies above ``low`` and not above ``high``."""

    low: float
    high: float
    images: int
    confidence: float  # their mean confidence
    accuracy: float  # the share that the model got right


def expected_calibration_error(
    confidence: NDArray[np.floating[Any]],
    hits: NDArray[np.bool_],
    weights: NDArray[np.float64],
    *,
    bins: int,
) -> NDArray[np.float64]:
    """Mean over images of their bin's gap between confidence and accuracy, ``(R,)`` for weights ``(R, N)``.

    >>> expected_calibration_error(np.array([0.8, 0.8]), np.array([True, False]), np.ones((1, 2)), bins=10)
    array([0.3])
    """
    gaps = class_sums(weights * (confidence - hits), _bin_of(confidence, bins), classes=bins)
    return np.abs(gaps).sum(axis=1) / weights.sum(axis=1)  # type: ignore[no-any-return]


def calibration_error(
    confidence: NDArray[np.floating[Any]], hits: NDArray[np.bool_], *, bins: int, draws: int = 1000, seed: int = 0
) -> Interval:
    """The expected calibration error with its 95 % interval; confidence and hits ``(N,)``.

    Few images in a bin give a gap even where there is none. So the bootstrap is reflected, and the interval goes
    down to 0 where as large an error is not rare (2.5 %) for a model whose confidence is exactly right. Consistency
    resampling: Bröcker and Smith, Increasing the reliability of reliability diagrams, Weather and Forecasting 22, 2007.
    """
    images = len(hits)
    found = bootstrap(
        lambda weights: expected_calibration_error(confidence, hits, weights, bins=bins),
        images,
        reflect=True,
        resamples=draws,
        seed=seed,
    )
    rng = np.random.default_rng(seed)
    index = _bin_of(confidence, bins)
    # Of R imagined models that are right as often as they say: the summed gaps (R, bins).
    gaps = [
        class_sums(confidence - (rng.random((size, images)) < confidence), index, classes=bins)
        for size in chunks(draws, images)
    ]
    by_chance = np.abs(np.concatenate(gaps)).sum(axis=1) / images
    if found["value"] <= np.quantile(by_chance, 0.975):
        found["low"] = 0.0
    return found


def reliability(confidence: NDArray[np.floating[Any]], hits: NDArray[np.bool_], *, bins: int) -> list[Bin]:
    """The bins that hold images, lowest first; confidence and hits ``(N,)``.

    >>> reliability(np.array([0.8, 0.8]), np.array([True, False]), bins=2)
    [{'low': 0.5, 'high': 1.0, 'images': 2, 'confidence': 0.8, 'accuracy': 0.5}]
    """
    index = _bin_of(confidence, bins)
    return [
        {
            "low": number / bins,
            "high": (number + 1) / bins,
            "images": int((index == number).sum()),
            "confidence": float(confidence[index == number].mean()),
            "accuracy": float(hits[index == number].mean()),
        }
        for number in np.unique(index).tolist()
    ]


def _bin_of(confidence: NDArray[np.floating[Any]], bins: int) -> NDArray[np.int64]:
    index: NDArray[np.int64] = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return index
