"""Which labeled images are nearly the same, as frames of a burst: no fold may divide them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.vectors import normalized

__all__ = ["MIN_COSINE", "NearGroups"]

MIN_COSINE = 0.95
"""Between the features of two images, from which on they are kept in one fold. Unlike the search of a fit
(:mod:`headstart.data.near_duplicates`) nothing else is compared: it does no harm to keep two different images
together."""

_MOST = 20_000  # images that are compared; all pairs of more would take minutes
_BLOCK = 512
_MEASURED = 300  # images
_ALIKE, _BY_CHANCE = 0.75, 0.999  # quantiles of the cosines between them


class NearGroups:
    """The group of each image: that of the nearest image before it, or its own.

    >>> groups = NearGroups()
    >>> groups.of([7, 8, 9], np.array([[1, 0], [0, 1], [2, 0.1]])).tolist()
    [7, 8, 7]
    """

    def __init__(self) -> None:
        self.min_cosine = MIN_COSINE
        self._group: dict[int, int] = {}
        self._compared: list[int] = []  # ids, of the rows of the directions
        self._directions: NDArray[np.float32] | None = None

    def measure(self, vectors: NDArray[np.floating]) -> None:
        """Find out what a cosine means in these images.

        Between the features of some networks, and of images that are all alike, one of 0.95 means nothing: where a
        quarter of all pairs are that near, the threshold is what one pair in a thousand reaches.

        :param vectors: of any images, (N, D).
        """
        if len(vectors) < 2:
            return
        rows = np.random.default_rng(0).permutation(len(vectors))[:_MEASURED]
        own = normalized(vectors[rows])
        cosines = (own @ own.T)[np.triu_indices(len(own), 1)]
        alike, by_chance = np.quantile(cosines, (_ALIKE, _BY_CHANCE)).tolist()
        self.min_cosine = max(MIN_COSINE, by_chance) if alike >= MIN_COSINE else MIN_COSINE

    def of(self, ids: Sequence[int], vectors: NDArray[np.floating]) -> NDArray[np.int64]:
        """The groups (N,) of images, numbered by the id of an image of each; what is known of an image stays.

        :param vectors: (N, D).
        """
        new = [row for row, image in enumerate(ids) if image not in self._group]
        for start in range(0, len(new), _BLOCK):
            block = new[start : start + _BLOCK]
            self._add([ids[row] for row in block], np.asarray(vectors[block], np.float32))
        return np.array([self._group[image] for image in ids], np.int64)

    def _add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        if len(self._compared) + len(ids) > _MOST:
            self._group.update((image, image) for image in ids)
            return
        count = len(self._compared)
        directions = self._room(count + len(ids), vectors.shape[1])
        own = directions[count : count + len(ids)]
        own[:] = normalized(vectors)
        self._compared += ids
        cosines = own @ directions[: count + len(ids)].T
        cosines[np.arange(len(ids))[:, None] + count <= np.arange(count + len(ids))] = -1  # not with later ones
        nearest = cosines.argmax(1)
        for row, (image, other) in enumerate(zip(ids, nearest.tolist(), strict=True)):
            near = cosines[row, other] >= self.min_cosine
            self._group[image] = self._group[self._compared[other]] if near else image

    def _room(self, rows: int, width: int) -> NDArray[np.float32]:
        if self._directions is None or len(self._directions) < rows:
            larger = np.empty((max(2 * rows, _BLOCK), width), np.float32)
            if self._directions is not None:
                larger[: len(self._compared)] = self._directions[: len(self._compared)]
            self._directions = larger
        return self._directions
