from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import StoreError
from headstart.features.values import as_kept


def test_what_is_beyond_float16_is_clipped_and_the_rest_rounded() -> None:
    kept = as_kept(np.array([[1e6, -1e6, 65504, 0.1]], np.float32), "float16")
    assert kept.dtype == np.float16
    assert kept.tolist() == [[65504.0, -65504.0, 65504.0, float(np.float16(0.1))]]


@pytest.mark.parametrize(("dtype", "values"), [("float32", np.float32([0.1, -3e38])), ("uint8", np.uint8([0, 255]))])
def test_values_that_fit_stay_as_they_are(dtype: str, values: np.ndarray) -> None:
    kept = as_kept(values, dtype)
    assert kept.dtype == dtype
    assert np.array_equal(kept, values)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_not_finite_is_refused(value: float, dtype: str) -> None:
    with pytest.raises(StoreError) as caught:
        as_kept(np.array([1, value], np.float32), dtype)
    assert str(caught.value) == "the network gave values that are not finite: use --precision float32"
