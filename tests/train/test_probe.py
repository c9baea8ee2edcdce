from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.linear_model import LogisticRegression

from headstart.train.heads import HeadProblem
from headstart.train.probe import Probe, halving_eliminations, log_loss_difference, logme, probe


def clusters(images: int, dimensions: int, *, seed: int = 0, apart: float = 2.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features (N, D) of three classes around centers at this distance, and targets (N,)."""
    rng = np.random.default_rng(seed)
    targets = np.arange(images) % 3
    centers = np.random.default_rng(99).normal(size=(3, dimensions))
    return apart * centers[targets] + rng.normal(size=(images, dimensions)), targets


def maximum_evidence(features: NDArray[Any], targets: NDArray[Any]) -> float:
    """From the definition: y is Gaussian with covariance I / beta + F F' / alpha, maximized numerically over both."""
    found = []
    for number in range(3):
        y = (targets == number).astype(float)

        def evidence(logs: NDArray[Any], y: NDArray[Any] = y) -> float:
            alpha, beta = np.exp(logs)
            covariance = np.eye(len(y)) / beta + features @ features.T / alpha
            return -float(multivariate_normal.logpdf(y, np.zeros(len(y)), covariance, allow_singular=False))

        starts = [minimize(evidence, (a, b), method="Nelder-Mead") for a, b in ((0, 0), (3, 1))]
        found.append(-min(start.fun for start in starts))
    return float(np.mean(found)) / len(targets)


@pytest.mark.parametrize(("images", "dimensions", "apart"), [(45, 4, 2.0), (60, 10, 0.3), (30, 40, 1.0)])
def test_logme_is_the_maximum_evidence_by_definition(images: int, dimensions: int, apart: float) -> None:
    features, targets = clusters(images, dimensions, apart=apart)
    assert logme(features, targets, classes=3) == pytest.approx(maximum_evidence(features, targets), abs=2e-3)


def test_logme_grows_with_the_distance_of_the_classes() -> None:
    found = [logme(*clusters(90, 8, apart=apart), classes=3) for apart in (0.0, 0.5, 1.0, 3.0)]
    assert found == sorted(found)


@given(st.integers(4, 30), st.integers(1, 40), st.integers(0, 5))
def test_logme_is_finite_for_any_shape(images: int, dimensions: int, repeated: int) -> None:
    features, targets = clusters(3 * images, dimensions, seed=repeated)
    features[:, : dimensions // 2] = features[:, :1]  # rank is less than the width
    assert np.isfinite(logme(np.asarray(features, np.float16), targets, classes=3))


def test_logme_of_constant_features_is_finite() -> None:
    assert np.isfinite(logme(np.zeros((9, 4)), np.arange(9) % 3, classes=3))


def test_a_probe_equals_logistic_regression_of_scikit_learn() -> None:
    x, y = clusters(300, 8, apart=0.5)
    v, u = clusters(150, 8, seed=1, apart=0.5)
    data = (torch.tensor(x).float(), torch.tensor(y)), (torch.tensor(v).float(), torch.tensor(u))
    found = probe(*data, HeadProblem(3, l2=probe(*data, HeadProblem(3)).l2, discriminant=False))
    # C is 1 / (l2 of a loss that is a sum), for features that are scaled as the solver scales them.
    scale = np.sqrt(np.square(x - x.mean(0)).mean())
    other = LogisticRegression(C=1 / (found.l2 * len(x)), tol=1e-8, max_iter=1000).fit((x - x.mean(0)) / scale, y)
    probabilities = other.predict_proba((v - x.mean(0)) / scale)
    np.testing.assert_allclose(found.losses, -np.log(probabilities[np.arange(len(u)), u]), atol=1e-3)
    assert found.accuracy.value == pytest.approx((probabilities.argmax(1) == u).mean())
    assert found.log_loss.low < found.log_loss.value < found.log_loss.high


def make_probe(losses: NDArray[Any]) -> Probe:
    return Probe(losses, losses < 0.5, 0.01)


def test_differences_are_per_image() -> None:
    hard = np.linspace(0, 5, 50)  # a spread that hides a difference of a tenth
    mean, error = log_loss_difference(make_probe(hard + 0.1), make_probe(hard))
    assert mean == pytest.approx(0.1)
    assert error < 1e-9


def test_the_better_half_is_never_eliminated() -> None:
    losses = np.random.default_rng(0).random(40)
    probes = {f"{rank}": make_probe(losses + rank) for rank in range(5)}
    assert halving_eliminations(probes) == ["3", "4"]
    assert halving_eliminations({"one": make_probe(losses)}) == []


def test_what_may_be_as_good_is_not_eliminated() -> None:
    rng = np.random.default_rng(0)
    losses = rng.random(40)
    probes = {
        "best": make_probe(losses),
        "like it": make_probe(losses + rng.normal(0.01, 1, 40)),
        "not": make_probe(losses + 1),
    }
    assert halving_eliminations(probes) == ["not"]
    assert (
        halving_eliminations({"best": make_probe(losses[:1]), "worse": make_probe(losses[:1] + 9)}) == []
    )  # one image shows nothing
