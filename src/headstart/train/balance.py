"""Classes with few images beside classes with many: two ways by which a training loss can make up for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import SettingsError

__all__ = ["Balance", "balance", "image_weights"]

_MODES = ("none", "loss", "logits")


@dataclass(frozen=True)
class Balance:
    """What a training loss does about classes of different sizes. Predictions are taken as they are."""

    weights: Tensor | None = None  # (C,) of each image's loss, by its class
    offset: Tensor | None = None  # (C,) added to the logits in the loss

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return self.weights is not None or self.offset is not None

    def to(self, device: str | torch.device) -> Balance:
        """The same on another device."""
        return Balance(*(None if each is None else each.to(device) for each in (self.weights, self.offset)))

    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss of logits (B, C) and targets (B,), a scalar; convex in the logits."""
        if self.offset is not None:
            logits = logits + self.offset
        if self.weights is None:
            return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        # Not cross_entropy's own weight: it divides by the weights of the batch, so that a rare class counts for less
        # in the batches that have it.
        losses = F.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="none")
        return (self.weights[targets] * losses).mean()


def balance(targets: Tensor, classes: int, mode: str) -> Balance:
    """What ``mode`` makes of the training images' targets (N,).

    "loss" weighs each class by the inverse of its number of images; the mean weight of the training images is 1.
    "logits" adds the logarithm of each class's share to the logits in the loss, so that what is learned is right where
    all classes are alike: Menon et al., Long-tail learning via logit adjustment, ICLR 2021 (arXiv:2007.07314),
    equation 10 with tau = 1. A class without an image counts as one with one image.

    :raises SettingsError: ``mode`` is none of "none", "loss" and "logits".

    >>> balance(torch.tensor([0, 0, 0, 1]), 2, "loss").weights
    tensor([0.6667, 2.0000])
    >>> balance(torch.tensor([0, 0, 0, 1]), 2, "logits").offset.exp()
    tensor([0.7500, 0.2500])
    """
    if mode not in _MODES:
        raise SettingsError(f"balance must be one of {', '.join(_MODES)}, got {mode!r}")
    counts = torch.bincount(targets, minlength=classes)
    images = counts.clamp_min(1).float()  # (C,)
    if mode == "loss":
        return Balance(weights=len(targets) / (int((counts > 0).sum()) * images))
    if mode == "logits":
        return Balance(offset=(images / len(targets)).log())
    return Balance()


def image_weights(targets: Tensor) -> Tensor:
    """How much each image counts where all classes that have one count alike, (N,) with mean 1.

    >>> image_weights(torch.tensor([0, 0, 0, 1]))
    tensor([0.6667, 0.6667, 0.6667, 2.0000])
    """
    weights = balance(targets, int(targets.max()) + 1, "loss").weights
    assert weights is not None
    return weights[targets]
