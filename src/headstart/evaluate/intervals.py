"""95 % confidence intervals: what other images of the same kind could have given."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

__all__ = ["Interval", "bootstrap", "chunks", "mean", "wilson"]

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
CHUNK = 4_000_000  # weights held at once while resampling: 32 MB


class Interval(TypedDict):
    """A figure and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(hits: int, images: int) -> Interval:
    """The share ``hits / images`` with Wilson's score interval, which is sound near 0 and 1 and for few images.

    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927; recommended
    for it by Brown, Cai and DasGupta, Interval estimation for a binomial proportion, Statistical Science 16, 2001.

    >>> {name: round(value, 3) for name, value in wilson(9, 10).items()}
    {'value': 0.9, 'low': 0.596, 'high': 0.982}
    """
    # In place of scipy's binomtest, which takes longer to set up: a report asks for one a class.
    share, slack = hits / images, Z**2 / images
    centre = (share + slack / 2) / (1 + slack)
    reach = math.sqrt(share * (1 - share) * slack + slack**2 / 4) / (1 + slack)
    low, high = centre - reach, centre + reach
    return {"value": share, "low": low if hits else 0.0, "high": high if hits < images else 1.0}


def mean(values: NDArray[np.floating[Any]]) -> Interval:
    """The mean of values ``(N,)`` that cannot be below 0, plus and minus 1.96 standard errors.

    One value says nothing of the spread: then both bounds are the value.
    """
    centre = float(values.mean())
    error = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return {"value": centre, "low": max(0.0, centre - error), "high": centre + error}


def bootstrap(
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    images: int,
    *,
    reflect: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """A figure between 0 and 1 with its bootstrap interval over images; the same seed gives the same bounds.

    ``statistic`` takes weights ``(R, N)``, how often each image was drawn, and returns ``(R,)``. The bounds are
    the percentiles of the resamples, or with ``reflect`` their mirror image about the figure (the basic
    bootstrap), for figures that resampling pushes to one side. They are widened to hold the figure itself.
    Davison and Hinkley, Bootstrap Methods and their Application, Cambridge 1997, chapter 5.

    >>> bootstrap(lambda weights: weights[:, 0] / 2, 2, resamples=100)
    {'value': 0.5, 'low': 0.0, 'high': 1.0}
    """
    value = float(statistic(np.ones((1, images)))[0])
    rng = np.random.default_rng(seed)
    draws = np.concatenate([statistic(_weights(rng, size, images)) for size in chunks(resamples, images)])
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if reflect:
        low, high = 2 * value - high, 2 * value - low
    low, high = np.clip([min(low, value), max(high, value)], 0, 1)
    return {"value": value, "low": float(low), "high": float(high)}


def chunks(total: int, images: int) -> list[int]:
    """Split ``total`` resamples of so many images into parts that fit in memory."""
    most = max(1, CHUNK // images)
    return [min(most, total - start) for start in range(0, total, most)]


def _weights(rng: np.random.Generator, size: int, images: int) -> NDArray[np.float64]:
    """Draw as many images as there are, with replacement, ``size`` times: counts ``(size, images)``."""
    drawn = rng.integers(0, images, (size, images)) + images * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype(np.float64)
