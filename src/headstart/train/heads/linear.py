"""A linear head, for features as they are or scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.train.heads.vectors import Scaling, ShardedVectors, Vectors, batches

__all__ = ["LinearHead"]


@dataclass(frozen=True)
class LinearHead:
    """``logits = features @ weight.T + bias``; columns of the features beyond those of the weight are ignored."""

    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)
    known: Tensor | None = None  # (C,) bool: the classes that a prior says something about; None: all

    def logits(self, features: Vectors) -> Tensor:
        """The logits (N, C) of features (N, D or more).

        >>> LinearHead(torch.eye(2), torch.tensor([0.0, 1.0])).logits(torch.tensor([[3.0, 4.0, 5.0]]))
        tensor([[3., 5.]])
        """
        if isinstance(features, ShardedVectors):
            return features.concatenated(self.of_batch)[0]
        return torch.cat([self.of_batch(x)[0] for x in batches(features, self.bias.device)])

    def of_batch(self, vectors: Tensor, _: Tensor | None = None) -> tuple[Tensor]:
        """The logits (n, C) of a batch (n, D or more), in the form of a ``Compute``."""
        return (F.linear(vectors[:, : self.weight.shape[1]], self.weight, self.bias),)

    def with_temperature(self, temperature: float) -> LinearHead:
        """The head whose logits are divided by a temperature."""
        return replace(self, weight=self.weight / temperature, bias=self.bias / temperature)

    def padded(self, columns: int) -> LinearHead:
        """The head with weights of zero for further features."""
        return replace(self, weight=F.pad(self.weight, (0, columns - self.weight.shape[1])))

    def scaled(self, scaling: Scaling) -> LinearHead:
        """The head for scaled features that equals this one for unscaled features."""
        columns = self.weight.shape[1]
        mean, scale = scaling.mean[:columns], scaling.scale[:columns]
        return replace(self, weight=self.weight * scale, bias=self.bias + self.weight @ mean)

    def unscaled(self, scaling: Scaling) -> LinearHead:
        """The inverse of :meth:`scaled`."""
        columns = self.weight.shape[1]
        weight = self.weight / scaling.scale[:columns]
        return replace(self, weight=weight, bias=self.bias - weight @ scaling.mean[:columns])
