"""From rows to what a step trains on: gathered from their views, mixed with each other, and made noisy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.train.part import Inputs, Part

__all__ = ["Batch", "draw_views", "gather", "mix", "noisy", "split", "tensor"]


@dataclass(frozen=True)
class Batch:
    """Inputs, each of one image or mixed of two."""

    inputs: Tensor  # (B, ...)
    targets: Tensor  # (B,)
    others: Tensor | None = None  # (B,) targets of what was mixed in
    share: float = 1.0  # of the first image

    @property
    def dominating(self) -> Tensor:
        """The target of the image that is there the most, (B,)."""
        return self.targets if self.others is None or self.share >= 0.5 else self.others


def split(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Full batches; a remainder of one image joins the batch before it, since BatchNorm cannot learn from one."""
    ends = list(range(size, len(order), size))
    if ends and size > 1 and len(order) - ends[-1] == 1:
        ends.pop()
    return np.split(order, ends)


def draw_views(part: Part, chance: np.random.Generator) -> NDArray[np.int64] | None:
    """Which of (inputs, *views) each image shows in this epoch, (N,); None where there is one only."""
    return chance.integers(0, 1 + len(part.views), len(part)) if part.views else None


def gather(part: Part, rows: NDArray[np.int64], views: NDArray[np.int64] | None, device: str) -> Batch:
    """The batch of these rows; where there are views, ordered by view, so that each view is asked once."""
    if views is None:
        inputs = tensor(part.inputs, rows, device)
    else:
        rows = rows[np.argsort(views[rows], kind="stable")]
        sources = (part.inputs, *part.views)
        groups = np.split(rows, np.searchsorted(views[rows], range(1, len(sources))))
        inputs = _filled([(view, group) for view, group in zip(sources, groups, strict=True) if len(group)], device)
    return Batch(inputs, torch.from_numpy(part.targets[rows]).to(device))


def _filled(groups: list[tuple[Inputs, NDArray[np.int64]]], device: str) -> Tensor:
    """One tensor of all, written and made float in one pass."""
    batch: Tensor | None = None
    start, count = 0, sum(len(rows) for _, rows in groups)
    for view, rows in groups:
        values = torch.from_numpy(view.take(rows)).to(device)
        if batch is None:
            dtype = torch.uint8 if values.dtype == torch.uint8 else torch.float32
            batch = torch.empty((count, *values.shape[1:]), dtype=dtype, device=device)
        batch[start : start + len(rows)] = values
        start += len(rows)
    assert batch is not None
    return batch


def tensor(inputs: Inputs, rows: NDArray[np.int64], device: str) -> Tensor:
    """These rows on the device: pixels as they are, since the network normalises them itself, features in float32."""
    values = torch.from_numpy(inputs.take(rows)).to(device)
    return values if values.dtype == torch.uint8 else values.float()


def mix(batch: Batch, alpha: float, chance: np.random.Generator) -> Batch:
    """Each input mixed with another of the batch, one share for all, drawn from Beta(alpha, alpha).

    Zhang, Cisse, Dauphin and Lopez-Paz, mixup: Beyond empirical risk minimization, ICLR 2018 (arXiv:1710.09412).
    Normalising is affine, so that pixels mixed before it are the same as after it.
    """
    share = float(chance.beta(alpha, alpha))
    other = torch.from_numpy(chance.permutation(len(batch.targets))).to(batch.targets.device)
    x = batch.inputs.float()
    return Batch(torch.lerp(x[other], x, share), batch.targets, batch.targets[other], share)


def noisy(inputs: Tensor, share: float) -> Tensor:
    """Inputs with Gaussian noise, whose deviation is this share of the batch's."""
    x = inputs.float()
    return x + share * x.std(correction=0) * torch.randn_like(x)
