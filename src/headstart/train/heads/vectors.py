"""Feature vectors that a head is solved on, in memory or in the feature store.

They are read in batches, so that what is computed from them never takes as much memory as they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.features.sources import FeatureSource

__all__ = ["Batches", "LabeledVectors", "ScaledVectors", "Scaling", "VectorDataset", "Vectors", "batches", "take"]

Vectors = Tensor | FeatureSource
"""Features (N, D) float, or of several views of each image (N, V, D), of which a linear head is given the mean.

A source that is not a tensor is read again in each pass.
"""

LabeledVectors = tuple[Vectors, Tensor]
"""Features (N, D) float and targets (N,) int64; the device of the targets is the one that is computed on."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Vectors (n, D) and targets (n,), which can be iterated over more than once."""

_ROWS, _GPU_ROWS = 1024, 1 << 16  # per batch: what fits the caches of a CPU; a GPU needs more at once


def batches(vectors: Vectors, device: torch.device) -> Iterator[Tensor]:
    """Yield all vectors in order, as float32 batches (n, D).

    >>> [len(batch) for batch in batches(torch.zeros(2500, 3, dtype=torch.float16), torch.device("cpu"))]
    [1024, 1024, 452]
    """
    rows = _ROWS if device.type == "cpu" else _GPU_ROWS
    for start in range(0, max(len(vectors), 1), rows):
        if isinstance(vectors, Tensor):
            yield _mean_of_views(vectors[start : start + rows].float())
        else:
            yield take(vectors, np.arange(start, min(start + rows, len(vectors))), device)


def take(vectors: Vectors, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Return the given rows as float32, (len(rows), D).

    >>> take(torch.eye(3), np.array([2, 0]), torch.device("cpu"))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if isinstance(vectors, Tensor):
        return _mean_of_views(vectors[torch.from_numpy(rows).to(vectors.device)].float())
    return torch.from_numpy(vectors.take(rows)).to(device).float()


def _mean_of_views(vectors: Tensor) -> Tensor:
    return vectors.mean(1) if vectors.ndim == 3 else vectors


class VectorDataset:
    """Vectors and targets of one or more splits, one after the other, in batches."""

    def __init__(self, *splits: LabeledVectors) -> None:
        self.splits = splits

    def __len__(self) -> int:
        return sum(len(targets) for _, targets in self.splits)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for vectors, targets in self.splits:
            start = 0
            for x in batches(vectors, targets.device):
                yield x, targets[start : start + len(x)]
                start += len(x)

    @property
    def in_memory(self) -> bool:
        """Whether no split is read from the feature store."""
        return all(isinstance(vectors, Tensor) for vectors, _ in self.splits)

    def scaled(self, scaling: Scaling, dtype: torch.dtype = torch.float32) -> ScaledVectors:
        """The scaled vectors, computed again in each pass."""
        return ScaledVectors(self, scaling, dtype)

    def materialized(self, scaling: Scaling, dtype: torch.dtype) -> Batches:
        """The scaled vectors, computed once if the unscaled ones are in memory."""
        lazy = self.scaled(scaling, dtype)
        return list(lazy) if self.in_memory else lazy


@dataclass(frozen=True)
class ScaledVectors:
    """A dataset whose vectors are scaled in each pass."""

    dataset: VectorDataset
    scaling: Scaling
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self.scaling(x).to(self.dtype), y) for x, y in self.dataset)


class Scaling:
    """Subtract the mean vector and divide each block by one number, taken from the images that a head is solved on.

    Afterwards the features of the first block have a mean square of 1, and all blocks the same mean squared norm. Of
    one block neither moves the optimum, except that the L2 penalty then means the same for networks with features of
    other magnitudes; and L-BFGS needs fewer iterations.

    :param blocks: the number of features of each block; by default all are one.

    >>> scaling = Scaling(VectorDataset((torch.randn(50, 6), torch.arange(50))), blocks=(4, 2))
    >>> x = scaling(torch.zeros(3, 6))
    >>> x.shape, len(scaling.scale.unique())
    (torch.Size([3, 6]), 2)
    """

    def __init__(self, dataset: VectorDataset, blocks: Sequence[int] = ()) -> None:
        device = dataset.splits[0][1].device
        # Summed in float64 on the CPU, since not every GPU supports it.
        mean = torch.stack([x.sum(0).cpu().double() for x, _ in dataset]).sum(0) / len(dataset)
        self.mean = mean.float().to(device)  # (D,)
        self.blocks = tuple(blocks) or (len(mean),)
        squares = torch.stack([(x - self.mean).square().sum(0).cpu().double() for x, _ in dataset]).sum(0) / len(
            dataset
        )
        norms = torch.stack([block.sum() for block in torch.split(squares, list(self.blocks))]) / self.blocks[0]
        scales = norms.sqrt().clamp_min(1e-12).float()
        self.scale = scales.repeat_interleave(torch.tensor(self.blocks)).to(device)  # (D,)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Scale vectors (n, D), as float32."""
        return (vectors - self.mean) / self.scale
