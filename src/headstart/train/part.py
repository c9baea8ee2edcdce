"""What training reads: inputs by row, with their targets. Features on disk and in memory, and images, look the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Inputs", "Kept", "Mean", "Part"]


class Inputs(Protocol):
    """Inputs of a network by row number."""

    def __len__(self) -> int: ...

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """(len(rows), *shape)."""
        ...


@dataclass(frozen=True)
class Kept:
    """Inputs that are in memory, (N, *shape)."""

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """(len(rows), *shape)."""
        return np.asarray(self.values[np.asarray(rows)])


@dataclass(frozen=True)
class Mean:
    """Of several inputs of the same images, as float32."""

    each: tuple[Inputs, ...]

    def __len__(self) -> int:
        return len(self.each[0])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), *shape)."""
        mean: NDArray[np.float32] = np.mean([inputs.take(rows) for inputs in self.each], axis=0, dtype=np.float32)
        return mean


@dataclass(frozen=True)
class Part:
    """One side of a split."""

    inputs: Inputs
    targets: NDArray[np.int64]  # (N,)
    views: tuple[Inputs, ...] = ()  # more of the same images, row for row: other crops, mirrored, of other colours

    def __post_init__(self) -> None:
        lengths = {len(self.targets), len(self.inputs), *map(len, self.views)}
        if len(lengths) > 1:
            raise ValueError(f"inputs, targets and views must have a row for each image, got {sorted(lengths)} rows")

    def __len__(self) -> int:
        return len(self.targets)
