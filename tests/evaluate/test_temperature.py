"""Temperature: found again where it is known, the optimum that the paper means, and sane on few images."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from headstart.errors import DataError
from headstart.evaluate import fit_temperature, scaled, scaled_out_of_fold, temperature_section


def drawn(images, classes=5, *, true=1.0, seed=0):
    """Logits that would be right at the temperature ``true``, and targets drawn by it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(images, classes))
    shares = scaled(logits, true)
    return logits, (rng.random((images, 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0, 20.0])
def test_the_temperature_that_the_targets_were_drawn_at(true):
    logits, targets = drawn(20_000)
    assert fit_temperature(logits * true, targets) == pytest.approx(true, rel=0.05)


def test_no_other_temperature_has_a_smaller_loss():
    logits, targets = drawn(5000, true=1.7, seed=1)
    found = fit_temperature(logits, targets)
    losses = {t: log_loss(targets, scaled(logits, t)) for t in np.geomspace(0.5, 5, 200)}
    assert found == pytest.approx(min(losses, key=losses.get), rel=0.02)


@given(st.integers(1, 30), st.integers(1, 6), st.floats(0.01, 100), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_it_is_always_a_number_and_no_worse_than_none(images, classes, size, seed):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(size=(images, classes)) * size, rng.integers(0, classes, images)
    found = fit_temperature(logits, targets)
    assert 0.01 <= found <= 100
    losses = [log_loss(targets, scaled(logits, t), labels=range(classes)) if classes > 1 else 0 for t in (1, found)]
    assert losses[1] <= losses[0] + 1e-9


def test_few_images_that_are_all_right_do_not_make_it_certain():
    logits = np.array([[2.0, 0.0]] * 10)
    found = fit_temperature(logits, [0] * 10)
    assert 0.4 < found < 1
    assert scaled(logits, found).max() < 0.99


def test_a_single_class_or_equal_logits_leave_it_at_1():
    assert fit_temperature([[3.0]] * 4, [0] * 4) == pytest.approx(1, abs=1e-4)
    assert fit_temperature([[1.0, 1.0]] * 4, [0, 1, 0, 1]) == pytest.approx(1, abs=1e-4)


def test_large_logits_do_not_overflow():
    assert np.isfinite(fit_temperature([[1e4, -1e4], [-1e4, 1e4]], [0, 0]))
    assert scaled([[1e4, -1e4]]).tolist() == [[1.0, 0.0]]


def test_a_fold_is_scaled_by_the_others():
    logits, targets = drawn(200, true=2.0)
    before = scaled_out_of_fold(logits, targets, folds=4, seed=3)
    changed = targets.copy()
    changed[17] = (changed[17] + 1) % 5
    after = scaled_out_of_fold(logits, changed, folds=4, seed=3)
    same = (before == after).all(axis=1)
    assert same[17]  # its own target has no say in its scaling
    assert same.sum() == 50  # nor in that of its fold
    assert (before.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert before.sum(axis=1) == pytest.approx(np.ones(200))


def test_out_of_fold_figures_do_not_flatter():
    """On few images, the temperature fitted on them looks better on them than it is on others."""
    gaps = []
    for seed in range(40):
        logits, targets = drawn(12, true=2.0, seed=seed)
        own = log_loss(targets, scaled(logits, fit_temperature(logits, targets)), labels=range(5))
        gaps.append(log_loss(targets, scaled_out_of_fold(logits, targets), labels=range(5)) - own)
    assert np.mean(gaps) > 0


def test_one_image_stays_as_it_is():
    assert scaled_out_of_fold([[1.0, 0.0]], [0]).tolist() == scaled([[1.0, 0.0]]).tolist()


def test_the_section_tells_before_and_after():
    logits, targets = drawn(2000)
    section = temperature_section(logits * 3, targets, temperature=3.0, cross_fitted=True)
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    assert section["before"]["ece"]["low"] > section["after"]["ece"]["high"]
    assert section["before"]["log_loss"]["low"] > section["after"]["log_loss"]["high"]
    assert section["before"]["log_loss"]["value"] == pytest.approx(log_loss(targets, scaled(logits * 3)))
    plain = temperature_section(logits * 3, targets, temperature=3.0, cross_fitted=False)
    assert plain["after"]["log_loss"]["value"] == pytest.approx(log_loss(targets, scaled(logits)))


@pytest.mark.parametrize(
    ("logits", "targets", "text"),
    [
        ([1.0, 2.0], [0, 1], "logits must have the shape (images, classes), not (2,)."),
        ([[1.0, 2.0]], [0, 1], "targets must have the shape (1,), one an image, not (2,)."),
        (np.empty((0, 2)), np.empty(0, int), "There are no images to calibrate with: targets are empty. "
         "Choose a part that has images."),
        ([[1.0, 2.0]], [2], "targets must be 0 to 1; targets[0] is 2."),
        ([[1.0, 2.0]], [0.5], "targets must be integers, the indices of classes, not float64."),
        ([[1.0, np.nan]], [0], "logits must be finite; logits[0, 1] is nan. Training diverged."),
    ],
)  # fmt: skip
def test_what_it_refuses(logits, targets, text):
    with pytest.raises(DataError) as refusal:
        fit_temperature(logits, targets)
    assert str(refusal.value) == text


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_smoothed_targets_suit_scores_of_any_size(size: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 300)
    logits = rng.normal(size=(300, 4)) + 2 * np.eye(4)[true]
    expected = fit_temperature(logits, true, smoothing=0.01)
    assert fit_temperature(size * logits, true, smoothing=0.01) == pytest.approx(size * expected, rel=1e-4)
    # It is where the log loss of smoothed targets is smallest.
    smoothed = np.where(np.eye(4)[true] == 1, 0.99, 0.01 / 3)
    losses = [-(smoothed * np.log(scaled(logits, expected * factor))).sum() for factor in (0.98, 1.0, 1.02)]
    assert losses[1] == min(losses)
    assert fit_temperature(logits, true, smoothing=0.1) > expected
