from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import StoreError
from headstart.features.values import to_stored_dtype


def test_values_beyond_float16_are_clipped_and_others_rounded() -> None:
    stored = to_stored_dtype(np.array([[1e6, -1e6, 65504, 0.1]], np.float32), "float16")
    assert stored.dtype == np.float16
    assert stored.tolist() == [[65504.0, -65504.0, 65504.0, float(np.float16(0.1))]]


@pytest.mark.parametrize(("dtype", "values"), [("float32", np.float32([0.1, -3e38])), ("uint8", np.uint8([0, 255]))])
def test_representable_values_are_unchanged(dtype: str, values: np.ndarray) -> None:
    stored = to_stored_dtype(values, dtype)
    assert stored.dtype == dtype
    assert np.array_equal(stored, values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_values_that_are_not_finite_raise(value: float, dtype: str) -> None:
    with pytest.raises(StoreError) as caught:
        to_stored_dtype(np.array([1, value], np.float32), dtype)
    assert str(caught.value) == "the network returned values that are not finite; use --precision float32"
