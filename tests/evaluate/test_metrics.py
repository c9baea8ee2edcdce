"""Figures against scikit-learn's, and what must hold for any probabilities."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from headstart.evaluate import metrics


def softmax(logits):
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def guesses(*, images, classes, seed, skill=1.0):
    """Targets and the probabilities of a model that is right more often the more skill it has."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), targets] += skill
    return targets, softmax(logits)


cases = st.builds(
    guesses,
    images=st.integers(1, 60),
    classes=st.integers(2, 12),
    seed=st.integers(0, 2**32 - 1),
    skill=st.floats(-2, 6),
)


@given(cases, st.integers(1, 12))
def test_top_k_as_scikit_learn_counts_it(case, k):
    targets, shares = case
    k = min(k, shares.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn finds k = C pointless
        expected = (
            oracle.top_k_accuracy_score(targets, shares, k=k, labels=np.arange(shares.shape[1]), normalize=False)
            if shares.shape[1] > 2
            else np.sum(np.sort(shares, axis=1)[:, -k] <= shares[np.arange(len(targets)), targets])
        )
    assert metrics.top_k_hits(targets, shares, k=k).sum() == expected


@given(cases)
def test_more_guesses_never_hurt(case):
    targets, shares = case
    hits = [metrics.top_k_hits(targets, shares, k=k) for k in range(1, shares.shape[1] + 1)]
    assert all((fewer <= more).all() for fewer, more in pairwise(hits))
    assert hits[-1].all()


@given(cases)
@settings(deadline=None)  # scikit-learn's first call is slow
def test_log_loss_and_brier_score(case):
    targets, shares = case
    labels = np.arange(shares.shape[1])
    assert metrics.log_losses(targets, shares).mean() == pytest.approx(oracle.log_loss(targets, shares, labels=labels))
    truth = np.eye(shares.shape[1])[targets]
    assert metrics.brier_scores(targets, shares).mean() == pytest.approx(
        oracle.mean_squared_error(truth, shares) * shares.shape[1]
    )


def test_a_probability_of_zero_leaves_the_loss_finite():
    loss = metrics.log_losses(np.array([0]), np.array([[0.0, 1.0]], dtype=np.float32))
    assert loss == pytest.approx([-np.log(np.finfo(float).eps)])
    assert loss[0] == pytest.approx(oracle.log_loss([0], np.array([[0.0, 1.0]]), labels=[0, 1]))


@given(cases)
@settings(deadline=None)  # scikit-learn's first call is slow
def test_macro_figures(case):
    targets, shares = case
    classes = shares.shape[1]
    predicted = metrics.decisions(targets, shares)
    once = np.ones((1, len(targets)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of predicted classes that are not there
        balanced = oracle.balanced_accuracy_score(targets, predicted)
        f1 = oracle.f1_score(targets, predicted, average="macro", zero_division=0)
    assert metrics.balanced_accuracy(targets, predicted, once, classes=classes) == pytest.approx([balanced])
    assert metrics.macro_f1(targets, predicted, once, classes=classes) == pytest.approx([f1])
    expected = oracle.confusion_matrix(targets, predicted, labels=np.arange(classes))
    np.testing.assert_array_equal(metrics.confusion_matrix(targets, predicted, classes=classes), expected)


@given(cases, st.integers(0, 1000))
@settings(deadline=None)
def test_a_weight_is_as_good_as_a_copy(case, seed):
    targets, shares = case
    predicted = metrics.decisions(targets, shares)
    weights = np.random.default_rng(seed).integers(0, 4, len(targets))
    weights[0] = 1
    copies = np.repeat(np.arange(len(targets)), weights)
    for figure in (metrics.balanced_accuracy, metrics.macro_f1):
        weighted = figure(targets, predicted, weights[None].astype(float), classes=shares.shape[1])
        copied = figure(targets[copies], predicted[copies], np.ones((1, len(copies))), classes=shares.shape[1])
        assert weighted == pytest.approx(copied)


def test_a_tie_counts_against_the_model():
    targets = np.array([0, 1, 2, 2])
    shares = np.array([[0.5, 0.5, 0.0], [0.2, 0.6, 0.2], [0.4, 0.4, 0.2], [1 / 3, 1 / 3, 1 / 3]])
    assert metrics.top_k_hits(targets, shares, k=1).tolist() == [False, True, False, False]
    assert metrics.top_k_hits(targets, shares, k=2).tolist() == [True, True, False, False]
    assert metrics.decisions(targets, shares).tolist() == [1, 1, 0, 0]


@given(cases)
def test_decisions_agree_with_top_1(case):
    targets, shares = case
    shares = np.round(shares, 1)  # ties
    agree = metrics.decisions(targets, shares) == targets
    np.testing.assert_array_equal(agree, metrics.top_k_hits(targets, shares, k=1))
