"""The feature vectors of a project's images, in memory, for any number of threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_BYTES", "VectorPool", "Vectors"]

MAX_BYTES = 1 << 30
"""Bytes of vectors that are kept: 419,000 images with 1,280 features. Further images get no suggestions."""

_FIRST = 1024  # rows


@dataclass(frozen=True)
class Vectors:
    """The vectors that there were at one time: rows are only ever added."""

    ids: NDArray[np.int64]  # (N,) of images
    values: NDArray[np.float16]  # (N, D)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float32]:
        """Some rows as float32."""
        return np.asarray(self.values[rows], np.float32)


class VectorPool:
    """Vectors by the id of their image. They are stored as they are in the feature store: float16.

    >>> pool = VectorPool()
    >>> pool.add([7, 9], np.eye(2))
    2
    >>> pool.rows([9, 8, 7]).tolist(), pool.vectors().ids.tolist()
    ([1, -1, 0], [7, 9])
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._row: dict[int, int] = {}
        self._ids = np.zeros(0, np.int64)
        self._values = np.zeros((0, 0), np.float16)

    def __len__(self) -> int:
        return len(self._row)

    def __contains__(self, image: object) -> bool:
        return image in self._row

    def add(self, ids: Sequence[int], vectors: NDArray[np.floating]) -> int:
        """Add vectors (N, D) of images that have none, and return how many were added: fewer where there is no room."""
        with self._lock:
            count, width = len(self._row), vectors.shape[1]
            room = max(self.max_bytes // max(2 * width, 1) - count, 0)
            new = [(row, image) for row, image in enumerate(ids) if image not in self._row][:room]
            if not new:
                return 0
            needed = count + len(new)
            if needed > len(self._ids):  # copied, so that what others have taken stays as it is
                size = max(needed, _FIRST, 2 * len(self._ids))
                values, numbers = np.empty((size, width), np.float16), np.empty(size, np.int64)
                if count:
                    values[:count], numbers[:count] = self._values[:count], self._ids[:count]
                self._values, self._ids = values, numbers
            self._values[count:needed] = vectors[[row for row, _ in new]]
            self._ids[count:needed] = [image for _, image in new]
            self._row.update((image, count + position) for position, (_, image) in enumerate(new))
            return len(new)

    def rows(self, ids: Iterable[int]) -> NDArray[np.int64]:
        """The row of each image; -1 where there is none."""
        return np.array([self._row.get(image, -1) for image in ids], np.int64)

    def vectors(self) -> Vectors:
        """All vectors that there are now."""
        with self._lock:
            count = len(self._row)
            return Vectors(self._ids[:count], self._values[:count])
