"""The training images whose features are nearest to those of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.data.spec import InputSpec
from headstart.data.vectors import normalized
from headstart.features.sources import InMemoryFeatures
from headstart.features.values import to_stored_dtype
from headstart.inference.engine import Normalized
from headstart.inference.network import network_outputs
from headstart.models.cut import Cut

__all__ = ["Embedder", "NearestImages"]


@dataclass(frozen=True)
class Embedder:
    """One vector per image: the stored features where they are one, else what the head is given."""

    network: nn.Module
    parts: Cut
    spec: InputSpec

    @property
    def stores_vectors(self) -> bool:
        """Whether what is stored of an image begins with one vector, whatever pooled stages follow."""
        return len(self.parts.feature_shape) == 1

    def of_rows(self, rows: NDArray[np.generic]) -> NDArray[np.float32] | None:
        """Vectors (N, D) of stored rows (N, ...); None if the head is not given one vector per image."""
        if self.stores_vectors:
            return np.asarray(rows[:, : self.parts.feature_shape[0]], np.float32)
        head = self.network.get_classifier()  # type: ignore[operator]
        return network_outputs(self.parts.tail, head, InMemoryFeatures(rows)).embeddings

    @torch.inference_mode()
    def of_view(self, view: NDArray[np.uint8], dtype: str) -> NDArray[np.float32] | None:
        """The vector (D,) of the evaluation view of an image, (H, W, 3).

        :param dtype: in which the rows are stored.
        """
        device = next(self.network.parameters()).device
        network = Normalized(self.parts.prefix, self.spec).to(device)
        rows = network(torch.from_numpy(view[None].copy()).to(device)).float().cpu().numpy()
        vectors = self.of_rows(to_stored_dtype(rows, dtype))
        return None if vectors is None else vectors[0]


class NearestImages:
    """Images by the cosine of the angle between their vectors.

    >>> found = NearestImages(np.array([[1, 0], [0, 1], [3, 3]], np.float32))
    >>> [(row, round(cosine, 2)) for row, cosine in found.nearest(np.array([2, 0], np.float32), 2)]
    [(0, 1.0), (2, 0.71)]
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._directions = normalized(vectors)

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """The rows of the ``k`` nearest vectors with their cosines, nearest first.

        :param vector: (D,).
        """
        cosines = self._directions @ normalized(vector[None])[0]
        order = np.argsort(-cosines, kind="stable")[:k]
        return [(int(row), float(cosines[row])) for row in order]
