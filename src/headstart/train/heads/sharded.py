"""Heads on more images than one machine holds: the workers of a cluster have the vectors, this process the weights.

Each pass over the images sends the weights to the workers, and gets one sum of their gradients (or moments, or losses)
per shard back. This process adds them up in the order of the shards, and takes the steps of L-BFGS. How many workers
there are changes no bit of the result. Beside one process without a cluster, the same numbers are added in another
order: sums of float32 differ in the last digits, and weights by what L-BFGS makes of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headstart.execution.cluster import Cluster
from headstart.execution.shards import open_shards
from headstart.features.sources import FeatureSource
from headstart.train.heads.vectors import SHARD_ROWS, Batches, LabeledVectors, ShardedVectors, labeled_batches

__all__ = ["MAX_SHARDS", "VectorShard", "open_sharded", "shard_size", "shards_of"]

MAX_SHARDS = 256
"""Of a split: this process adds up one copy of the weights for each of them in each pass."""


@dataclass(frozen=True)
class VectorShard:
    """Some rows in the feature store, with their targets."""

    source: FeatureSource
    targets: Tensor  # (n,)
    bytes_per_row: int

    @property
    def nbytes(self) -> int:
        """See :class:`~headstart.execution.shards.Shard`."""
        return len(self.source) * self.bytes_per_row

    def load(self) -> Batches:
        """See :class:`~headstart.execution.shards.Shard`."""
        return _Loaded(torch.from_numpy(self.source.take(np.arange(len(self.source)))), self.targets)


@dataclass(frozen=True)
class _Loaded:
    """Batches of vectors in memory."""

    vectors: Tensor  # (n, D), as they are stored
    targets: Tensor  # (n,)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return labeled_batches(self.vectors, self.targets)


def shard_size(rows: int) -> int:
    """Rows of each of at most :data:`MAX_SHARDS` shards of so many rows.

    >>> shard_size(1000) == SHARD_ROWS, shard_size(10**7) // SHARD_ROWS
    (True, 3)
    """
    return max(1, -(-rows // (MAX_SHARDS * SHARD_ROWS))) * SHARD_ROWS


def shards_of(source: FeatureSource, targets: Tensor) -> list[VectorShard]:
    """Divide rows of the feature store (N, D) and their targets (N,) into at most :data:`MAX_SHARDS` shards.

    They depend on nothing but the number of rows.

    >>> from headstart.features.sources import InMemoryFeatures
    >>> [len(each.targets) for each in shards_of(InMemoryFeatures(np.zeros((40_000, 1))), torch.zeros(40_000))]
    [16384, 16384, 7232]
    """
    size = shard_size(len(targets))
    row = source.take([0]).nbytes if len(source) else 0
    parts = [np.arange(start, min(start + size, len(targets))) for start in range(0, len(targets), size)]
    return [VectorShard(source.select(part), targets[torch.from_numpy(part)], row) for part in parts]


@contextmanager
def open_sharded(cluster: Cluster, splits: Sequence[LabeledVectors]) -> Iterator[list[LabeledVectors]]:
    """Give the vectors of splits that are in the feature store to the workers of a cluster; leave those in memory here.

    The workers must see the feature store under the same path as this process.

    :param splits: with targets on the CPU.
    :raises SettingsError: Ray is not installed.
    :raises ClusterError: the cluster cannot be reached, or failed within the block.
    """
    stored = [vectors for vectors, _ in splits if not isinstance(vectors, Tensor)]
    parts = [shards_of(vectors, targets) for vectors, targets in splits if not isinstance(vectors, Tensor)]
    with open_shards(cluster, *parts) as opened:
        sharded = iter([ShardedVectors(*each) for each in zip(stored, opened, strict=True)])
        yield [(vectors if isinstance(vectors, Tensor) else next(sharded), targets) for vectors, targets in splits]
