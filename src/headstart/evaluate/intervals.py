"""95 % confidence intervals: the variation to expect from another sample of images of the same kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluate.schema import Interval

__all__ = ["bootstrap", "chunks", "mean", "wilson"]

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
CHUNK = 4_000_000  # weights in memory at a time while resampling: 32 MB


def wilson(hits: int, images: int) -> Interval:
    """Return ``hits / images`` with Wilson's score interval, which is sound near 0 and 1 and for small n.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927; recommended
    by Brown, Cai and DasGupta, Interval estimation for a binomial proportion, Statistical Science 16, 2001.

    >>> f"{wilson(9, 10):.3f}"
    '0.900 (0.596 to 0.982)'
    """
    # scipy's binomtest gives the same, but its overhead is too large for one interval per class.
    proportion, slack = hits / images, Z**2 / images
    center = (proportion + slack / 2) / (1 + slack)
    reach = math.sqrt(proportion * (1 - proportion) * slack + slack**2 / 4) / (1 + slack)
    low, high = center - reach, center + reach
    return Interval(proportion, low if hits else 0.0, high if hits < images else 1.0)


def mean(values: NDArray[np.floating[Any]]) -> Interval:
    """Return the mean of non-negative values ``(N,)``, plus and minus 1.96 standard errors.

    A single value has no spread: both bounds are the value.
    """
    center = float(values.mean())
    error = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return Interval(center, max(0.0, center - error), center + error)


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    images: int,
    *,
    reflect: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return a statistic between 0 and 1 with its bootstrap interval over images; deterministic for a given seed.

    Davison and Hinkley, Bootstrap Methods and their Application, Cambridge 1997, chapter 5.

    :param statistic: maps weights ``(R, N)``, how often each image was drawn, to values ``(R,)``.
    :param reflect: mirror the percentiles of the resamples about the estimate (the basic bootstrap), for statistics
        that resampling biases to one side. The bounds are widened to contain the estimate.

    >>> bootstrap(lambda weights: weights[:, 0] / 2, 2, resamples=100)
    Interval(value=0.5, low=0.0, high=1.0)
    """
    value = float(statistic(np.ones((1, images)))[0])
    rng = np.random.default_rng(seed)
    draws = np.concatenate([statistic(_weights(rng, size, images)) for size in chunks(resamples, images)])
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if reflect:
        low, high = 2 * value - high, 2 * value - low
    low, high = np.clip([min(low, value), max(high, value)], 0, 1)
    return Interval(value, float(low), float(high))


def chunks(total: int, images: int) -> list[int]:
    """Split ``total`` resamples of ``images`` images into numbers of resamples that fit in memory."""
    most = max(1, CHUNK // images)
    return [min(most, total - start) for start in range(0, total, most)]


def _weights(rng: np.random.Generator, size: int, images: int) -> NDArray[np.float64]:
    """Draw ``images`` images with replacement, ``size`` times: counts ``(size, images)``."""
    drawn = rng.integers(0, images, (size, images)) + images * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype(np.float64)
