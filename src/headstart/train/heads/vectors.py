"""Feature vectors that a head is solved on: in memory, in the feature store, or with the workers of a cluster.

They are read in batches, so that what is computed from them never takes as much memory as they do. Solvers ask for
:func:`sums` over images, and for :func:`concatenated` results: workers compute both where the vectors are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.execution.shards import Shards
from headstart.features.sources import FeatureSource

__all__ = [
    "SHARD_ROWS",
    "Batches",
    "Compute",
    "LabeledVectors",
    "ScaledVectors",
    "Scaling",
    "ShardedVectors",
    "VectorDataset",
    "Vectors",
    "batches",
    "concatenated",
    "labeled_batches",
    "sums",
    "take",
]

Vectors = Tensor | FeatureSource
"""Features (N, D) float, or of several views of each image (N, V, D), of which a linear head is given the mean.

A source that is not a tensor is read again in each pass.
"""

LabeledVectors = tuple[Vectors, Tensor]
"""Features (N, D) float and targets (N,) int64; the device of the targets is the one that is computed on."""

Batches = Iterable[tuple[Tensor, Tensor]]
"""Vectors (n, D) and targets (n,), which can be iterated over more than once."""

Compute = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
"""Of the vectors (n, D) and targets (n,) of a batch; picklable and without side effects, since workers compute it."""

_Combine = Callable[[Iterable[tuple[Tensor, ...]]], tuple[Tensor, ...]]  # of the results of batches

_ROWS, _GPU_ROWS = 1024, 1 << 16  # per batch: what fits the caches of a CPU; a GPU needs more at once
SHARD_ROWS = 16 * _ROWS
"""Rows of a shard, at least. It is a multiple of the rows of a batch: shards have the batches of a single process."""


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


def labeled_batches(vectors: Vectors, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all vectors in order with their targets, as batches (n, D) and (n,), on the device of the targets."""
    start = 0
    for x in batches(vectors, targets.device):
        yield x, targets[start : start + len(x)]
        start += len(x)


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


def sums(data: Batches, compute: Compute) -> tuple[Tensor, ...]:
    """Add up what is computed of each batch, in the order of the batches, or where there are shards, of the shards.

    >>> data = [(torch.ones(2, 3), torch.zeros(2)), (torch.ones(1, 3), torch.zeros(1))]
    >>> sums(data, lambda x, _: (x.sum(0), x.new_tensor(len(x))))
    (tensor([3., 3., 3.]), tensor(3.))
    """
    return _add(_computed(data, compute, _add))


def concatenated(data: Batches, compute: Compute) -> tuple[Tensor, ...]:
    """Join what is computed of each batch, in the order of the batches.

    >>> data = [(torch.ones(2, 3), torch.zeros(2)), (torch.zeros(1, 3), torch.zeros(1))]
    >>> concatenated(data, lambda x, _: (x.sum(1),))
    (tensor([3., 3., 0.]),)
    """
    return _join(_computed(data, compute, _join))


def _computed(data: Batches, compute: Compute, combine: _Combine) -> Iterator[tuple[Tensor, ...]]:
    if isinstance(data, VectorDataset | ScaledVectors):
        return data.computed(compute, combine)
    return itertools.starmap(compute, data)


def _of_shard(compute: Compute, combine: _Combine, shard: Batches) -> tuple[Tensor, ...]:
    return combine(itertools.starmap(compute, shard))


def _add(parts: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    total: tuple[Tensor, ...] = ()
    for part in parts:
        total = tuple(each.add_(more) for each, more in zip(total, part, strict=True)) if total else part
    return total


def _join(parts: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(each) for each in zip(*parts, strict=True))


@dataclass(frozen=True)
class ShardedVectors:
    """Vectors in shards that workers hold, each with its targets. Read by row, they come from where the shards do."""

    source: FeatureSource
    shards: Shards[Batches]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Read some rows in this process, (len(rows), D)."""
        return self.source.take(rows)

    def select(self, rows: NDArray[np.int64]) -> FeatureSource:
        """Some of the rows, to be read in this process."""
        return self.source.select(rows)

    def computed(self, compute: Compute, combine: _Combine) -> Iterator[tuple[Tensor, ...]]:
        """Of each shard, what is computed of its batches, combined."""
        return self.shards.map(partial(_of_shard, compute, combine))

    def concatenated(self, compute: Compute) -> tuple[Tensor, ...]:
        """As :func:`concatenated`."""
        return _join(self.computed(compute, _join))


class VectorDataset:
    """Vectors and targets of one or more splits, one after the other, in batches."""

    def __init__(self, *splits: LabeledVectors) -> None:
        self.splits = splits

    def __len__(self) -> int:
        return sum(len(targets) for _, targets in self.splits)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return itertools.chain.from_iterable(itertools.starmap(labeled_batches, self.splits))

    def computed(self, compute: Compute, combine: _Combine) -> Iterator[tuple[Tensor, ...]]:
        """What is computed of each batch; of vectors in shards, of each shard, combined."""
        for vectors, targets in self.splits:
            if isinstance(vectors, ShardedVectors):
                yield from vectors.computed(compute, combine)
            else:
                yield from itertools.starmap(compute, labeled_batches(vectors, targets))

    @property
    def targets(self) -> Tensor:
        """Of all images, (N,)."""
        return torch.cat([targets for _, targets in self.splits])

    @property
    def in_memory(self) -> bool:
        """Whether no split is read from the feature store, or in shards."""
        return all(isinstance(vectors, Tensor) for vectors, _ in self.splits)

    def scaled(self, scaling: Scaling, dtype: torch.dtype = torch.float32) -> ScaledVectors:
        """The scaled vectors, computed again in each pass."""
        return ScaledVectors(self, scaling, dtype)

    def materialized(self, scaling: Scaling, dtype: torch.dtype) -> Batches:
        """The scaled vectors, computed once if the unscaled ones are in memory."""
        lazy = self.scaled(scaling, dtype)
        if not self.in_memory:
            return lazy
        # Of one piece: between batches of their own, what is freed in each would leave gaps of the same size.
        scaled = torch.empty(len(self), len(scaling.mean), dtype=dtype, device=scaling.mean.device)
        found, start = [], 0
        for x, targets in self:
            part = scaled[start : start + len(x)]
            found.append((part.copy_(scaling(x)), targets))
            start += len(x)
        return found


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

    def computed(self, compute: Compute, combine: _Combine) -> Iterator[tuple[Tensor, ...]]:
        """As of the dataset, of the scaled vectors."""
        return self.dataset.computed(partial(_of_scaled, compute, self.scaling, self.dtype), combine)


def _of_scaled(
    compute: Compute, scaling: Scaling, dtype: torch.dtype, x: Tensor, targets: Tensor
) -> tuple[Tensor, ...]:
    return compute(scaling(x).to(dtype), targets)


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
        mean = sums(dataset, _sum)[0] / len(dataset)
        self.mean = mean.float().to(device)  # (D,)
        self.blocks = tuple(blocks) or (len(mean),)
        squares = sums(dataset, partial(_squares, self.mean))[0] / len(dataset)
        norms = torch.stack([block.sum() for block in torch.split(squares, list(self.blocks))]) / self.blocks[0]
        scales = norms.sqrt().clamp_min(1e-12).float()
        self.scale = scales.repeat_interleave(torch.tensor(self.blocks)).to(device)  # (D,)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Scale vectors (n, D), as float32."""
        return (vectors - self.mean).div_(self.scale)


def _sum(x: Tensor, _: Tensor) -> tuple[Tensor, ...]:
    return (x.sum(0).cpu().double(),)


def _squares(mean: Tensor, x: Tensor, _: Tensor) -> tuple[Tensor, ...]:
    return ((x - mean).square().sum(0).cpu().double(),)
