"""Feature values as the store keeps them. What trains and what predicts must see the same, so both come here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import StoreError

__all__ = ["as_kept"]


def as_kept(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Features in the type in which they are kept; what lies beyond its range becomes its largest value.

    :raises StoreError: a value is not finite.

    >>> as_kept(np.array([1e5, 0.1]), "float16")
    array([6.55e+04, 1.00e-01], dtype=float16)
    """
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise StoreError("the network gave values that are not finite: use --precision float32")
        most = np.finfo(dtype).max
        values = np.clip(values, -most, most)
    return values.astype(dtype, copy=False)
