from __future__ import annotations

import numpy as np
import pytest

from headstart.train.unfreezing import image_log_losses, improves, select_best


def test_overconfidence_hardly_changes_the_log_losses() -> None:
    """The temperature corrects it, except for the weak prior on the temperature."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 2000)
    logits = rng.normal(size=(2000, 3)) + np.eye(3)[targets]
    losses = image_log_losses(logits, targets)
    assert losses.shape == (2000,)
    assert losses.mean() < np.log(3)
    assert image_log_losses(5 * logits, targets).mean() == pytest.approx(losses.mean(), abs=1e-3)


@pytest.mark.parametrize(
    ("gain", "significant", "promising"), [(0.05, False, False), (0.15, False, True), (0.3, True, True)]
)
def test_improvement_is_measured_in_standard_errors(gain: float, significant: bool, promising: bool) -> None:
    before = np.random.default_rng(0).random(100)
    noise = np.tile([-1.0, 1.0], 50)  # one standard error of the mean is 0.1005
    after = before - gain - noise
    assert improves(before, after) is significant
    assert improves(before, after, z=1) is promising


def test_a_fine_tuned_trial_must_be_better_beyond_one_standard_error() -> None:
    head = np.random.default_rng(0).random(100)
    noise = np.tile([-1.0, 1.0], 50)
    assert select_best([head, head - 0.05 - noise], solved=1) == 0
    assert select_best([head, head - 0.15 - noise], solved=1) == 1
    assert select_best([head, head - 0.15 - noise, head - 0.2 - noise], solved=1) == 2


def test_of_solved_heads_the_lowest_is_kept_and_of_equal_ones_the_first() -> None:
    losses = np.random.default_rng(0).random(20)
    assert select_best([losses, losses - 0.001], solved=2) == 1
    assert select_best([losses, losses], solved=2) == 0
