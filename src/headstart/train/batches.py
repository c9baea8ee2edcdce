"""The batches of a training step: gathered from the views of images, mixed with each other, and made noisy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.features.sources import FeatureDataset, FeatureSource
from headstart.inference.network import to_tensor

__all__ = ["Batch", "add_noise", "draw_views", "gather", "mixup", "split_batches"]


@dataclass(frozen=True)
class Batch:
    """Inputs with their targets; with mixup each input is a mixture of two images."""

    inputs: Tensor  # (B, ...)
    targets: Tensor  # (B,)
    mixed_targets: Tensor | None = None  # (B,) of the second image of each mixture
    lam: float = 1.0  # weight of the first image

    @property
    def dominant_targets(self) -> Tensor:
        """The target of the image with the larger weight, (B,)."""
        return self.targets if self.mixed_targets is None or self.lam >= 0.5 else self.mixed_targets


def split_batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Split rows into full batches and a remainder.

    A remainder of one image joins the batch before it, since BatchNorm cannot learn from one image.

    >>> [len(batch) for batch in split_batches(np.arange(7), 3)]
    [3, 4]
    """
    ends = list(range(size, len(order), size))
    if ends and size > 1 and len(order) - ends[-1] == 1:
        ends.pop()
    return np.split(order, ends)


def draw_views(dataset: FeatureDataset, rng: np.random.Generator) -> NDArray[np.int64] | None:
    """Draw for each image which of (inputs, *views) it shows in this epoch, (N,); None if there are no views."""
    return rng.integers(0, 1 + len(dataset.views), len(dataset)) if dataset.views else None


def gather(dataset: FeatureDataset, rows: NDArray[np.int64], views: NDArray[np.int64] | None, device: str) -> Batch:
    """Read the batch of these rows. With views it is ordered by view, so that each view is read from once."""
    if views is None:
        inputs = to_tensor(dataset.inputs, rows, device)
    else:
        rows = rows[np.argsort(views[rows], kind="stable")]
        sources = (dataset.inputs, *dataset.views)
        groups = np.split(rows, np.searchsorted(views[rows], range(1, len(sources))))
        inputs = _concatenate(
            [(view, group) for view, group in zip(sources, groups, strict=True) if len(group)], device
        )
    return Batch(inputs, torch.from_numpy(dataset.targets[rows]).to(device))


def _concatenate(groups: list[tuple[FeatureSource, NDArray[np.int64]]], device: str) -> Tensor:
    """One tensor of all groups, copied and converted to float in one pass."""
    batch: Tensor | None = None
    start, count = 0, sum(len(rows) for _, rows in groups)
    for source, rows in groups:
        values = torch.from_numpy(source.take(rows)).to(device)
        if batch is None:
            dtype = torch.uint8 if values.dtype == torch.uint8 else torch.float32
            batch = torch.empty((count, *values.shape[1:]), dtype=dtype, device=device)
        batch[start : start + len(rows)] = values
        start += len(rows)
    assert batch is not None
    return batch


def mixup(batch: Batch, alpha: float, rng: np.random.Generator) -> Batch:
    """Mix each input with another of the batch, with one weight for all, drawn from Beta(alpha, alpha).

    Zhang, Cisse, Dauphin and Lopez-Paz, mixup: Beyond empirical risk minimization, ICLR 2018 (arXiv:1710.09412).
    Normalization is affine, so that mixing pixels before it gives the same as after it.
    """
    lam = float(rng.beta(alpha, alpha))
    partners = torch.from_numpy(rng.permutation(len(batch.targets))).to(batch.targets.device)
    x = batch.inputs.float()
    return Batch(torch.lerp(x[partners], x, lam), batch.targets, batch.targets[partners], lam)


def add_noise(inputs: Tensor, scale: float) -> Tensor:
    """Add Gaussian noise with a standard deviation of ``scale`` times that of the batch."""
    x = inputs.float()
    return x + scale * x.std(correction=0) * torch.randn_like(x)
