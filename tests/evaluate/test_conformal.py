"""Prediction sets: coverage on average over draws, never empty, and as small as possible."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.documents import decode, encode
from headstart.errors import DataError, SettingsError
from headstart.evaluate import conformal_threshold, prediction_set_metrics, prediction_sets
from headstart.evaluate.conformal import cross_fitted_sets, quantile_rank
from headstart.evaluate.schema import PredictionSetMetrics

METHODS = ["lac", "aps"]


def drawn(images, classes=6, *, skill=2.0, boldness=1.0, seed=0):
    """Probabilities of a model that is overconfident if ``boldness`` is above 1, and targets."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), targets] += skill
    powers = np.exp(boldness * logits)
    return powers / powers.sum(axis=1, keepdims=True), targets


def coverage_over_draws(method, *, images, coverage, draws=300, **model):
    """Mean coverage of 100 new images over many draws, and its standard error."""
    held = []
    for seed in range(draws):
        probabilities, targets = drawn(images + 100, seed=seed, **model)
        threshold = conformal_threshold(probabilities[:images], targets[:images], coverage=coverage, method=method)
        sets = prediction_sets(probabilities[images:], threshold, method=method)
        held.append(sets[np.arange(100), targets[images:]].mean())
    return float(np.mean(held)), float(np.std(held)) / math.sqrt(draws)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("images", "coverage"), [(20, 0.9), (200, 0.9), (200, 0.75), (57, 0.8)])
@pytest.mark.parametrize("boldness", [1.0, 4.0])
def test_coverage_is_reached_on_average(method, images, coverage, boldness):
    """Coverage is between c and c + 1/(n + 1) for any model: Vovk et al. 2005."""
    found, error = coverage_over_draws(method, images=images, coverage=coverage, skill=1.0, boldness=boldness)
    assert coverage - 4 * error < found < coverage + 1 / (images + 1) + 4 * error


@pytest.mark.parametrize("method", METHODS)
def test_an_accuracy_above_the_coverage_gives_sets_of_one_class(method):
    probabilities, targets = drawn(4000, skill=6.0)
    threshold = conformal_threshold(probabilities[:2000], targets[:2000], method=method)
    sets = prediction_sets(probabilities[2000:], threshold, method=method)
    assert (sets.sum(axis=1) == 1).all()
    assert (sets.argmax(axis=1) == probabilities[2000:].argmax(axis=1)).all()
    assert (probabilities[2000:].argmax(axis=1) == targets[2000:]).mean() > 0.9


@given(st.integers(1, 40), st.integers(1, 8), st.floats(0.05, 0.99), st.sampled_from(METHODS), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_sets_contain_the_top_class_and_cover_the_images_of_the_threshold(images, classes, coverage, method, seed):
    rng = np.random.default_rng(seed)
    probabilities, targets = rng.dirichlet(np.full(classes, 0.3), images), rng.integers(0, classes, images)
    threshold = conformal_threshold(probabilities, targets, coverage=coverage, method=method)
    sets = prediction_sets(probabilities, threshold, method=method)
    assert sets[np.arange(images), probabilities.argmax(axis=1)].all()
    assert sets[np.arange(images), targets].sum() >= min(images, quantile_rank(images, coverage))
    # A set with a class contains all more probable classes.
    ranked = np.take_along_axis(sets, np.argsort(-probabilities, axis=1, kind="stable"), axis=1)
    assert (np.diff(ranked.astype(int), axis=1) <= 0).all()
    larger = prediction_sets(probabilities, threshold + 0.1, method=method)
    assert (larger | ~sets).all()


def test_lac_has_the_smallest_sets():
    probabilities, targets = drawn(20_000, classes=20, skill=1.5)
    sizes = {}
    for method in METHODS:
        threshold = conformal_threshold(probabilities[:10_000], targets[:10_000], method=method)
        sets = prediction_sets(probabilities[10_000:], threshold, method=method)
        sizes[method] = sets.sum(axis=1).mean()
        assert sets[np.arange(10_000), targets[10_000:]].mean() == pytest.approx(0.9, abs=0.02)
    assert sizes["lac"] < sizes["aps"]


def test_aps_adapts_more_closely_to_the_difficulty_of_an_image():
    """Half of the images are much harder: with APS the coverage of the halves differs less."""
    easy, easy_targets = drawn(10_000, classes=10, skill=4.0, seed=1)
    hard, hard_targets = drawn(10_000, classes=10, skill=0.5, seed=2)
    probabilities, targets = np.concatenate([easy, hard]), np.concatenate([easy_targets, hard_targets])
    gaps = {}
    for method in METHODS:
        threshold = conformal_threshold(probabilities, targets, coverage=0.8, method=method)
        held = prediction_sets(probabilities, threshold, method=method)[np.arange(20_000), targets]
        gaps[method] = abs(held[:10_000].mean() - held[10_000:].mean())
    assert gaps["aps"] < gaps["lac"]


@pytest.mark.parametrize("method", METHODS)
def test_too_few_images_give_sets_of_all_classes(method):
    probabilities, targets = drawn(8, skill=5.0)
    threshold = conformal_threshold(probabilities, targets, method=method)
    assert threshold == 1
    assert prediction_sets(probabilities, threshold, method=method).all()
    assert conformal_threshold(*drawn(9, skill=5.0), method=method) < 1


def test_scores_computed_by_hand():
    probabilities = np.array([[0.5, 0.2, 0.3]])
    for target, lac, aps in ((0, 0.0, 0.0), (1, 0.8, 0.8), (2, 0.7, 0.5)):
        assert conformal_threshold(probabilities, [target], coverage=0.5, method="lac") == pytest.approx(lac)
        assert conformal_threshold(probabilities, [target], coverage=0.5, method="aps") == pytest.approx(aps)


@pytest.mark.parametrize("method", METHODS)
def test_cross_fitted_coverage_is_unbiased(method):
    """The set of an image does not depend on its own target, and the mean coverage over draws is the target."""
    probabilities, targets = drawn(100, skill=1.0)
    before = cross_fitted_sets(probabilities, targets, method=method)
    changed = targets.copy()
    changed[11] = (changed[11] + 1) % 6
    assert (before[11] == cross_fitted_sets(probabilities, changed, method=method)[11]).all()
    found = []
    for seed in range(200):
        probabilities, targets = drawn(50, skill=1.0, seed=seed)
        found.append(cross_fitted_sets(probabilities, targets, method=method)[np.arange(50), targets].mean())
    assert 0.9 - 0.02 < np.mean(found) < 0.9 + 1 / 41 + 0.02


def test_metrics_count_all_images():
    probabilities, targets = drawn(1000, skill=1.5)
    names = list("abcdef")
    section = prediction_set_metrics(
        probabilities, targets, names, threshold=conformal_threshold(probabilities, targets), cross_fitted=True
    )
    assert decode(PredictionSetMetrics, json.loads(json.dumps(encode(section), allow_nan=False)), "json") == section
    assert sum(row.images for row in section.sizes) == 1000
    assert sum(row.covered for row in section.sizes) == round(section.covered.value * 1000)
    mean = sum(row.size * row.images for row in section.sizes) / 1000
    assert section.mean_size.value == pytest.approx(mean)
    sets = cross_fitted_sets(probabilities, targets)
    by_class = [sets[targets == target, target].mean() for target in range(6)]
    assert section.least_covered.covered.value == pytest.approx(min(by_class))
    assert section.least_covered.name == names[int(np.argmin(by_class))]
    assert 0.88 < section.covered.value < 0.92


def test_invalid_arguments_are_refused():
    with pytest.raises(DataError, match=r"^Each row of probabilities must sum to 1; row 0 sums to 1.2. "):
        conformal_threshold([[0.6, 0.6]], [0])
    with pytest.raises(SettingsError, match=r"^coverage must be between 0 and 1, for example 0.9, got 90$"):
        conformal_threshold([[0.6, 0.4]], [0], coverage=90)
    with pytest.raises(SettingsError, match=r"^the method of prediction sets must be one of lac, aps, got 'raps'$"):
        prediction_sets([[0.6, 0.4]], 0.5, method="raps")
