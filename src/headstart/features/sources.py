"""The inputs that training reads, by row: features on disk, features in memory and images have one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["AveragedViews", "FeatureDataset", "FeatureSource", "InMemoryFeatures"]


class FeatureSource(Protocol):
    """Inputs of a network, read by row number."""

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Read some rows, (len(rows), *shape)."""
        ...

    def select(self, rows: NDArray[np.int64]) -> FeatureSource:
        """Some of the rows as a source; nothing is read."""
        ...


@dataclass(frozen=True)
class InMemoryFeatures:
    """Inputs in memory, or in a file that is mapped into it, (N, *shape).

    >>> InMemoryFeatures(np.array([[1, 2], [3, 4]])).take([1, 0]).tolist()
    [[3, 4], [1, 2]]
    """

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Copy some rows, (len(rows), *shape)."""
        return np.asarray(self.values[np.asarray(rows)])

    def select(self, rows: NDArray[np.int64]) -> InMemoryFeatures:
        """See :class:`FeatureSource`."""
        return InMemoryFeatures(self.take(rows))


@dataclass(frozen=True)
class AveragedViews:
    """The mean over several views of the same images, in float32."""

    views: tuple[FeatureSource, ...]

    def __len__(self) -> int:
        return len(self.views[0])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Read and average some rows, (len(rows), *shape)."""
        mean: NDArray[np.float32] = np.mean([view.take(rows) for view in self.views], axis=0, dtype=np.float32)
        return mean

    def select(self, rows: NDArray[np.int64]) -> AveragedViews:
        """See :class:`FeatureSource`."""
        return AveragedViews(tuple(view.select(rows) for view in self.views))


@dataclass(frozen=True)
class FeatureDataset:
    """Inputs and targets of one split.

    :raises ValueError: the inputs, the targets and the views differ in length.
    """

    inputs: FeatureSource
    targets: NDArray[np.int64]  # (N,)
    views: tuple[FeatureSource, ...] = ()  # augmented views of the same images, row for row
    view_per_epoch: bool = False  # the n-th epoch shows the n-th of these views; otherwise views are drawn

    def __post_init__(self) -> None:
        lengths = {len(self.targets), len(self.inputs), *map(len, self.views)}
        if len(lengths) > 1:
            raise ValueError(f"inputs, targets and views must have one row per image, got {sorted(lengths)} rows")

    def __len__(self) -> int:
        return len(self.targets)
