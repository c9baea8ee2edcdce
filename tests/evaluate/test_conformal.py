"""Prediction sets: the promise kept on average over draws, never empty, and as small as they can be."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import DataError, SettingsError
from headstart.evaluate import conformal_threshold, prediction_sets, sets_section
from headstart.evaluate.conformal import rank_of_quantile, sets_out_of_fold

METHODS = ["lac", "aps"]


def drawn(images, classes=6, *, skill=2.0, boldness=1.0, seed=0):
    """Probabilities of a model that is too bold for its skill where ``boldness`` is above 1, and targets."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), targets] += skill
    powers = np.exp(boldness * logits)
    return powers / powers.sum(axis=1, keepdims=True), targets


def coverage_over_draws(method, *, images, coverage, draws=300, **model):
    """How often the sets of 100 new images hold the true class, over many draws of both, with how many there were."""
    held = []
    for seed in range(draws):
        shares, targets = drawn(images + 100, seed=seed, **model)
        threshold = conformal_threshold(shares[:images], targets[:images], coverage=coverage, method=method)
        sets = prediction_sets(shares[images:], threshold, method=method)
        held.append(sets[np.arange(100), targets[images:]].mean())
    return float(np.mean(held)), float(np.std(held)) / math.sqrt(draws)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("images", "coverage"), [(20, 0.9), (200, 0.9), (200, 0.75), (57, 0.8)])
@pytest.mark.parametrize("boldness", [1.0, 4.0])
def test_the_promise_is_kept_on_average(method, images, coverage, boldness):
    """Between c and c + 1/(n + 1), whatever the model: Vovk et al. 2005."""
    found, error = coverage_over_draws(method, images=images, coverage=coverage, skill=1.0, boldness=boldness)
    assert coverage - 4 * error < found < coverage + 1 / (images + 1) + 4 * error


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_right_more_often_has_sets_of_one_class(method):
    shares, targets = drawn(4000, skill=6.0)
    threshold = conformal_threshold(shares[:2000], targets[:2000], method=method)
    sets = prediction_sets(shares[2000:], threshold, method=method)
    assert (sets.sum(axis=1) == 1).all()
    assert (sets.argmax(axis=1) == shares[2000:].argmax(axis=1)).all()
    assert (shares[2000:].argmax(axis=1) == targets[2000:]).mean() > 0.9


@given(st.integers(1, 40), st.integers(1, 8), st.floats(0.05, 0.99), st.sampled_from(METHODS), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_sets_hold_the_first_class_and_promise_their_own_images(images, classes, coverage, method, seed):
    rng = np.random.default_rng(seed)
    shares, targets = rng.dirichlet(np.full(classes, 0.3), images), rng.integers(0, classes, images)
    threshold = conformal_threshold(shares, targets, coverage=coverage, method=method)
    sets = prediction_sets(shares, threshold, method=method)
    assert sets[np.arange(images), shares.argmax(axis=1)].all()
    assert sets[np.arange(images), targets].sum() >= min(images, rank_of_quantile(images, coverage))
    # A class that is in a set brings those that are more probable.
    ranked = np.take_along_axis(sets, np.argsort(-shares, axis=1, kind="stable"), axis=1)
    assert (np.diff(ranked.astype(int), axis=1) <= 0).all()
    larger = prediction_sets(shares, threshold + 0.1, method=method)
    assert (larger | ~sets).all()


def test_lac_has_the_smallest_sets():
    shares, targets = drawn(20_000, classes=20, skill=1.5)
    sizes = {}
    for method in METHODS:
        threshold = conformal_threshold(shares[:10_000], targets[:10_000], method=method)
        sets = prediction_sets(shares[10_000:], threshold, method=method)
        sizes[method] = sets.sum(axis=1).mean()
        assert sets[np.arange(10_000), targets[10_000:]].mean() == pytest.approx(0.9, abs=0.02)
    assert sizes["lac"] < sizes["aps"]


def test_aps_follows_how_hard_an_image_is_more_closely():
    """Half the images are much harder: the coverage of each half is nearer to what was asked for."""
    easy, easy_targets = drawn(10_000, classes=10, skill=4.0, seed=1)
    hard, hard_targets = drawn(10_000, classes=10, skill=0.5, seed=2)
    shares, targets = np.concatenate([easy, hard]), np.concatenate([easy_targets, hard_targets])
    gaps = {}
    for method in METHODS:
        threshold = conformal_threshold(shares, targets, coverage=0.8, method=method)
        held = prediction_sets(shares, threshold, method=method)[np.arange(20_000), targets]
        gaps[method] = abs(held[:10_000].mean() - held[10_000:].mean())
    assert gaps["aps"] < gaps["lac"]


@pytest.mark.parametrize("method", METHODS)
def test_too_few_images_give_all_classes(method):
    shares, targets = drawn(8, skill=5.0)
    threshold = conformal_threshold(shares, targets, method=method)
    assert threshold == 1
    assert prediction_sets(shares, threshold, method=method).all()
    assert conformal_threshold(*drawn(9, skill=5.0), method=method) < 1


def test_scores_by_hand():
    shares = np.array([[0.5, 0.2, 0.3]])
    for target, lac, aps in ((0, 0.0, 0.0), (1, 0.8, 0.8), (2, 0.7, 0.5)):
        assert conformal_threshold(shares, [target], coverage=0.5, method="lac") == pytest.approx(lac)
        assert conformal_threshold(shares, [target], coverage=0.5, method="aps") == pytest.approx(aps)


@pytest.mark.parametrize("method", METHODS)
def test_out_of_fold_coverage_is_honest(method):
    """An image's own target has no say in its set; and the mean over draws is what was asked for."""
    shares, targets = drawn(100, skill=1.0)
    before = sets_out_of_fold(shares, targets, method=method)
    changed = targets.copy()
    changed[11] = (changed[11] + 1) % 6
    assert (before[11] == sets_out_of_fold(shares, changed, method=method)[11]).all()
    found = []
    for seed in range(200):
        shares, targets = drawn(50, skill=1.0, seed=seed)
        found.append(sets_out_of_fold(shares, targets, method=method)[np.arange(50), targets].mean())
    assert 0.9 - 0.02 < np.mean(found) < 0.9 + 1 / 41 + 0.02


def test_the_section_counts():
    shares, targets = drawn(1000, skill=1.5)
    names = list("abcdef")
    section = sets_section(shares, targets, names, threshold=conformal_threshold(shares, targets), cross_fitted=True)
    assert json.loads(json.dumps(section, allow_nan=False)) == section
    assert sum(row["images"] for row in section["sizes"]) == 1000
    assert sum(row["covered"] for row in section["sizes"]) == round(section["covered"]["value"] * 1000)
    mean = sum(row["size"] * row["images"] for row in section["sizes"]) / 1000
    assert section["mean_size"]["value"] == pytest.approx(mean)
    sets = sets_out_of_fold(shares, targets)
    by_class = [sets[targets == target, target].mean() for target in range(6)]
    assert section["least"]["covered"]["value"] == pytest.approx(min(by_class))
    assert section["least"]["class"] == names[int(np.argmin(by_class))]
    assert 0.88 < section["covered"]["value"] < 0.92


def test_what_it_refuses():
    with pytest.raises(DataError, match=r"^Each row of probabilities must sum to 1; row 0 sums to 1.2. "):
        conformal_threshold([[0.6, 0.6]], [0])
    with pytest.raises(SettingsError, match=r"^coverage must lie between 0 and 1, such as 0.9, got 90$"):
        conformal_threshold([[0.6, 0.4]], [0], coverage=90)
    with pytest.raises(SettingsError, match=r"^the method of prediction sets must be one of lac, aps, got 'raps'$"):
        prediction_sets([[0.6, 0.4]], 0.5, method="raps")
