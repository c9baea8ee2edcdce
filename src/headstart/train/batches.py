"""The batches of a training step: gathered from the views of images, mixed with each other, and made noisy.

A batch may be computed in parts, by several workers and one micro-batch after another. Which images are in it, the
views that they show and the images that they are mixed with are drawn for the whole batch, whatever the parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.features.sources import FeatureDataset, FeatureSource
from headstart.inference.network import to_tensor

__all__ = [
    "Batch",
    "Mixture",
    "add_noise",
    "draw_mixture",
    "draw_views",
    "gather",
    "gather_part",
    "micro_batches",
    "mixup",
    "order_by_view",
    "split_batches",
]


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


@dataclass(frozen=True)
class Mixture:
    """What mixup draws for a batch."""

    partners: NDArray[np.int64]  # (B,) the position of the image that each is mixed with
    lam: float  # weight of the first image


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


def draw_views(dataset: FeatureDataset, rng: np.random.Generator, epoch: int) -> NDArray[np.int64] | None:
    """Draw for each image which of (inputs, *views) it shows in this epoch, (N,); None if there are no views.

    :param epoch: counted from 1; it chooses the view of all images where each epoch has a view of its own.
    """
    if not dataset.views:
        return None
    if dataset.view_per_epoch:
        return np.full(len(dataset), 1 + (epoch - 1) % len(dataset.views))
    return rng.integers(0, 1 + len(dataset.views), len(dataset))


def micro_batches(count: int, *, size: int | None = None, rank: int = 0, world_size: int = 1) -> list[slice]:
    """The positions in a batch of ``count`` images that one worker computes, one micro-batch after another.

    The shares of the workers differ by one image at most. No part has a single image unless ``size`` is 1, for the
    reason that :func:`split_batches` states; in a small remainder that may leave workers without any.

    :param size: of a micro-batch; by default the whole share.

    >>> [micro_batches(9, size=2, rank=rank, world_size=2) for rank in range(2)]
    [[slice(0, 2, None), slice(2, 5, None)], [slice(5, 7, None), slice(7, 9, None)]]
    >>> [micro_batches(3, rank=rank, world_size=2) for rank in range(2)]
    [[slice(0, 3, None)], []]
    """
    shares = np.array_split(np.arange(count), min(world_size, max(1, count // 2)))
    if rank >= len(shares):
        return []
    share = shares[rank]
    return [slice(int(part[0]), int(part[-1]) + 1) for part in split_batches(share, size or len(share))]


def order_by_view(rows: NDArray[np.int64], views: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """The rows of a batch in the order of the views that they show, so that each view is read from once."""
    return rows if views is None else rows[np.argsort(views[rows], kind="stable")]


def gather(dataset: FeatureDataset, rows: NDArray[np.int64], views: NDArray[np.int64] | None, device: str) -> Batch:
    """Read the batch of these rows, in their order."""
    if views is None:
        inputs = to_tensor(dataset.inputs, rows, device)
    else:
        order = np.argsort(views[rows], kind="stable")
        by_view = rows[order]
        sources = (dataset.inputs, *dataset.views)
        groups = np.split(by_view, np.searchsorted(views[by_view], range(1, len(sources))))
        inputs = _concatenate(
            [(view, group) for view, group in zip(sources, groups, strict=True) if len(group)], device
        )
        if (order[1:] < order[:-1]).any():
            inputs = inputs[torch.from_numpy(np.argsort(order)).to(device)]
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


def draw_mixture(count: int, alpha: float, rng: np.random.Generator) -> Mixture:
    """Draw a partner for each of ``count`` images, and one weight for all from Beta(alpha, alpha).

    Zhang, Cisse, Dauphin and Lopez-Paz, mixup: Beyond empirical risk minimization, ICLR 2018 (arXiv:1710.09412).
    """
    lam = float(rng.beta(alpha, alpha))
    return Mixture(rng.permutation(count), lam)


def mixup(batch: Batch, partners: Batch, lam: float) -> Batch:
    """Mix each input with that of its partner.

    Normalization is affine, so that mixing pixels before it gives the same as after it.
    """
    mixed = torch.lerp(partners.inputs.float(), batch.inputs.float(), lam)
    return Batch(mixed, batch.targets, partners.targets, lam)


def gather_part(
    dataset: FeatureDataset,
    rows: NDArray[np.int64],
    views: NDArray[np.int64] | None,
    part: slice,
    mixture: Mixture | None,
    device: str,
) -> Batch:
    """Read a part of the batch of these rows, mixed with other images of the batch if there is a mixture."""
    batch = gather(dataset, rows[part], views, device)
    if mixture is None:
        return batch
    partners = mixture.partners[part]
    if len(partners) == len(rows):  # the partners are in memory
        at = torch.from_numpy(partners).to(device)
        return mixup(batch, Batch(batch.inputs[at], batch.targets[at]), mixture.lam)
    return mixup(batch, gather(dataset, rows[partners], views, device), mixture.lam)


def add_noise(inputs: Tensor, scale: float) -> Tensor:
    """Add Gaussian noise with a standard deviation of ``scale`` times that of these inputs."""
    x = inputs.float()
    return x + scale * x.std(correction=0) * torch.randn_like(x)
