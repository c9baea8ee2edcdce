"""The policy of the search over what to train: compare trials on the same validation images, and train deeper blocks
while that improves the log-loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.evaluate import apply_temperature, fit_temperature
from headstart.evaluate.metrics import log_losses
from headstart.train.metrics import paired_difference

__all__ = ["DEEPER", "image_log_losses", "improves", "select_best"]

DEEPER = ("last:1", "last:5")
"""What is trained after the head, in this order."""


def image_log_losses(logits: ArrayLike, targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-loss of each image in nats, (N,), at the temperature that suits the logits (N, C) best.

    Overconfidence is corrected by one number after training, so that it must not decide between trials.
    """
    return np.asarray(log_losses(targets, apply_temperature(logits, fit_temperature(logits, targets))), np.float64)


def improves(before: NDArray[np.float64], after: NDArray[np.float64], *, z: float = 1.96) -> bool:
    """Whether the mean of ``after`` is lower than that of ``before`` by more than ``z`` standard errors.

    :param before: log-loss per image, (N,); ``after``: of the same images.

    >>> before = np.array([0.1, 0.3, 0.2, 0.4])
    >>> improves(before, before - [0.05, 0.06, 0.05, 0.04])
    True
    >>> improves(before, before - [0.5, -0.4, 0.2, -0.3], z=1)
    False
    """
    mean, error = paired_difference(before, after)
    return mean > z / 1.96 * error


def select_best(losses: Sequence[NDArray[np.float64]], *, solved: int) -> int:
    """Choose the trial to keep.

    Among the solved heads it is the one with the lowest mean log-loss; of equal ones the first, which is the cheapest.
    A fine-tuned trial replaces it only if it is lower by more than one standard error (Breiman, Friedman, Olshen and
    Stone, Classification and Regression Trees, 1984, section 3.4.3): a solved head is simpler, and is refitted on the
    very images that decide here.

    :param losses: log-loss per image of each trial, (N,) each; the first ``solved`` are solved heads.
    :returns: the index of the trial.

    >>> losses = np.array([0.5, 0.7, 0.6])
    >>> select_best([losses + 0.1, losses], solved=2), select_best([losses, losses - [0.1, 0.2, 0.1]], solved=1)
    (1, 1)
    >>> select_best([losses, losses - [0.3, -0.4, 0.2]], solved=1)
    0
    """
    means = [round(float(each.mean()), 9) for each in losses]
    kept = means.index(min(means[:solved]))
    better = [row for row in range(solved, len(losses)) if improves(losses[kept], losses[row], z=1)]
    return min(better, key=means.__getitem__, default=kept)
