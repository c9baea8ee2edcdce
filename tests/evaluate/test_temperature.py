"""Temperature scaling: recovers a known temperature, minimizes the log-loss, and is sane on few images."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from headstart.documents import decode, encode
from headstart.errors import DataError
from headstart.evaluate import apply_temperature, calibration_metrics, cross_fitted_probabilities, fit_temperature
from headstart.evaluate.schema import CalibrationMetrics


def drawn(images, classes=5, *, true=1.0, seed=0):
    """Logits that are calibrated at the temperature ``true``, and targets drawn accordingly."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(images, classes))
    probabilities = apply_temperature(logits, true)
    return logits, (rng.random((images, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0, 20.0])
def test_a_known_temperature_is_recovered(true):
    logits, targets = drawn(20_000)
    assert fit_temperature(logits * true, targets) == pytest.approx(true, rel=0.05)


def test_the_temperature_minimizes_the_log_loss():
    logits, targets = drawn(5000, true=1.7, seed=1)
    found = fit_temperature(logits, targets)
    losses = {t: log_loss(targets, apply_temperature(logits, t)) for t in np.geomspace(0.5, 5, 200)}
    assert found == pytest.approx(min(losses, key=losses.get), rel=0.02)


@given(st.integers(1, 30), st.integers(1, 6), st.floats(0.01, 100), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_the_loss_never_increases(images, classes, size, seed):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(size=(images, classes)) * size, rng.integers(0, classes, images)
    found = fit_temperature(logits, targets)
    assert 0.01 <= found <= 100
    losses = [
        log_loss(targets, apply_temperature(logits, t), labels=range(classes)) if classes > 1 else 0 for t in (1, found)
    ]
    assert losses[1] <= losses[0] + 1e-9


def test_a_few_correct_images_do_not_make_the_network_certain():
    logits = np.array([[2.0, 0.0]] * 10)
    found = fit_temperature(logits, [0] * 10)
    assert 0.4 < found < 1
    assert apply_temperature(logits, found).max() < 0.99


def test_a_single_class_or_equal_logits_give_1():
    assert fit_temperature([[3.0]] * 4, [0] * 4) == pytest.approx(1, abs=1e-4)
    assert fit_temperature([[1.0, 1.0]] * 4, [0, 1, 0, 1]) == pytest.approx(1, abs=1e-4)


def test_large_logits_do_not_overflow():
    assert np.isfinite(fit_temperature([[1e4, -1e4], [-1e4, 1e4]], [0, 0]))
    assert apply_temperature([[1e4, -1e4]]).tolist() == [[1.0, 0.0]]


def test_each_fold_is_scaled_with_the_temperature_of_the_others():
    logits, targets = drawn(200, true=2.0)
    before = cross_fitted_probabilities(logits, targets, folds=4, seed=3)
    changed = targets.copy()
    changed[17] = (changed[17] + 1) % 5
    after = cross_fitted_probabilities(logits, changed, folds=4, seed=3)
    same = (before == after).all(axis=1)
    assert same[17]  # the scaling does not depend on its own target
    assert same.sum() == 50  # nor does that of its fold
    assert (before.argmax(axis=1) == logits.argmax(axis=1)).all()
    assert before.sum(axis=1) == pytest.approx(np.ones(200))


def test_cross_fitting_removes_optimism():
    """On few images, a temperature looks better on the images that it was fitted on than on others."""
    gaps = []
    for seed in range(40):
        logits, targets = drawn(12, true=2.0, seed=seed)
        own = log_loss(targets, apply_temperature(logits, fit_temperature(logits, targets)), labels=range(5))
        gaps.append(log_loss(targets, cross_fitted_probabilities(logits, targets), labels=range(5)) - own)
    assert np.mean(gaps) > 0


def test_a_single_image_is_not_scaled():
    assert cross_fitted_probabilities([[1.0, 0.0]], [0]).tolist() == apply_temperature([[1.0, 0.0]]).tolist()


def test_metrics_before_and_after_scaling():
    logits, targets = drawn(2000)
    section = calibration_metrics(logits * 3, targets, temperature=3.0, cross_fitted=True)
    assert decode(CalibrationMetrics, json.loads(json.dumps(encode(section), allow_nan=False)), "json") == section
    assert section.before.ece.low > section.after.ece.high
    assert section.before.log_loss.low > section.after.log_loss.high
    assert section.before.log_loss.value == pytest.approx(log_loss(targets, apply_temperature(logits * 3)))
    plain = calibration_metrics(logits * 3, targets, temperature=3.0, cross_fitted=False)
    assert plain.after.log_loss.value == pytest.approx(log_loss(targets, apply_temperature(logits)))


@pytest.mark.parametrize(
    ("logits", "targets", "text"),
    [
        ([1.0, 2.0], [0, 1], "logits must have the shape (images, classes), got (2,)."),
        ([[1.0, 2.0]], [0, 1], "targets must have the shape (1,), one per image, got (2,)."),
        (np.empty((0, 2)), np.empty(0, int), "targets is empty: there are no images to calibrate with. "
         "Choose a split that has images."),
        ([[1.0, 2.0]], [2], "targets must be between 0 and 1; targets[0] is 2."),
        ([[1.0, 2.0]], [0.5], "targets must be integer class indices, got float64."),
        ([[1.0, np.nan]], [0], "logits must be finite; logits[0, 1] is nan. Training diverged."),
    ],
)  # fmt: skip
def test_invalid_input_is_refused(logits, targets, text):
    with pytest.raises(DataError) as refusal:
        fit_temperature(logits, targets)
    assert str(refusal.value) == text


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_smoothing_scales_with_the_logits(size: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 4, 300)
    logits = rng.normal(size=(300, 4)) + 2 * np.eye(4)[true]
    expected = fit_temperature(logits, true, smoothing=0.01)
    assert fit_temperature(size * logits, true, smoothing=0.01) == pytest.approx(size * expected, rel=1e-4)
    # It minimizes the log-loss of smoothed targets.
    smoothed = np.where(np.eye(4)[true] == 1, 0.99, 0.01 / 3)
    losses = [-(smoothed * np.log(apply_temperature(logits, expected * factor))).sum() for factor in (0.98, 1.0, 1.02)]
    assert losses[1] == min(losses)
    assert fit_temperature(logits, true, smoothing=0.1) > expected
