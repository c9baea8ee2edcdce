from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.train.schedule import rate


@given(st.integers(1, 500), st.floats(1e-8, 10))
def test_cosine_falls_from_the_highest_to_just_above_zero(steps: int, highest: float) -> None:
    rates = [rate(step, steps=steps, highest=highest, schedule="cosine") for step in range(steps)]
    assert rates[0] == highest
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] <= highest
    # Loshchilov and Hutter 2017, equation 5, with a lowest rate of 0
    assert rates[-1] == pytest.approx(highest / 2 * (1 + math.cos((steps - 1) / steps * math.pi)))


def test_constant_is_constant() -> None:
    assert {rate(step, steps=9, highest=0.3, schedule="constant") for step in range(9)} == {0.3}
