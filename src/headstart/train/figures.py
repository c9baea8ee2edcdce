"""What a line of history says of images, from their logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.train.balance import image_weights

__all__ = ["figures", "log_losses"]


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


def log_losses(logits: NDArray[np.floating[Any]], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-loss of each image, (N,) nats, of logits (N, C): with the validation part's, a reference for train_tail.

    >>> log_losses(np.zeros((2, 4), np.float32), np.array([0, 3])).round(3)  # the logarithm of 4
    array([1.386, 1.386])
    """
    given = torch.from_numpy(logits).double()
    return F.cross_entropy(given, torch.from_numpy(targets), reduction="none").numpy()
