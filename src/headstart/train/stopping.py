"""When to end a training that another classifier has already beaten."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["falls_behind"]

_FIRST, _LATER = 4, 3  # standard errors after epoch 1, and after the others
_LITTLE = 0.1  # share of the reference's log-loss that a training may be behind in its first quarter


def falls_behind(
    losses: NDArray[np.float64],
    reference: NDArray[np.float64],
    *,
    epoch: int,
    epochs: int,
    before: float | None = None,
) -> bool:
    """Whether the epochs that are left will not bring the log-loss down to the reference's.

    The images are compared one by one, since what is hard for one classifier is hard for the other. Three things must
    hold. The mean difference is beyond chance: more than 3 standard errors, 4 after epoch 1, and with few images as
    many as Student's t needs for the same probability. In the first quarter of the epochs, where the rate is high and
    losses swing, the mean is worse by a tenth too. And the step from the epoch before, taken in each epoch left, would
    not close the gap.

    :param losses: of each validation image after epoch ``epoch`` of ``epochs``, (N,) nats.
    :param reference: those of the classifier that is to be beaten, of the same images, (N,).
    :param before: the mean loss after the epoch before.

    >>> reference = np.random.default_rng(0).exponential(size=100)
    >>> falls_behind(reference + np.linspace(0, 1, 100), reference, epoch=3, epochs=8, before=1.5)
    True
    >>> falls_behind(reference + np.linspace(0, 1, 100), reference, epoch=3, epochs=8, before=1.9)
    False
    """
    if epoch >= epochs or len(losses) < 2:
        return False
    apart = losses - reference
    gap = float(apart.mean())
    within = _quantile(_FIRST if epoch == 1 else _LATER, len(losses)) * float(apart.std(ddof=1))
    within /= math.sqrt(len(losses))
    if epoch <= math.ceil(epochs / 4):
        within = max(within, _LITTLE * float(reference.mean()))
    gain = 0.0 if before is None else before - float(losses.mean())
    return gap > within and gap > gain * (epochs - epoch)


def _quantile(errors: float, images: int) -> float:
    """How many standard errors of ``images`` differences are as unlikely as ``errors`` of a normal distribution."""
    from scipy import stats

    return float(stats.t.isf(stats.norm.sf(errors), images - 1))
