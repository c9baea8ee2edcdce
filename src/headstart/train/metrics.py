"""Metrics of an epoch, from logits, and the comparison of two classifiers on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.train.class_balance import image_weights

__all__ = ["EpochMetrics", "epoch_metrics", "paired_difference"]


@dataclass(frozen=True)
class EpochMetrics:
    """Metrics of one pass over a split."""

    loss: float  # mean log-loss in nats
    accuracy: float
    balanced_loss: float | None = None  # the log-loss in which all classes that have an image count alike


@torch.no_grad()
def epoch_metrics(logits: Tensor, targets: Tensor, *, balanced: bool = False) -> EpochMetrics:
    """Compute the metrics of logits (N, C) with targets (N,).

    :param balanced: whether to compute the balanced loss as well.

    >>> epoch_metrics(torch.zeros(2, 2), torch.arange(2)).accuracy
    0.5
    """
    accuracy = (logits.argmax(1) == targets).float().mean()
    loss = float(F.cross_entropy(logits, targets))
    balanced_loss = None
    if balanced:
        losses = F.cross_entropy(logits, targets, reduction="none")
        balanced_loss = float((image_weights(targets) * losses).mean())
    return EpochMetrics(loss, float(accuracy), balanced_loss)


def paired_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of ``one - other``, both (N,) and of the same images, and 1.96 standard errors of that mean.

    The difference is taken per image: images that are hard for one classifier are hard for the other, so that the mean
    difference is known more precisely than either mean. With one image the error is infinite.

    >>> paired_difference(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5]))
    (0.5, 0.0)
    """
    difference = one - other
    if len(difference) < 2:
        return float(difference.mean()), math.inf
    return float(difference.mean()), 1.96 * float(difference.std(ddof=1)) / math.sqrt(len(difference))
