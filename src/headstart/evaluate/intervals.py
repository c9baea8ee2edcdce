"""95 % confidence intervals: the variation to expect from another sample of images of the same kind.

Where images belong together, as those of one patient do, a sample is one of groups: their images vary together, and
intervals that took them for independent would be too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.evaluate.schema import Interval

__all__ = ["bootstrap", "chunks", "mean", "percentiles", "proportion", "resampled", "wilson"]

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
CHUNK = 4_000_000  # weights in memory at a time while resampling: 32 MB


def wilson(hits: float, images: float) -> Interval:
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


def proportion(hits: NDArray[np.bool_], groups: NDArray[np.int64] | None = None) -> Interval:
    """Return the share of images that are hits, with Wilson's interval for the effective number of images.

    That is the number of independent images that would vary as much: Korn and Graubard, Confidence intervals for
    proportions with small expected number of positive counts estimated from survey data, Survey Methodology 24, 1998.
    Where all images are hits, or none, it is the number of groups.

    :param hits: ``(N,)``.
    :param groups: number of the group of each image, ``(N,)``; None: each image stands for itself.

    >>> hits = np.array([True, True, True, False])
    >>> f"{proportion(hits):.2f}", f"{proportion(hits, np.array([0, 0, 0, 1])):.2f}"
    ('0.75 (0.30 to 0.95)', '0.75 (0.12 to 0.99)')
    """
    images, share = len(hits), float(hits.mean())
    if groups is None:
        return wilson(int(hits.sum()), images)
    count = len(np.unique(groups))
    variance = _variance_of_mean(hits.astype(np.float64), groups)
    if share in (0, 1) or count == 1:
        effective = float(count)
    elif variance == 0:
        effective = float(images)
    else:
        from scipy.special import stdtrit

        of_images, of_groups = stdtrit([images - 1, count - 1], (1 + LEVEL) / 2)  # quantiles of Student's t
        effective = share * (1 - share) / variance * float(of_images / of_groups) ** 2
    effective = min(max(effective, 1.0), float(images))
    return replace(wilson(share * effective, effective), value=share)


def mean(values: NDArray[np.floating[Any]], groups: NDArray[np.int64] | None = None) -> Interval:
    """Return the mean of non-negative values ``(N,)``, plus and minus 1.96 standard errors.

    A single value, or group, has no spread: both bounds are the mean.

    :param groups: number of the group of each value, ``(N,)``: the standard error is that of a mean over groups.
    """
    center = float(values.mean())
    if groups is not None:
        error = 1.96 * _variance_of_mean(values, groups) ** 0.5
    else:
        error = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return Interval(center, max(0.0, center - error), center + error)


def _variance_of_mean(values: NDArray[np.floating[Any]], groups: NDArray[np.int64]) -> float:
    """The variance of the mean of values ``(N,)`` when groups are drawn; 0 for a single group.

    Linearized as a ratio of sums over groups: Cochran, Sampling Techniques, 3rd edition, Wiley 1977, section 9A.2.
    """
    _, position = np.unique(groups, return_inverse=True)
    sums = np.bincount(position, weights=values - values.mean())
    count = len(sums)
    return float(count / (count - 1) * (sums**2).sum()) / len(values) ** 2 if count > 1 else 0.0


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    images: int,
    *,
    groups: NDArray[np.int64] | None = None,
    reflect: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return a statistic between 0 and 1 with its bootstrap interval over images; deterministic for a given seed.

    Davison and Hinkley, Bootstrap Methods and their Application, Cambridge 1997, chapter 5.

    :param statistic: maps weights ``(R, N)``, how often each image was drawn, to values ``(R,)``.
    :param groups: number of the group of each image, ``(N,)``: groups are drawn, each with all of its images.
    :param reflect: mirror the percentiles of the resamples about the estimate (the basic bootstrap), for statistics
        that resampling biases to one side. The bounds are widened to contain the estimate.

    >>> bootstrap(lambda weights: weights[:, 0] / 2, 2, resamples=100)
    Interval(value=0.5, low=0.0, high=1.0)
    """
    value = float(statistic(np.ones((1, images)))[0])
    found = percentiles(
        value, resampled(statistic, images, groups=groups, resamples=resamples, seed=seed), reflect=reflect
    )
    low, high = np.clip([found.low, found.high], 0, 1)
    return Interval(value, float(low), float(high))


def resampled(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    images: int,
    *,
    groups: NDArray[np.int64] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return a statistic of images drawn with replacement, ``(resamples, ...)``; deterministic for a given seed.

    :param statistic: maps weights ``(R, N)``, how often each image was drawn, to values ``(R, ...)``.
    :param groups: as for :func:`bootstrap`.

    >>> resampled(lambda weights: weights.sum(axis=1), 3, resamples=2)
    array([3., 3.])
    """
    rng = np.random.default_rng(seed)
    position = None if groups is None else np.unique(groups, return_inverse=True)[1]
    drawn = images if position is None else int(position.max()) + 1

    def weights(size: int) -> NDArray[np.float64]:
        of_drawn = _weights(rng, size, drawn)
        return of_drawn if position is None else of_drawn[:, position]

    return np.concatenate([statistic(weights(size)) for size in chunks(resamples, images)])


def percentiles(value: float, draws: NDArray[np.float64], *, reflect: bool = False) -> Interval:
    """Return an estimate with the interval that its resamples ``(R,)`` give, widened to contain the estimate.

    :param reflect: as for :func:`bootstrap`.

    >>> percentiles(1.0, np.array([0.0, 4.0] * 100), reflect=True)
    Interval(value=1.0, low=-2.0, high=2.0)
    """
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if reflect:
        low, high = 2 * value - high, 2 * value - low
    return Interval(value, float(min(low, value)), float(max(high, value)))


def chunks(total: int, images: int) -> list[int]:
    """Split ``total`` resamples of ``images`` images into numbers of resamples that fit in memory."""
    most = max(1, CHUNK // images)
    return [min(most, total - start) for start in range(0, total, most)]


def _weights(rng: np.random.Generator, size: int, images: int) -> NDArray[np.float64]:
    """Draw ``images`` images with replacement, ``size`` times: counts ``(size, images)``."""
    drawn = rng.integers(0, images, (size, images)) + images * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype(np.float64)
