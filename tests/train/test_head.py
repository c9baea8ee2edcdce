from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from headstart.train.head import STRENGTHS, Solution, solve_head

Data = tuple[Tensor, Tensor]


def blobs(count: int, *, classes: int = 4, size: int = 6, seed: int = 0, spread: float = 1.5) -> Data:
    """Clouds that overlap, far from the origin and of odd size, as features are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, size))
    targets = rng.integers(0, classes, count)
    x = 7 + 5 * (centres[targets] + spread * rng.normal(size=(count, size)))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(targets)


def scaled(x: Tensor) -> tuple[Tensor, float]:
    centred = x - x.mean(0)
    scale = float(centred.square().mean().sqrt())
    return centred / scale, scale


def objective(solution: Solution, x: Tensor, y: Tensor, l2: float, origin: Tensor | None = None) -> float:
    """On scaled features, as solve_head's docstring has it."""
    _, scale = scaled(x)
    weight = solution.weight * scale
    pull = (weight - (0 if origin is None else origin * scale)).square().sum()
    return float(F.cross_entropy(x @ solution.weight.T + solution.bias, y) + 0.5 * l2 * pull)


@pytest.mark.parametrize("l2", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("classes", [3, 5])
def test_the_solution_is_that_of_scikit_learn(l2: float, classes: int) -> None:
    x, y = blobs(300, classes=classes)
    fit = solve_head((x, y), blobs(50, classes=classes, seed=1), classes=classes, l2=l2)
    z, scale = scaled(x.double())
    theirs = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=10_000).fit(z.numpy(), y.numpy())
    ours = fit.solution
    assert np.allclose(ours.weight.numpy() * scale, theirs.coef_, atol=1e-3)
    logits = x @ ours.weight.T + ours.bias
    assert np.allclose(logits.softmax(1).numpy(), theirs.predict_proba(z.numpy()), atol=3e-4)
    weight = torch.from_numpy(theirs.coef_ / scale).float()
    bias = torch.from_numpy(theirs.intercept_).float() - weight @ x.mean(0)
    assert objective(ours, x, y, l2) <= objective(Solution(weight, bias), x, y, l2) + 1e-6


def test_centring_and_scaling_of_the_features_change_nothing() -> None:
    x, y = blobs(200)
    checks = blobs(80, seed=1)
    one = solve_head((x, y), checks, classes=4, l2=0.1)
    other = solve_head((100 * x - 3, y), (100 * checks[0] - 3, checks[1]), classes=4, l2=0.1)
    assert other.history[0]["val_loss"] == pytest.approx(one.history[0]["val_loss"], abs=1e-4)
    assert torch.allclose(one.solution.weight, 100 * other.solution.weight, atol=1e-3)


@pytest.mark.parametrize("l2", [10.0, 1e3, 1e6])
def test_a_huge_penalty_gives_the_origin_with_a_bias_of_its_own(l2: float) -> None:
    x, y = blobs(200)
    shares = torch.bincount(y, minlength=4) / len(y)
    zero = solve_head((x, y), blobs(50, seed=1), classes=4, l2=l2)
    # What is left are the shares of the classes, whose log-loss is their entropy.
    entropy = float(-(shares * shares.log()).sum())
    assert zero.history[0]["loss"] == pytest.approx(entropy, abs=1 / l2)
    assert zero.solution.weight.abs().max() < 1 / l2

    # Rows that point to their class, so that they validate better than zero.
    origin = Solution(torch.stack([x[y == target].mean(0) for target in range(4)]) / 50, torch.zeros(4))
    fit = solve_head((x, y), blobs(50, seed=1), classes=4, l2=l2, pretrained=origin)
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert [line["start"] for line in fit.history] == ["zero", "pretrained"]
    assert chosen["start"] == "pretrained"
    assert torch.allclose(fit.solution.weight, origin.weight, atol=1 / l2)
    logits = x @ fit.solution.weight.T + fit.solution.bias
    assert torch.allclose(logits.softmax(1).mean(0), shares, atol=1e-4)  # the bias is not held back


def test_the_pull_is_towards_the_pretrained_rows() -> None:
    """The right answer as the origin: it validates better than zero, and a strong pull keeps it."""
    many = blobs(20_000, seed=2)
    right = solve_head(many, blobs(500, seed=3), classes=4, l2=1e-4).solution
    few = blobs(24, seed=4)
    fit = solve_head(few, blobs(2000, seed=5), classes=4, pretrained=right)
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert chosen["start"] == "pretrained"
    best_from_zero = min(line["val_loss"] for line in fit.history if line["start"] == "zero")
    assert chosen["val_loss"] < best_from_zero - 0.02
    assert torch.dist(fit.solution.weight, right.weight) < torch.dist(torch.zeros(4, 6), right.weight) / 2


def test_what_is_chosen_validated_best_and_is_what_is_returned() -> None:
    train, validation = blobs(150), blobs(100, seed=1)
    origin = Solution(torch.zeros(4, 6).fill_diagonal_(0.05), torch.zeros(4))
    fit = solve_head(train, validation, classes=4, pretrained=origin)
    losses = [line["val_loss"] for line in fit.history]
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert chosen["val_loss"] == min(losses)
    assert fit.l2 == chosen["l2"]
    logits = validation[0] @ fit.solution.weight.T + fit.solution.bias
    assert float(F.cross_entropy(logits, validation[1])) == pytest.approx(chosen["val_loss"], abs=1e-4)
    assert float((logits.argmax(1) == validation[1]).float().mean()) == pytest.approx(chosen["val_accuracy"])


def _digits() -> tuple[Data, Data]:
    digits = load_digits()
    x, y = torch.from_numpy(digits.data).float(), torch.from_numpy(digits.target)
    return (x[:500], y[:500]), (x[500:1000], y[500:1000])


CASES: dict[str, Any] = {
    "digits": (_digits, 10),
    "few, that want a strong pull": (lambda: (blobs(12, spread=3), blobs(300, seed=1, spread=3)), 4),
    "many, that want a weak one": (lambda: (blobs(3000, spread=0.3), blobs(300, seed=1, spread=0.3)), 4),
    "as many dimensions as images": (lambda: (blobs(60, size=60), blobs(300, size=60, seed=1)), 4),
}


@pytest.mark.parametrize("name", CASES)
def test_the_walk_finds_the_valley(name: str) -> None:
    make, classes = CASES[name]
    train, validation = make()
    walk = solve_head(train, validation, classes=classes)
    by_all = {l2: solve_head(train, validation, classes=classes, l2=l2).history[0]["val_loss"] for l2 in STRENGTHS}
    (chosen,) = [line for line in walk.history if line["chosen"]]
    assert chosen["val_loss"] <= min(by_all.values()) * 1.01 + 1e-3
    assert len(walk.history) < 0.7 * len(STRENGTHS)
    tried = [line["l2"] for line in walk.history]
    assert tried == sorted(tried, reverse=True)
    assert set(tried) <= set(STRENGTHS)


def test_one_strength_is_tried_where_one_is_given() -> None:
    fit = solve_head(blobs(60), blobs(30, seed=1), classes=4, l2=0.3)
    assert [(line["l2"], line["chosen"]) for line in fit.history] == [(0.3, True)]
    assert solve_head(blobs(60), blobs(30, seed=1), classes=4, l2=0).l2 == 0


def test_lines_of_history_have_the_agreed_keys() -> None:
    origin = Solution(torch.zeros(4, 6).fill_diagonal_(0.05), torch.zeros(4))
    history = solve_head(blobs(60), blobs(30, seed=1), classes=4, pretrained=origin).history
    for epoch, line in enumerate(history, 1):
        assert set(line) == {
            "stage",
            "epoch",
            "start",
            "l2",
            "loss",
            "accuracy",
            "val_loss",
            "val_accuracy",
            "seconds",
            "chosen",
        }
        assert (line["stage"], line["epoch"]) == ("head", epoch)
        assert line["start"] in ("zero", "pretrained")
    assert [line["chosen"] for line in history].count(True) == 1


def test_it_is_repeatable_and_leaves_what_it_was_given() -> None:
    train, validation = blobs(80), blobs(40, seed=1)
    before = train[0].clone()
    one, other = (solve_head(train, validation, classes=4) for _ in range(2))
    assert torch.equal(one.solution.weight, other.solution.weight)
    assert torch.equal(train[0], before)


def test_features_without_variance_do_not_divide_by_zero() -> None:
    x, y = torch.ones(8, 3), torch.tensor([0, 1] * 4)
    fit = solve_head((x, y), (x, y), classes=2)
    assert fit.history[0]["val_loss"] == pytest.approx(np.log(2))
    assert torch.isfinite(fit.solution.weight).all()


def test_classes_that_separate_and_one_that_validation_lacks() -> None:
    x = torch.eye(3).repeat(5, 1)
    y = torch.arange(3).repeat(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = solve_head((x, y), (x[:2], y[:2]), classes=3)
    assert [line["val_accuracy"] for line in fit.history] == [1.0] * len(fit.history)
