"""Metrics against scikit-learn, and properties of any probabilities."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from headstart.evaluate import metrics


def softmax(logits):
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def guesses(*, images, classes, seed, skill=1.0):
    """Targets, and probabilities of a model whose accuracy increases with ``skill``."""
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
def test_top_k_matches_scikit_learn(case, k):
    targets, probabilities = case
    classes = probabilities.shape[1]
    k = min(k, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that k = C is pointless
        expected = (
            oracle.top_k_accuracy_score(
                targets, probabilities, k=k, labels=np.arange(probabilities.shape[1]), normalize=False
            )
            if probabilities.shape[1] > 2
            else np.sum(np.sort(probabilities, axis=1)[:, -k] <= probabilities[np.arange(len(targets)), targets])
        )
    assert metrics.top_k_hits(targets, probabilities, k=k).sum() == expected


@given(cases)
def test_hits_increase_with_k(case):
    targets, probabilities = case
    hits = [metrics.top_k_hits(targets, probabilities, k=k) for k in range(1, probabilities.shape[1] + 1)]
    assert all((fewer <= more).all() for fewer, more in pairwise(hits))
    assert hits[-1].all()


@given(cases)
@settings(deadline=None)  # scikit-learn's first call is slow
def test_log_loss_and_brier_score_match_scikit_learn(case):
    targets, probabilities = case
    labels = np.arange(probabilities.shape[1])
    assert metrics.log_losses(targets, probabilities).mean() == pytest.approx(
        oracle.log_loss(targets, probabilities, labels=labels)
    )
    truth = np.eye(probabilities.shape[1])[targets]
    assert metrics.brier_scores(targets, probabilities).mean() == pytest.approx(
        oracle.mean_squared_error(truth, probabilities) * probabilities.shape[1]
    )


def test_log_loss_is_finite_for_a_probability_of_zero():
    loss = metrics.log_losses(np.array([0]), np.array([[0.0, 1.0]], dtype=np.float32))
    assert loss == pytest.approx([-np.log(np.finfo(float).eps)])
    assert loss[0] == pytest.approx(oracle.log_loss([0], np.array([[0.0, 1.0]]), labels=[0, 1]))


@given(cases)
@settings(deadline=None)  # scikit-learn's first call is slow
def test_macro_averages_match_scikit_learn(case):
    targets, probabilities = case
    classes = probabilities.shape[1]
    predicted = metrics.decisions(targets, probabilities)
    once = np.ones((1, len(targets)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns about predicted classes without images
        balanced = oracle.balanced_accuracy_score(targets, predicted)
        f1 = oracle.f1_score(targets, predicted, average="macro", zero_division=0)
    assert metrics.balanced_accuracy(targets, predicted, once, classes=classes) == pytest.approx([balanced])
    assert metrics.macro_f1(targets, predicted, once, classes=classes) == pytest.approx([f1])
    expected = oracle.confusion_matrix(targets, predicted, labels=np.arange(classes))
    np.testing.assert_array_equal(metrics.confusion_matrix(targets, predicted, classes=classes), expected)


@given(cases, st.integers(0, 1000))
@settings(deadline=None)
def test_a_weight_is_equivalent_to_copies(case, seed):
    targets, probabilities = case
    predicted = metrics.decisions(targets, probabilities)
    weights = np.random.default_rng(seed).integers(0, 4, len(targets))
    weights[0] = 1
    copies = np.repeat(np.arange(len(targets)), weights)
    for figure in (metrics.balanced_accuracy, metrics.macro_f1):
        weighted = figure(targets, predicted, weights[None].astype(float), classes=probabilities.shape[1])
        copied = figure(targets[copies], predicted[copies], np.ones((1, len(copies))), classes=probabilities.shape[1])
        assert weighted == pytest.approx(copied)


def test_a_tie_counts_against_the_model():
    targets = np.array([0, 1, 2, 2])
    probabilities = np.array([[0.5, 0.5, 0.0], [0.2, 0.6, 0.2], [0.4, 0.4, 0.2], [1 / 3, 1 / 3, 1 / 3]])
    assert metrics.top_k_hits(targets, probabilities, k=1).tolist() == [False, True, False, False]
    assert metrics.top_k_hits(targets, probabilities, k=2).tolist() == [True, True, False, False]
    assert metrics.decisions(targets, probabilities).tolist() == [1, 1, 0, 0]


@given(cases)
def test_decisions_agree_with_top_1(case):
    targets, probabilities = case
    probabilities = np.round(probabilities, 1)  # ties
    agree = metrics.decisions(targets, probabilities) == targets
    np.testing.assert_array_equal(agree, metrics.top_k_hits(targets, probabilities, k=1))
