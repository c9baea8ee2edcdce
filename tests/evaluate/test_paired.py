"""Paired differences against published values, hand-computed cases, scipy, and simulated data with a known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from headstart.evaluate import evaluate, intervals
from headstart.evaluate.paired import PairedCounts, compare_outcomes, mcnemar, newcombe, outcomes, paired_counts
from headstart.evaluate.schema import Interval

COUNTS = st.builds(PairedCounts, *[st.integers(0, 300)] * 4).filter(lambda counts: counts.images > 0)


def swapped(counts):
    return PairedCounts(counts.both, counts.second, counts.first, counts.neither)


def random_outcomes(rng, images, *, classes=6, noise=(0.5, 0.9), scale=(1.6, 1.0)):
    """Two classifiers whose logits have much in common."""
    targets = rng.integers(0, classes, images)
    common = rng.normal(size=(images, classes))
    common[np.arange(images), targets] += 3
    found = []
    for each, factor in zip(noise, scale, strict=True):
        values = np.exp(factor * (common + each * rng.normal(size=(images, classes))))
        found.append(outcomes(targets, values / values.sum(axis=1, keepdims=True)))
    return targets, found


# Fagerland, Lydersen and Laake, Recommended tests and confidence intervals for paired binomial proportions, Statistics
# in Medicine 33 (2014): airway hyper-responsiveness before and after transplantation. And Newcombe (1998), table III.
@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [((1, 1, 7, 12), -0.286, -0.507, -0.026), ((36, 12, 2, 0), 0.2, 0.057, 0.340)],
)
def test_newcombe_matches_published_values(counts, value, low, high):
    found = newcombe(PairedCounts(*counts))
    assert (round(found.value, 3), round(found.low, 3), round(found.high, 3)) == (value, low, high)


def test_newcombe_by_hand():
    """No margin is empty and the correlation is 0: the reaches of both Wilson intervals add as squares."""
    found, wilson = newcombe(PairedCounts(5, 5, 5, 5)), intervals.wilson(10, 20)
    reach = np.hypot(0.5 - wilson.low, wilson.high - 0.5)
    assert (found.value, found.low, found.high) == pytest.approx((0, -reach, reach))


@given(COUNTS)
def test_newcombe_contains_the_difference_and_is_antisymmetric(counts):
    found, back = newcombe(counts), newcombe(swapped(counts))
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (found.low, found.value, found.high) == pytest.approx((-back.high, -back.value, -back.low))


@given(COUNTS)
def test_mcnemar_matches_the_binomial_test_of_scipy(counts):
    changed = counts.first + counts.second
    expected = binomtest(counts.first, changed, 0.5).pvalue if changed else 1.0
    assert mcnemar(counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(0, 5, 2 / 32), (1, 4, 2 * (1 + 5) / 32), (3, 3, 1.0), (0, 0, 1.0), (0, 1, 1.0)],
)
def test_mcnemar_by_hand(first, second, p):
    assert mcnemar(PairedCounts(90, first, second, 7)) == pytest.approx(p)


def test_pairs_are_counted():
    first, second = np.array([1, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 1, 0, 0], bool)
    assert paired_counts(first, second) == PairedCounts(2, 1, 1, 2)


def test_figures_are_those_of_an_evaluation():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(7), (2, 90))
    targets = rng.integers(0, 7, 90)
    figures, differences = compare_outcomes(
        targets, [outcomes(targets, each) for each in probabilities], baseline=0, resamples=50
    )
    expected = [evaluate(targets, each, list("abcdefg")) for each in probabilities]
    for one, evaluation in zip(figures, expected, strict=True):
        assert one.accuracy == pytest.approx(evaluation.top1.value)
        for name in ("top5", "balanced_accuracy", "log_loss", "brier", "ece"):
            assert getattr(one, name) == pytest.approx(getattr(evaluation, name).value)
    assert differences[0] is None
    for name in ("accuracy", "top5", "balanced_accuracy", "log_loss", "brier", "ece"):
        gap = getattr(figures[1], name) - getattr(figures[0], name)
        found = getattr(differences[1], name)
        assert found.value == pytest.approx(gap)
        assert found.low <= found.value <= found.high


def test_a_blockwise_reduction_gives_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    probabilities, targets = rng.dirichlet(np.ones(8), 50).astype(np.float32), rng.integers(0, 8, 50)
    whole = outcomes(targets, probabilities)
    monkeypatch.setattr("headstart.evaluate.paired.BLOCK", 8 * 7)
    for name, values in vars(outcomes(targets, probabilities)).items():
        np.testing.assert_array_equal(values, getattr(whole, name))


def test_the_bootstrap_is_of_the_same_images_and_seeded():
    """Two classifiers that differ by a constant on every image have a difference without spread."""
    rng = np.random.default_rng(2)
    targets = np.zeros(200, np.int64)
    loss = rng.uniform(0.1, 1, 200)
    pair = [outcomes(targets, np.stack([np.exp(-each), 1 - np.exp(-each)], axis=1)) for each in (loss, loss + 0.5)]
    _, (_, found) = compare_outcomes(targets, pair, baseline=0)
    assert (found.log_loss.low, found.log_loss.high) == pytest.approx((0.5, 0.5))
    targets, pair = random_outcomes(rng, 100)
    one, again, other = (compare_outcomes(targets, pair, baseline=0, seed=seed)[1][1] for seed in (0, 0, 1))
    assert one == again
    assert one.log_loss != other.log_loss


def test_the_bootstrap_of_a_mean_is_close_to_its_standard_error():
    targets, pair = random_outcomes(np.random.default_rng(3), 1000)
    gaps = pair[1].log_loss - pair[0].log_loss
    error = 1.96 * gaps.std(ddof=1) / 1000**0.5
    found = compare_outcomes(targets, pair, baseline=0)[1][1].log_loss
    assert (found.low, found.high) == pytest.approx((gaps.mean() - error, gaps.mean() + error), abs=0.1 * error)


def test_runs_that_are_the_same_do_not_differ():
    targets, (one, _) = random_outcomes(np.random.default_rng(4), 60)
    _, (_, found) = compare_outcomes(targets, [one, one], baseline=0, resamples=100)
    assert found.log_loss == found.ece == found.brier == Interval(0.0, 0.0, 0.0)
    assert found.p_value == 1
    assert found.accuracy.value == 0
    assert found.accuracy.low <= 0 <= found.accuracy.high


def test_few_classes_have_no_top5():
    targets = np.array([0, 1])
    few, many = outcomes(targets, np.eye(2)[targets]), outcomes(targets, np.eye(6)[targets])
    figures, (_, found) = compare_outcomes(targets, [few, many], baseline=0, resamples=20)
    assert [each.top5 for each in figures] == [None, None]
    assert found.top5 is None


def test_intervals_cover_the_true_difference():
    """Nominal 95 % over 250 draws of 150 images; 3 standard deviations are 4 %, the calibration error is biased."""
    rng = np.random.default_rng(5)
    targets, pair = random_outcomes(rng, 400_000)
    (base, run), _ = compare_outcomes(targets, pair, baseline=0, resamples=1)
    least = {"accuracy": 0.91, "balanced_accuracy": 0.89, "log_loss": 0.89, "brier": 0.89, "ece": 0.82}
    truth = {name: getattr(run, name) - getattr(base, name) for name in least}
    covered = dict.fromkeys(least, 0)
    for _ in range(250):
        targets, pair = random_outcomes(rng, 150)
        found = compare_outcomes(targets, pair, baseline=0, resamples=300)[1][1]
        for name, value in truth.items():
            interval = getattr(found, name)
            covered[name] += interval.low <= value <= interval.high
    shares = {name: count / 250 for name, count in covered.items()}
    assert all(shares[name] >= bound for name, bound in least.items()), shares
    assert all(share <= 0.995 for share in shares.values()), shares


def test_mcnemar_keeps_its_level():
    """Where neither classifier is better, p is below 5 % in at most 5 % of the cases: the test is exact."""
    rng = np.random.default_rng(6)
    changed = rng.binomial(200, 0.1, 2000)
    first = rng.binomial(changed, 0.5)
    p = [mcnemar(PairedCounts(170, int(one), int(n - one), 5)) for one, n in zip(first, changed, strict=True)]
    assert 0.005 < np.mean(np.array(p) < 0.05) <= 0.06
