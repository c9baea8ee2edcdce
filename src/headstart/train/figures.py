"""What a line of history says of images, from their logits, and how two classifiers compare on the same images."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.train.balance import image_weights

__all__ = ["difference", "figures"]


@torch.no_grad()
def figures(logits: Tensor, targets: Tensor, *, prefix: str = "", balanced: bool = False) -> dict[str, float]:
    """Mean log-loss in nats and accuracy of logits (N, C) with targets (N,).

    :param balanced: the log-loss too in which all classes that have an image count alike.

    >>> sorted(figures(torch.eye(2), torch.arange(2), prefix="val_", balanced=True))
    ['val_accuracy', 'val_balanced_loss', 'val_loss']
    """
    right = (logits.argmax(1) == targets).float().mean()
    told = {f"{prefix}loss": float(F.cross_entropy(logits, targets)), f"{prefix}accuracy": float(right)}
    if balanced:
        losses = F.cross_entropy(logits, targets, reduction="none")
        told[f"{prefix}balanced_loss"] = float((image_weights(targets) * losses).mean())
    return told


def difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """By how much ``one`` is larger than ``other`` on the same images, both (N,): the mean, and 1.96 standard errors.

    Image by image, since what is hard for one is hard for the other: the difference is known better than either.

    >>> difference(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.5, 2.5]))
    (0.5, 0.0)
    """
    apart = one - other
    return float(apart.mean()), 1.96 * float(apart.std(ddof=1)) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf
