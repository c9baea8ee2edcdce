"""Directions of feature vectors, by which images are compared."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["normalized"]


def normalized(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return vectors (N, D) divided by their lengths, as float32; a vector of zeros stays one.

    >>> normalized(np.array([[3, 4], [0, 0]], np.float16)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    values = np.array(vectors, np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", values, values))[:, None]  # np.linalg.norm would copy the vectors
    values /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return values
