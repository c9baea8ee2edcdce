"""Two ways in which a training loss corrects for imbalanced classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import SettingsError

__all__ = ["Balance", "class_balance", "image_weights"]

_MODES = ("none", "weights", "logit-adjust")


@dataclass(frozen=True)
class Balance:
    """The correction of a training loss for imbalanced classes. It does not change predictions."""

    weights: Tensor | None = None  # (C,) weight of each image's loss, by its class
    offset: Tensor | None = None  # (C,) added to the logits in the loss

    def __bool__(self) -> bool:
        """Whether there is any correction."""
        return self.weights is not None or self.offset is not None

    def to(self, device: str | torch.device) -> Balance:
        """A copy on another device."""
        return Balance(*(None if each is None else each.to(device) for each in (self.weights, self.offset)))

    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of logits (B, C) and targets (B,), a scalar; convex in the logits."""
        if self.offset is not None:
            logits = logits + self.offset
        if self.weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        # Not the weight argument of cross_entropy: it divides by the sum of the weights in the batch, so that a rare
        # class counts for less in the batches that contain it.
        losses = F.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="none")
        return (self.weights[targets] * losses).mean()


def class_balance(targets: Tensor, classes: int, mode: str) -> Balance:
    """Compute the correction for the targets (N,) of the training images.

    "weights" weights each class by the inverse of its number of images; the mean weight of the training images is 1.
    "logit-adjust" adds the logarithm of each class's frequency to the logits in the loss, so that what is learned is
    right for classes of equal frequency: Menon et al., Long-tail learning via logit adjustment, ICLR 2021
    (arXiv:2007.07314), equation 10 with tau = 1. A class without images counts as a class with one image.

    :raises SettingsError: ``mode`` is not "none", "weights" or "logit-adjust".

    >>> class_balance(torch.tensor([0, 0, 0, 1]), 2, "weights").weights
    tensor([0.6667, 2.0000])
    >>> class_balance(torch.tensor([0, 0, 0, 1]), 2, "logit-adjust").offset.exp()
    tensor([0.7500, 0.2500])
    """
    if mode not in _MODES:
        raise SettingsError(f"class_balance must be one of {', '.join(_MODES)}, got {mode!r}")
    counts = torch.bincount(targets, minlength=classes)
    images = counts.clamp_min(1).float()  # (C,)
    if mode == "weights":
        return Balance(weights=len(targets) / (int((counts > 0).sum()) * images))
    if mode == "logit-adjust":
        return Balance(offset=(images / len(targets)).log())
    return Balance()


def image_weights(targets: Tensor) -> Tensor:
    """Weights of the images with which all classes that have an image count alike, (N,) with mean 1.

    >>> image_weights(torch.tensor([0, 0, 0, 1]))
    tensor([0.6667, 0.6667, 0.6667, 2.0000])
    """
    weights = class_balance(targets, int(targets.max()) + 1, "weights").weights
    assert weights is not None
    return weights[targets]
