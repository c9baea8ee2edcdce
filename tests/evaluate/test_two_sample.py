from __future__ import annotations

import numpy as np
import pytest

from headstart.evaluate.two_sample import MAX_SAMPLE, mmd_test


def test_p_values_of_one_distribution_are_uniform() -> None:
    """A test at 10 % is wrong in about a tenth of the cases: of 100, within three standard deviations."""
    rng = np.random.default_rng(0)
    found = [mmd_test(rng.normal(size=(30, 5)), rng.normal(size=(50, 5)), seed=seed).p_value for seed in range(100)]
    assert 1 <= sum(p <= 0.1 for p in found) <= 19
    assert 0.4 < np.mean(found) < 0.6


@pytest.mark.parametrize("change", ["mean", "spread", "mixture"])
def test_what_differs_is_found(change: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 16)), rng.normal(size=(200, 16))
    y = {"mean": y + 0.4, "spread": y * 1.5, "mixture": np.where(rng.random((200, 1)) < 0.2, y + 2, y)}[change]
    assert mmd_test(x, y).p_value < 0.01


def test_equal_vectors_do_not_differ() -> None:
    assert mmd_test(np.ones((20, 3)), np.ones((30, 3))).p_value == 1.0


def test_large_sets_are_sampled() -> None:
    rng = np.random.default_rng(0)
    result = mmd_test(rng.normal(size=(3000, 2)), rng.normal(size=(400, 2)))
    assert result.sizes == (MAX_SAMPLE, 400)


def test_too_few_vectors() -> None:
    with pytest.raises(ValueError, match="two vectors of each set, got 1 and 5"):
        mmd_test(np.ones((1, 3)), np.ones((5, 3)))
