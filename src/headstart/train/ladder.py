"""When to train more: rungs are compared on the same validation images, and the next is climbed while that pays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.evaluate import fit_temperature, scaled
from headstart.evaluate.metrics import log_losses
from headstart.train.figures import difference

__all__ = ["DEEPER", "best", "losses", "pays", "promises"]

DEEPER = ("last:1", "last:5")
"""What is trained after the head, one after the other."""


def losses(logits: ArrayLike, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each image's log-loss in nats, (N,), at the temperature that suits the logits (N, C) best.

    At its own temperature, since a network that is too sure of itself is mended by one number, and training a network
    longer to make it modest is no gain.
    """
    return np.asarray(log_losses(targets, scaled(logits, fit_temperature(logits, targets))), np.float64)


def pays(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether there is less log-loss after than before, of the same images, by more than is uncertain of it."""
    mean, error = difference(before, after)
    return mean > error


def promises(before: NDArray[np.float64], after: NDArray[np.float64]) -> bool:
    """Whether a first look gained something: more than one standard error.

    >>> one = np.array([0.1, 0.3, 0.2, 0.4])
    >>> promises(one, one - [0.05, 0.06, 0.05, 0.04]), promises(one, one - [0.5, -0.4, 0.2, -0.3])
    (True, False)
    """
    mean, error = difference(before, after)
    return mean > error / 1.96


def best(rungs: Sequence[NDArray[np.float64]], *, solved: int) -> int:
    """Which rung is kept, by its losses: of the first ``solved`` the lowest, and of equals the first, the cheapest.

    A trained rung takes its place where it is lower by more than one standard error: Breiman, Friedman, Olshen and
    Stone, Classification and Regression Trees, 1984, section 3.4.3. A solved head is simpler, and is solved once more
    on the very images that judge here.

    >>> one = np.array([0.5, 0.7, 0.6])
    >>> best([one + 0.1, one], solved=2), best([one, one - [0.1, 0.2, 0.1]], solved=1)
    (1, 1)
    >>> best([one, one - [0.3, -0.4, 0.2]], solved=1)
    0
    """
    means = [round(float(each.mean()), 9) for each in rungs]
    kept = means.index(min(means[:solved]))
    better = [row for row in range(solved, len(rungs)) if promises(rungs[kept], rungs[row])]
    return min(better, key=means.__getitem__, default=kept)
