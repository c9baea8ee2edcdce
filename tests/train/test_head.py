from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import DataError
from headstart.train.balance import balance
from headstart.train.head import STRENGTHS, _turns, solve_again, solve_head, solve_head_by_folds
from headstart.train.origins import Solution
from headstart.train.part import Kept

Data = tuple[Tensor, Tensor]

# Of the penalty alone. What the discriminant brings is in test_origins.py.
plain_head = partial(solve_head, discriminant=False)
plain_head_by_folds = partial(solve_head_by_folds, discriminant=False)


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
    fit = plain_head((x, y), blobs(50, classes=classes, seed=1), classes=classes, l2=l2)
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
    zero = plain_head((x, y), blobs(50, seed=1), classes=4, l2=l2)
    # What is left are the shares of the classes, whose log-loss is their entropy.
    entropy = float(-(shares * shares.log()).sum())
    assert zero.history[0]["loss"] == pytest.approx(entropy, abs=1 / l2)
    assert zero.solution.weight.abs().max() < 1 / l2

    # Rows that point to their class, so that they validate better than zero.
    origin = Solution(torch.stack([x[y == target].mean(0) for target in range(4)]) / 50, torch.zeros(4))
    fit = plain_head((x, y), blobs(50, seed=1), classes=4, l2=l2, pretrained=origin)
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert [line["start"] for line in fit.history] == ["zero", "pretrained"]
    assert chosen["start"] == "pretrained"
    assert torch.allclose(fit.solution.weight, origin.weight, atol=1 / l2)
    logits = x @ fit.solution.weight.T + fit.solution.bias
    assert torch.allclose(logits.softmax(1).mean(0), shares, atol=1e-4)  # the bias is not held back


def test_the_pull_is_towards_the_pretrained_rows() -> None:
    """The right answer as the origin: it validates better than zero, and a strong pull keeps it."""
    many = blobs(20_000, seed=2)
    right = plain_head(many, blobs(500, seed=3), classes=4, l2=1e-4).solution
    few = blobs(24, seed=4)
    fit = plain_head(few, blobs(2000, seed=5), classes=4, pretrained=right)
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
    walk = plain_head(train, validation, classes=classes)
    by_all = {l2: plain_head(train, validation, classes=classes, l2=l2).history[0]["val_loss"] for l2 in STRENGTHS}
    (chosen,) = [line for line in walk.history if line["chosen"]]
    assert chosen["val_loss"] <= min(by_all.values()) * 1.01 + 1e-3
    assert len(walk.history) < 0.7 * len(STRENGTHS)
    tried = [line["l2"] for line in walk.history]
    assert tried == sorted(tried, reverse=True)
    assert set(tried) <= set(STRENGTHS)


def test_one_strength_is_tried_where_one_is_given() -> None:
    fit = plain_head(blobs(60), blobs(30, seed=1), classes=4, l2=0.3)
    assert [(line["l2"], line["chosen"]) for line in fit.history] == [(0.3, True)]
    assert plain_head(blobs(60), blobs(30, seed=1), classes=4, l2=0).l2 == 0


def test_the_search_may_be_coarse_but_not_the_solution() -> None:
    train, validation = blobs(3000, size=32), blobs(300, size=32, seed=1)
    origin = Solution(torch.zeros(4, 32).fill_diagonal_(0.05), torch.zeros(4))
    exact, coarse = (
        solve_head(train, validation, classes=4, pretrained=origin, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert coarse.l2 == exact.l2
    assert torch.allclose(coarse.solution.weight, exact.solution.weight, atol=1e-3)
    others = zip(coarse.history, exact.history, strict=True)
    assert any(one["val_loss"] != other["val_loss"] for one, other in others)  # that it was coarse at all


def test_the_chosen_line_tells_of_the_solution_that_is_kept() -> None:
    train, (x, y) = blobs(200), blobs(50, seed=1)
    fit = solve_head(train, (x, y), classes=4, precision="bfloat16")
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert chosen["val_loss"] == pytest.approx(float(F.cross_entropy(fit.solution.logits(x), y)), abs=1e-5)


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
        assert line["start"] in ("zero", "pretrained", "discriminant")
    assert [line["chosen"] for line in history].count(True) == 1


def test_it_is_repeatable_and_leaves_what_it_was_given() -> None:
    train, validation = blobs(80), blobs(40, seed=1)
    before = train[0].clone()
    one, other = (solve_head(train, validation, classes=4) for _ in range(2))
    assert torch.equal(one.solution.weight, other.solution.weight)
    assert torch.equal(train[0], before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_that_are_read_anew_in_each_pass_give_the_same(precision: str) -> None:
    train, validation = blobs(2500), blobs(1100, seed=1)
    origin = Solution(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.zeros(4))

    def read(data: Data) -> tuple[Kept, Tensor]:
        return Kept(data[0].numpy()), data[1]

    one = solve_head(train, validation, classes=4, pretrained=origin, precision=precision)
    other = solve_head(read(train), read(validation), classes=4, pretrained=origin, precision=precision)
    assert torch.equal(one.solution.weight, other.solution.weight)
    again = solve_again(one, train, validation), solve_again(one, read(train), read(validation))
    assert torch.equal(again[0].weight, again[1].weight)
    folds = [solve_head_by_folds(each, classes=4, l2=0.1)[1] for each in (train, read(train))]
    assert torch.equal(*folds)


def test_half_the_precision_is_what_the_store_keeps() -> None:
    (x, y), validation = blobs(300), blobs(100, seed=1)
    one, other = (solve_head((each, y), validation, classes=4, l2=0.1) for each in (x.half(), x.half().float()))
    assert torch.equal(one.solution.weight, other.solution.weight)


def test_two_parts_are_solved_as_one() -> None:
    x, y = blobs(3000)
    fit = solve_head((x, y), blobs(100, seed=1), classes=4)
    whole, parts = solve_again(fit, (x, y)), solve_again(fit, (x[:1100], y[:1100]), (x[1100:], y[1100:]))
    assert torch.allclose(whole.logits(x), parts.logits(x), atol=0.02)


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


# -- classes of different sizes ----------------------------------------------------------------------------------------


def rare(count: int, *, seed: int) -> Data:
    """Two clouds that overlap; one image in ten is of class 1."""
    x, y = blobs(20 * count, classes=2, seed=seed, spread=2)
    kept = torch.cat([torch.nonzero(y == 0)[: count * 9 // 10], torch.nonzero(y == 1)[: count // 10]]).flatten()
    return x[kept], y[kept]


@pytest.mark.parametrize("mode", ["loss", "logits"])
def test_balance_moves_the_decision_to_the_rare_class(mode: str) -> None:
    train, validation = rare(400, seed=0), rare(400, seed=1)
    plain = solve_head(train, validation, classes=2)
    fit = solve_head(train, validation, classes=2, balance=balance(train[1], 2, mode))

    def recalls(solution: Solution) -> list[float]:
        x, y = validation
        right = solution.logits(x).argmax(1) == y
        return [float(right[y == target].float().mean()) for target in (0, 1)]

    assert recalls(fit.solution)[1] > recalls(plain.solution)[1] + 0.1
    assert np.mean(recalls(fit.solution)) > np.mean(recalls(plain.solution)) + 0.05


def test_the_weighted_solution_is_that_of_scikit_learn() -> None:
    x, y = rare(300, seed=0)
    fit = plain_head((x, y), rare(100, seed=1), classes=2, l2=0.1, balance=balance(y, 2, "loss"))
    z, _ = scaled(x.double())
    # Two classes have one row there: that of two rows of half its length, whose penalty is half of its own.
    theirs = LogisticRegression(C=2 / (0.1 * len(y)), class_weight="balanced", tol=1e-10, max_iter=10_000)
    theirs.fit(z.numpy(), y.numpy())
    logits = fit.solution.logits(x)
    assert np.allclose(logits.softmax(1).numpy(), theirs.predict_proba(z.numpy()), atol=1e-3)


@pytest.mark.parametrize("mode", ["loss", "logits"])
def test_the_balanced_objective_has_one_optimum(mode: str) -> None:
    train, validation = rare(200, seed=0), rare(100, seed=1)
    told = balance(train[1], 2, mode)
    origin = Solution(torch.zeros(2, 6), torch.tensor([3.0, -3.0]))  # zero weights, another bias to start from
    fit = plain_head(train, validation, classes=2, l2=0.03, pretrained=origin, balance=told)
    one, other = fit.history
    assert one["val_loss"] == pytest.approx(other["val_loss"], abs=1e-4)
    weight, bias = fit.solution.weight.clone().requires_grad_(), fit.solution.bias.clone().requires_grad_()
    _, scale = scaled(train[0])
    loss = told.loss(F.linear(train[0], weight, bias), train[1]) + 0.015 * (weight * scale).square().sum()
    loss.backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float((weight.grad / scale).abs().max()) < 1e-3
    assert float(bias.grad.abs().max()) < 1e-4


def test_with_balance_the_loss_in_which_classes_count_alike_chooses() -> None:
    train, validation = rare(60, seed=0), rare(200, seed=1)
    fit = solve_head(train, validation, classes=2, balance=balance(train[1], 2, "loss"))
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert chosen["val_balanced_loss"] == min(line["val_balanced_loss"] for line in fit.history)
    logits, y = fit.solution.logits(validation[0]), validation[1]
    by_class = [float(F.cross_entropy(logits[y == target], y[y == target])) for target in (0, 1)]
    assert chosen["val_balanced_loss"] == pytest.approx(np.mean(by_class), abs=1e-4)
    assert chosen["val_loss"] == pytest.approx(float(F.cross_entropy(logits, y)), abs=1e-4)
    assert "val_balanced_loss" not in solve_head(train, validation, classes=2).history[0]


# -- by folds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [12, 24, 60])
def test_what_folds_choose_is_not_worse_than_chance_and_is_solved_on_all(count: int) -> None:
    train = blobs(count, spread=3)
    fit, logits = plain_head_by_folds(train, classes=4)
    assert logits.shape == (count, 4)
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert chosen["val_loss"] < np.log(4) + 0.15  # shares of classes must be learned too, of few images
    assert float(F.cross_entropy(logits, train[1])) == pytest.approx(chosen["val_loss"], abs=1e-4)
    assert float((logits.argmax(1) == train[1]).float().mean()) == pytest.approx(chosen["val_accuracy"])
    alone = plain_head(train, train, classes=4, l2=fit.l2)
    assert torch.allclose(fit.solution.weight, alone.solution.weight, atol=2e-3)
    assert torch.allclose(fit.solution.bias, alone.solution.bias, atol=2e-2)


def test_logits_out_of_fold_are_of_a_head_that_did_not_see_the_image() -> None:
    """Another label and other features of an image leave its fold's head as it is."""
    x, y = blobs(40)
    _, before = plain_head_by_folds((x, y), classes=4, l2=0.1)
    row = 7
    moved = x.clone()
    moved[row] += 1000
    _, after = plain_head_by_folds((moved, y), classes=4, l2=0.1)
    same = [bool(torch.equal(before[each], after[each])) for each in range(40)]
    # Those of its fold have the same head to the bit; all others' heads have seen the change.
    assert sum(same) == 7
    assert not same[row]


def test_labels_of_noise_cannot_be_known_out_of_fold() -> None:
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(60, 100)).astype(np.float32)), torch.from_numpy(rng.integers(0, 2, 60))
    fit, logits = plain_head_by_folds((x, y), classes=2, l2=1e-4)
    assert float((fit.solution.logits(x).argmax(1) == y).float().mean()) == 1  # more dimensions than images
    assert 0.25 < float((logits.argmax(1) == y).float().mean()) < 0.75


def test_every_class_with_two_images_stays_in_training() -> None:
    counts = [11, 7, 3, 2, 2, 1]
    y = torch.cat([torch.full((count,), target) for target, count in enumerate(counts)])
    for seed in range(10):
        own = _turns(y.numpy(), 5, seed)
        assert (np.sum(own, 0) == 1).all()  # each image is of one fold
        sizes = [int(each.sum()) for each in own]
        assert max(sizes) - min(sizes) <= 1
        for each in own:
            assert set(range(5)) <= set(y.numpy()[~each])
            shares = np.bincount(y.numpy()[each], minlength=6)
            assert (shares <= np.ceil(np.array(counts) / 5)).all()  # stratified


def test_a_class_with_one_image_has_logits_but_no_say() -> None:
    x, y = blobs(30, classes=3)
    x, y = torch.cat([x, 100 + x[:1]]), torch.cat([y, torch.tensor([3])])
    fit, logits = plain_head_by_folds((x, y), classes=4, folds=2)
    assert torch.isfinite(logits).all()
    assert int(logits[-1].argmax()) != 3
    assert int(fit.solution.logits(x)[-1].argmax()) == 3
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert chosen["val_loss"] == pytest.approx(float(F.cross_entropy(logits[:-1], y[:-1])), abs=1e-4)
    alone = plain_head((x, y), (x, y), classes=4, l2=fit.l2)
    assert torch.allclose(fit.solution.logits(x).softmax(1), alone.solution.logits(x).softmax(1), atol=5e-3)


def test_folds_choose_the_origin_too() -> None:
    right = plain_head(blobs(20_000, seed=2), blobs(500, seed=3), classes=4, l2=1e-4).solution
    few = blobs(24, seed=4)
    fit, logits = plain_head_by_folds(few, classes=4, pretrained=right)
    (chosen,) = [line for line in fit.history if line["chosen"]]
    assert chosen["start"] == "pretrained"
    assert {line["start"] for line in fit.history} == {"zero", "pretrained"}
    assert [(line["stage"], line["epoch"]) for line in fit.history] == [
        ("head", epoch) for epoch in range(1, len(fit.history) + 1)
    ]
    known = plain_head(few, few, classes=4, pretrained=right)
    assert set(fit.history[0]) == set(known.history[0])
    assert torch.dist(fit.solution.weight, right.weight) < torch.dist(torch.zeros(4, 6), right.weight) / 2
    again, same = plain_head_by_folds(few, classes=4, pretrained=right)
    assert torch.equal(logits, same)
    assert torch.equal(again.solution.weight, fit.solution.weight)
    _, others = plain_head_by_folds(few, classes=4, pretrained=right, seed=1)
    assert not torch.equal(logits, others)


def test_folds_with_balance() -> None:
    train, test = rare(100, seed=0), rare(400, seed=1)
    fit, _ = solve_head_by_folds(train, classes=2, balance=balance(train[1], 2, "logits"))
    plain, _ = solve_head_by_folds(train, classes=2)
    assert "val_balanced_loss" in fit.history[0]
    told = [int((each.solution.logits(test[0]).argmax(1) == 1).sum()) for each in (fit, plain)]
    assert told[0] > told[1]


def test_folds_that_cannot_be() -> None:
    with pytest.raises(DataError) as caught:
        solve_head_by_folds((torch.eye(3), torch.arange(3)), classes=3)
    assert str(caught.value) == "choosing by folds needs a class with two images at least: give more images of a class"
    with pytest.raises(ValueError, match="folds must be 2 or more, so that there are others to solve on, got 1"):
        solve_head_by_folds((torch.eye(4), torch.arange(4) % 2), classes=2, folds=1)


@pytest.mark.parametrize("mode", ["none", "loss"])
@pytest.mark.parametrize("start", ["zero", "pretrained"])
def test_solved_again_it_is_the_head_of_all_images_by_the_same_penalty(start: str, mode: str) -> None:
    train, validation = blobs(200), blobs(100, seed=1)
    both = (torch.cat([train[0], validation[0]]), torch.cat([train[1], validation[1]]))
    # As good an origin as can be, and none that helps.
    good = plain_head(both, both, classes=4, l2=1e-4).solution if start == "pretrained" else None
    fit = plain_head(train, validation, classes=4, pretrained=good, l2=0.3, balance=balance(train[1], 4, mode))
    assert fit.origin.name == start
    found = solve_again(fit, both, balance=balance(both[1], 4, mode))
    expected = plain_head(both, both, classes=4, pretrained=good, l2=0.3, balance=balance(both[1], 4, mode)).solution
    torch.testing.assert_close(found.logits(both[0]), expected.logits(both[0]), atol=2e-3, rtol=2e-3)
    assert not torch.allclose(found.weight, fit.solution.weight, rtol=1e-3)


def test_what_the_origin_gives_without_training() -> None:
    x, _ = blobs(50)
    origin = Solution(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.arange(4.0))
    given = origin.logits(x)
    assert torch.allclose(given, x @ origin.weight.T + origin.bias)
