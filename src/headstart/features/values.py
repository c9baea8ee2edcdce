"""Conversion of feature values to the type in which they are stored.

Training and prediction both go through it, so that they see the same values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import StoreError

__all__ = ["to_stored_dtype"]


def to_stored_dtype(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Convert features to ``dtype``; values beyond its range are clipped to its largest value.

    :raises StoreError: a value is not finite.

    >>> to_stored_dtype(np.array([1e5, 0.1]), "float16")
    array([6.55e+04, 1.00e-01], dtype=float16)
    """
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise StoreError("the network returned values that are not finite; use --precision float32")
        largest = np.finfo(dtype).max
        values = np.clip(values, -largest, largest)
    return values.astype(dtype, copy=False)
