"""Vectors that a head is solved on, in memory or in the store: passed over some at a time, so that what is computed
with them never takes as much memory as they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.train.part import Inputs

__all__ = ["Images", "Passes", "Scaled", "Scaling", "Vectors", "passes", "taken"]

Vectors = Tensor | Inputs
"""(N, D) float; what is no tensor is read whenever it is passed over."""

Passes = Iterable[tuple[Tensor, Tensor]]
"""Vectors (n, D) and targets (n,), over and over again."""

_ROWS, _ROWS_OF_A_GPU = 1024, 1 << 16  # at a time: what the caches of a processor hold; a GPU wants more at once


def passes(vectors: Vectors, device: torch.device) -> Iterator[Tensor]:
    """All of them in their order, as float32 (n, D) at a time.

    >>> [len(each) for each in passes(torch.zeros(2500, 3, dtype=torch.float16), torch.device("cpu"))]
    [1024, 1024, 452]
    """
    rows = _ROWS if device.type == "cpu" else _ROWS_OF_A_GPU
    for start in range(0, max(len(vectors), 1), rows):
        if isinstance(vectors, Tensor):
            yield vectors[start : start + rows].float()
        else:
            yield taken(vectors, np.arange(start, min(start + rows, len(vectors))), device)


def taken(vectors: Vectors, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Some of them as float32, (len(rows), D).

    >>> taken(torch.eye(3), np.array([2, 0]), torch.device("cpu"))
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if isinstance(vectors, Tensor):
        return vectors[torch.from_numpy(rows).to(vectors.device)].float()
    return torch.from_numpy(vectors.take(rows)).to(device).float()


class Images:
    """Vectors and targets of images, part after part."""

    def __init__(self, *parts: tuple[Vectors, Tensor]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(targets) for _, targets in self.parts)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for vectors, targets in self.parts:
            start = 0
            for x in passes(vectors, targets.device):
                yield x, targets[start : start + len(x)]
                start += len(x)

    @property
    def in_memory(self) -> bool:
        """Whether none is read from the store."""
        return all(isinstance(vectors, Tensor) for vectors, _ in self.parts)

    def scaled(self, scaling: Scaling, dtype: torch.dtype = torch.float32) -> Scaled:
        """They as the scaling makes them, in this type, made anew in each pass."""
        return Scaled(self, scaling, dtype)

    def kept(self, scaling: Scaling, dtype: torch.dtype) -> Passes:
        """The same, made once where they are in memory anyway."""
        lazy = self.scaled(scaling, dtype)
        return list(lazy) if self.in_memory else lazy


@dataclass(frozen=True)
class Scaled:
    """Images' vectors as a scaling makes them, in each pass anew."""

    images: Images
    scaling: Scaling
    dtype: torch.dtype

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((self.scaling(x).to(self.dtype), y) for x, y in self.images)


class Scaling:
    """Centred, and divided by one number, of the images that a head is solved on.

    Neither moves the optimum but for the meaning of the penalty, which with this is the same for networks whose
    features are of other sizes; and L-BFGS needs fewer steps.
    """

    def __init__(self, images: Images) -> None:
        device = images.parts[0][1].device
        # Added up in float64 on the processor: not every GPU has it.
        mean = torch.stack([x.sum(0).cpu().double() for x, _ in images]).sum(0) / len(images)
        self.mean = mean.float().to(device)
        squares = sum(float((x - self.mean).square().mean(1).sum()) for x, _ in images)
        self.scale = torch.tensor(max((squares / len(images)) ** 0.5, 1e-12), device=device)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Float32, (n, D)."""
        return (vectors - self.mean) / self.scale
