"""Whether two sets of vectors may come from one distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SAMPLE", "TwoSampleTest", "mmd_test"]

MAX_SAMPLE = 1000
"""Vectors of each set that are compared; of more, so many are drawn."""

_PERMUTATIONS = 999


@dataclass(frozen=True)
class TwoSampleTest:
    """The result of a permutation test."""

    p_value: float  # share of permutations that are at least as far apart, the observed one among them
    sizes: tuple[int, int]  # of the two samples


def mmd_test(first: NDArray[np.floating], second: NDArray[np.floating], *, seed: int = 0) -> TwoSampleTest:
    """Test whether two sets come from one distribution, by the maximum mean discrepancy with 999 permutations.

    The kernel is Gaussian, its width the median distance of the vectors (Gretton, Borgwardt, Rasch, Schölkopf and
    Smola, A kernel two-sample test, JMLR 13, 2012, equation 3 and section 8). The p-value is valid where the vectors
    are independent: frames of one video are not.

    :param first: (N, D).
    :param second: (M, D).
    :raises ValueError: one of the sets has fewer than two vectors.

    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(200, 8)), rng.normal(size=(200, 8))
    >>> mmd_test(x, y).p_value > 0.05, mmd_test(x, y + 0.5).p_value
    (True, 0.001)
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"a two-sample test needs two vectors of each set, got {len(first)} and {len(second)}")
    rng = np.random.default_rng(seed)
    samples = [each[np.sort(rng.permutation(len(each))[:MAX_SAMPLE])] for each in (first, second)]
    sizes = len(samples[0]), len(samples[1])
    kernel = _gaussian_kernel(np.concatenate(samples).astype(np.float64))
    # With weights of 1/N for one set and -1/M for the other, the squared discrepancy is a quadratic form. Its diagonal
    # is the same in every permutation but for the sizes, and is left as it is: the biased estimate, which only shifts.
    weights = np.concatenate([np.full(sizes[0], 1 / sizes[0]), np.full(sizes[1], -1 / sizes[1])])
    permuted = np.stack([weights, *(rng.permutation(weights) for _ in range(_PERMUTATIONS))], axis=1)
    statistics = np.einsum("ij,ij->j", permuted, kernel @ permuted)
    # Equal sets up to rounding: a difference of one unit in the last place is none.
    at_least = statistics >= statistics[0] - 1e-12
    return TwoSampleTest(float(at_least.mean()), sizes)


def _gaussian_kernel(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, N)."""
    squares = (vectors**2).sum(1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * vectors @ vectors.T, 0)
    typical = float(np.median(distances[np.triu_indices(len(vectors), 1)]))
    return np.asarray(np.exp(-distances / (2 * typical)) if typical else np.ones_like(distances))
