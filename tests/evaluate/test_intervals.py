"""Intervals against published values and scipy, and properties of any interval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from headstart.evaluate import intervals
from headstart.evaluate.schema import Interval


# Newcombe, Two-sided confidence intervals for the single proportion: comparison of seven methods,
# Statistics in Medicine 17 (1998), table I, method 3.
@pytest.mark.parametrize(
    ("hits", "images", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_matches_published_values(hits, images, low, high):
    found = intervals.wilson(hits, images)
    assert found.value == hits / images
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@given(st.integers(1, 5000).flatmap(lambda images: st.tuples(st.integers(0, images), st.just(images))))
def test_wilson_contains_the_estimate_and_is_symmetric(case):
    hits, images = case
    found, missed = intervals.wilson(hits, images), intervals.wilson(images - hits, images)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.low == pytest.approx(1 - missed.high, abs=1e-9)


def test_mean_with_its_standard_error():
    found = intervals.mean(np.array([1.0, 2.0, 3.0, 4.0]))
    error = 1.96 * np.sqrt(5 / 3) / 2  # the variance of 1, 2, 3, 4 is 5/3
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5 - error, 2.5 + error))


def test_the_lower_bound_of_a_mean_is_not_negative():
    assert intervals.mean(np.array([0.0, 0.0, 9.0])).low == 0.0


def test_a_single_value_has_no_spread():
    assert intervals.mean(np.array([2.0])) == Interval(2.0, 2.0, 2.0)


def proportion_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


@pytest.mark.parametrize(
    ("hits", "images"), [(0, 1), (1, 1), (3, 7), (0, 40), (40, 40), (1234, 2044), (999_999, 1_000_000)]
)
def test_wilson_matches_scipy(hits, images):
    theirs = binomtest(hits, images).proportion_ci(method="wilson")
    found = intervals.wilson(hits, images)
    assert (found.low, found.high) == (pytest.approx(theirs.low), pytest.approx(theirs.high))


@pytest.mark.parametrize("reflect", [False, True])
def test_bootstrap_of_a_proportion_is_close_to_wilson(reflect):
    hits = np.repeat([1.0, 0.0], [140, 60])
    found, wilson = intervals.bootstrap(proportion_of(hits), 200, reflect=reflect), intervals.wilson(140, 200)
    assert found.value == wilson.value
    assert found.low == pytest.approx(wilson.low, abs=0.015)
    assert found.high == pytest.approx(wilson.high, abs=0.015)


def test_bootstrap_is_repeatable_and_seeded():
    statistic = proportion_of(np.arange(50) / 49)
    assert intervals.bootstrap(statistic, 50) == intervals.bootstrap(statistic, 50)
    assert intervals.bootstrap(statistic, 50) != intervals.bootstrap(statistic, 50, seed=1)


def test_every_resample_has_as_many_draws_as_images(monkeypatch):
    monkeypatch.setattr(intervals, "CHUNK", 100)  # many chunks, the last one short
    seen = []

    def statistic(weights):
        seen.append(weights)
        return weights[:, 0] / weights.sum(axis=1)

    intervals.bootstrap(statistic, 7, resamples=25)
    weights = np.concatenate(seen[1:])
    assert weights.shape == (25, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert max(len(chunk) for chunk in seen) == 100 // 7


def test_bootstrap_contains_an_estimate_outside_the_percentiles():
    hits = np.ones(10)
    assert intervals.bootstrap(proportion_of(hits), 10) == Interval(1.0, 1.0, 1.0)
    spread = intervals.bootstrap(lambda weights: (weights == 0).mean(axis=1), 30)  # 0 where every image is drawn once
    assert spread.value == spread.low == 0.0
    assert spread.high > 0.3


def correlated(rng, groups=40, size=10):
    """Hits of images whose groups are easy or hard, and the group of each."""
    share = rng.beta(2, 1, groups)  # 2/3 in the mean
    return rng.random((groups, size)) < share[:, None], np.repeat(np.arange(groups), size)


def test_intervals_of_groups_hold_the_truth_as_often_as_they_say():
    rng, within, too_narrow, means, boots = np.random.default_rng(0), [], [], [], []
    for _ in range(300):
        hits, groups = correlated(rng)
        images = hits.ravel()
        for found, of in (
            (within, intervals.proportion(images, groups)),
            (too_narrow, intervals.proportion(images)),
            (means, intervals.mean(images.astype(float), groups)),
        ):
            found.append(of.low <= 2 / 3 <= of.high)
        if len(boots) < 60:
            resampled = intervals.bootstrap(proportion_of(images), images.size, groups=groups, resamples=200)
            boots.append(resampled.low <= 2 / 3 <= resampled.high)
    assert np.mean(within) > 0.92
    assert np.mean(means) > 0.9
    assert np.mean(boots) > 0.85
    assert np.mean(too_narrow) < 0.85


def test_groups_of_one_image_change_nothing_but_rounding():
    rng = np.random.default_rng(1)
    hits = rng.random(200) < 0.8
    alone, grouped = intervals.proportion(hits), intervals.proportion(hits, rng.permutation(200))
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-3)


@pytest.mark.parametrize("hits", [[True] * 12, [False] * 12])
def test_without_any_miss_the_groups_count(hits):
    found = intervals.proportion(np.array(hits), np.repeat(np.arange(3), 4))
    expected = intervals.wilson(3 if hits[0] else 0, 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_group_tells_as_much_as_one_image():
    found = intervals.proportion(np.array([True, True, True, False]), np.zeros(4, np.int64))
    assert found.value == 0.75
    assert found.high - found.low > 0.75
