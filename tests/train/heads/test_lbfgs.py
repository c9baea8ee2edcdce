from __future__ import annotations

import warnings
from dataclasses import asdict
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
from headstart.evaluate.schema import EpochRecord
from headstart.features.sources import InMemoryFeatures
from headstart.train.class_balance import Balance, class_balance
from headstart.train.heads import HeadFit, HeadProblem, LabeledVectors
from headstart.train.heads.cross_validation import fold_masks
from headstart.train.heads.lbfgs import LbfgsSolver
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.regularization_path import L2_GRID

Data = tuple[Tensor, Tensor]


def solve(train: LabeledVectors, validation: LabeledVectors, **problem: Any) -> HeadFit:
    return LbfgsSolver().fit(train, validation, HeadProblem(**problem))


def cross_validate(train: LabeledVectors, *, folds: int = 5, **problem: Any) -> tuple[HeadFit, Tensor]:
    """The fit, and its out-of-fold logits."""
    fit = LbfgsSolver(folds).fit(train, None, HeadProblem(**problem))
    return fit, fit.validation_logits


def refit(fit: HeadFit, *splits: LabeledVectors, balance: Balance | None = None) -> LinearHead:
    return LbfgsSolver().refit(fit, *splits, problem=HeadProblem(len(fit.head.bias), balance=balance))


# Only the penalty. The discriminant prior is tested in test_priors.py.
plain_solve = partial(solve, discriminant=False)
plain_cross_validate = partial(cross_validate, discriminant=False)


def chosen_record(fit: HeadFit) -> EpochRecord:
    (chosen,) = [record for record in fit.history if record.chosen]
    return chosen


def blobs(count: int, *, classes: int = 4, size: int = 6, seed: int = 0, spread: float = 1.5) -> Data:
    """Overlapping clusters, off the origin and not of unit scale, like features."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(classes, size))
    targets = rng.integers(0, classes, count)
    x = 7 + 5 * (centers[targets] + spread * rng.normal(size=(count, size)))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(targets)


def scaled(x: Tensor) -> tuple[Tensor, float]:
    centered = x - x.mean(0)
    scale = float(centered.square().mean().sqrt())
    return centered / scale, scale


def objective(head: LinearHead, x: Tensor, y: Tensor, l2: float) -> float:
    """The objective as documented: on scaled features."""
    _, scale = scaled(x)
    penalty = 0.5 * l2 * (head.weight * scale).square().sum()
    return float(F.cross_entropy(x @ head.weight.T + head.bias, y) + penalty)


@pytest.mark.parametrize("l2", [1.0, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("classes", [3, 5])
def test_the_head_equals_that_of_scikit_learn(l2: float, classes: int) -> None:
    x, y = blobs(300, classes=classes)
    fit = plain_solve((x, y), blobs(50, classes=classes, seed=1), classes=classes, l2=l2)
    z, scale = scaled(x.double())
    theirs = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=10_000).fit(z.numpy(), y.numpy())
    ours = fit.head
    assert np.allclose(ours.weight.numpy() * scale, theirs.coef_, atol=1e-3)
    logits = x @ ours.weight.T + ours.bias
    assert np.allclose(logits.softmax(1).numpy(), theirs.predict_proba(z.numpy()), atol=3e-4)
    weight = torch.from_numpy(theirs.coef_ / scale).float()
    bias = torch.from_numpy(theirs.intercept_).float() - weight @ x.mean(0)
    assert objective(ours, x, y, l2) <= objective(LinearHead(weight, bias), x, y, l2) + 1e-6


def test_shift_and_scale_of_the_features_do_not_matter() -> None:
    x, y = blobs(200)
    checks = blobs(80, seed=1)
    one = solve((x, y), checks, classes=4, l2=0.1)
    other = solve((100 * x - 3, y), (100 * checks[0] - 3, checks[1]), classes=4, l2=0.1)
    assert other.history[0].val_loss == pytest.approx(one.history[0].val_loss, abs=1e-4)
    assert torch.allclose(one.head.weight, 100 * other.head.weight, atol=1e-3)


@pytest.mark.parametrize("l2", [10.0, 1e3, 1e6])
def test_a_huge_penalty_yields_the_prior(l2: float) -> None:
    x, y = blobs(200)
    frequencies = torch.bincount(y, minlength=4) / len(y)
    zero = plain_solve((x, y), blobs(50, seed=1), classes=4, l2=l2)
    # The bias alone predicts the class frequencies, whose log-loss is their entropy.
    entropy = float(-(frequencies * frequencies.log()).sum())
    assert zero.history[0].loss == pytest.approx(entropy, abs=1 / l2)
    assert zero.head.weight.abs().max() < 1 / l2

    # Each row is the mean of its class, so that they validate better than zero.
    prior = LinearHead(torch.stack([x[y == target].mean(0) for target in range(4)]) / 50, torch.zeros(4))
    fit = plain_solve((x, y), blobs(50, seed=1), classes=4, l2=l2, pretrained=prior)
    chosen = chosen_record(fit)
    assert [record.prior for record in fit.history] == ["zero", "pretrained"]
    assert chosen.prior == "pretrained"
    assert torch.allclose(fit.head.weight, prior.weight, atol=1 / l2)
    # Of scaled features: the mean image keeps the logits that the prior gives it.
    assert torch.allclose(fit.head.logits(x.mean(0)[None]), prior.logits(x.mean(0)[None]), atol=20 / l2)


def test_the_penalty_pulls_to_the_pretrained_rows() -> None:
    """The true head as the prior validates better than zero, and a strong penalty keeps it."""
    many = blobs(20_000, seed=2)
    right = plain_solve(many, blobs(500, seed=3), classes=4, l2=1e-4).head
    few = blobs(24, seed=4)
    fit = plain_solve(few, blobs(2000, seed=5), classes=4, pretrained=right)
    chosen = chosen_record(fit)
    assert chosen.prior == "pretrained"
    best_from_zero = min(record.val_loss for record in fit.history if record.prior == "zero")
    assert chosen.val_loss < best_from_zero - 0.02
    assert torch.dist(fit.head.weight, right.weight) < torch.dist(torch.zeros(4, 6), right.weight) / 2


def test_the_head_that_validates_best_is_returned() -> None:
    train, validation = blobs(150), blobs(100, seed=1)
    prior = LinearHead(torch.zeros(4, 6).fill_diagonal_(0.05), torch.zeros(4))
    fit = solve(train, validation, classes=4, pretrained=prior)
    losses = [record.val_loss for record in fit.history]
    chosen = chosen_record(fit)
    assert chosen.val_loss == min(losses)
    assert fit.l2 == chosen.l2
    logits = validation[0] @ fit.head.weight.T + fit.head.bias
    assert float(F.cross_entropy(logits, validation[1])) == pytest.approx(chosen.val_loss, abs=1e-4)
    assert float((logits.argmax(1) == validation[1]).float().mean()) == pytest.approx(chosen.val_accuracy)


def _digits() -> tuple[Data, Data]:
    digits = load_digits()
    x, y = torch.from_numpy(digits.data).float(), torch.from_numpy(digits.target)
    return (x[:500], y[:500]), (x[500:1000], y[500:1000])


CASES: dict[str, Any] = {
    "digits": (_digits, 10),
    "few images, which need a strong penalty": (lambda: (blobs(12, spread=3), blobs(300, seed=1, spread=3)), 4),
    "many images, which need a weak one": (lambda: (blobs(3000, spread=0.3), blobs(300, seed=1, spread=0.3)), 4),
    "as many dimensions as images": (lambda: (blobs(60, size=60), blobs(300, size=60, seed=1)), 4),
}


@pytest.mark.parametrize("name", CASES)
def test_the_path_finds_the_best_penalty_of_the_grid(name: str) -> None:
    make, classes = CASES[name]
    train, validation = make()
    path = plain_solve(train, validation, classes=classes)
    by_all = {l2: plain_solve(train, validation, classes=classes, l2=l2).history[0].val_loss for l2 in L2_GRID}
    chosen = chosen_record(path)
    assert chosen.val_loss <= min(by_all.values()) * 1.01 + 1e-3
    assert len(path.history) < 0.7 * len(L2_GRID)
    tried = [record.l2 for record in path.history]
    assert tried == sorted(tried, reverse=True)
    assert set(tried) <= set(L2_GRID)


def test_a_given_penalty_is_the_only_one_tried() -> None:
    fit = plain_solve(blobs(60), blobs(30, seed=1), classes=4, l2=0.3)
    assert [(record.l2, record.chosen) for record in fit.history] == [(0.3, True)]
    assert plain_solve(blobs(60), blobs(30, seed=1), classes=4, l2=0).l2 == 0


def test_bfloat16_is_for_the_search_and_not_for_the_head() -> None:
    train, validation = blobs(3000, size=32), blobs(300, size=32, seed=1)
    prior = LinearHead(torch.zeros(4, 32).fill_diagonal_(0.05), torch.zeros(4))
    exact, coarse = (
        solve(train, validation, classes=4, pretrained=prior, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert coarse.l2 == exact.l2
    assert torch.allclose(coarse.head.weight, exact.head.weight, atol=1e-3)
    others = zip(coarse.history, exact.history, strict=True)
    assert any(one.val_loss != other.val_loss for one, other in others)  # it did search in bfloat16


def test_the_chosen_record_describes_the_returned_head() -> None:
    train, (x, y) = blobs(200), blobs(50, seed=1)
    fit = solve(train, (x, y), classes=4, precision="bfloat16")
    chosen = chosen_record(fit)
    assert chosen.val_loss == pytest.approx(float(F.cross_entropy(fit.head.logits(x), y)), abs=1e-5)


def test_history_records_are_complete() -> None:
    prior = LinearHead(torch.zeros(4, 6).fill_diagonal_(0.05), torch.zeros(4))
    history = solve(blobs(60), blobs(30, seed=1), classes=4, pretrained=prior).history
    for epoch, record in enumerate(history, 1):
        unset = {name for name, value in asdict(record).items() if value in (None, "")}
        assert unset == {"trial", "val_balanced_loss", "lr", "stages", "kernel"}
        assert (record.stage, record.epoch) == ("head", epoch)
        assert record.prior in ("zero", "pretrained", "discriminant")
    assert [record.chosen for record in history].count(True) == 1


def test_solving_is_deterministic_and_leaves_its_input_alone() -> None:
    train, validation = blobs(80), blobs(40, seed=1)
    before = train[0].clone()
    one, other = (solve(train, validation, classes=4) for _ in range(2))
    assert torch.equal(one.head.weight, other.head.weight)
    assert torch.equal(train[0], before)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_outside_of_memory_give_the_same_head(precision: str) -> None:
    train, validation = blobs(2500), blobs(1100, seed=1)
    prior = LinearHead(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.zeros(4))

    def read(data: Data) -> tuple[InMemoryFeatures, Tensor]:
        return InMemoryFeatures(data[0].numpy()), data[1]

    one = solve(train, validation, classes=4, pretrained=prior, precision=precision)
    other = solve(read(train), read(validation), classes=4, pretrained=prior, precision=precision)
    assert torch.equal(one.head.weight, other.head.weight)
    again = refit(one, train, validation), refit(one, read(train), read(validation))
    assert torch.equal(again[0].weight, again[1].weight)
    folds = [cross_validate(each, classes=4, l2=0.1)[1] for each in (train, read(train))]
    assert torch.equal(*folds)


def test_float16_features_are_solved_in_float32() -> None:
    (x, y), validation = blobs(300), blobs(100, seed=1)
    one, other = (solve((each, y), validation, classes=4, l2=0.1) for each in (x.half(), x.half().float()))
    assert torch.equal(one.head.weight, other.head.weight)


def test_two_splits_are_solved_as_one() -> None:
    x, y = blobs(3000)
    fit = solve((x, y), blobs(100, seed=1), classes=4)
    whole, parts = refit(fit, (x, y)), refit(fit, (x[:1100], y[:1100]), (x[1100:], y[1100:]))
    assert torch.allclose(whole.logits(x), parts.logits(x), atol=0.02)


def test_features_without_variance_do_not_divide_by_zero() -> None:
    x, y = torch.ones(8, 3), torch.tensor([0, 1] * 4)
    fit = solve((x, y), (x, y), classes=2)
    assert fit.history[0].val_loss == pytest.approx(np.log(2))
    assert torch.isfinite(fit.head.weight).all()


def test_separable_classes_and_a_class_without_validation_images() -> None:
    x = torch.eye(3).repeat(5, 1)
    y = torch.arange(3).repeat(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = solve((x, y), (x[:2], y[:2]), classes=3)
    assert [record.val_accuracy for record in fit.history] == [1.0] * len(fit.history)


# -- imbalanced classes ------------------------------------------------------------------------------------------------


def rare(count: int, *, seed: int) -> Data:
    """Two overlapping clusters; one image in ten is of class 1."""
    x, y = blobs(20 * count, classes=2, seed=seed, spread=2)
    kept = torch.cat([torch.nonzero(y == 0)[: count * 9 // 10], torch.nonzero(y == 1)[: count // 10]]).flatten()
    return x[kept], y[kept]


@pytest.mark.parametrize("mode", ["weights", "logit-adjust"])
def test_balance_raises_the_recall_of_the_rare_class(mode: str) -> None:
    train, validation = rare(400, seed=0), rare(400, seed=1)
    plain = solve(train, validation, classes=2)
    fit = solve(train, validation, classes=2, balance=class_balance(train[1], 2, mode))

    def recalls(head: LinearHead) -> list[float]:
        x, y = validation
        right = head.logits(x).argmax(1) == y
        return [float(right[y == target].float().mean()) for target in (0, 1)]

    assert recalls(fit.head)[1] > recalls(plain.head)[1] + 0.1
    assert np.mean(recalls(fit.head)) > np.mean(recalls(plain.head)) + 0.05


def test_the_weighted_head_equals_that_of_scikit_learn() -> None:
    x, y = rare(300, seed=0)
    fit = plain_solve((x, y), rare(100, seed=1), classes=2, l2=0.1, balance=class_balance(y, 2, "weights"))
    z, _ = scaled(x.double())
    # For two classes scikit-learn has one row: two rows of half its length have half of its penalty.
    theirs = LogisticRegression(C=2 / (0.1 * len(y)), class_weight="balanced", tol=1e-10, max_iter=10_000)
    theirs.fit(z.numpy(), y.numpy())
    logits = fit.head.logits(x)
    assert np.allclose(logits.softmax(1).numpy(), theirs.predict_proba(z.numpy()), atol=1e-3)


@pytest.mark.parametrize("mode", ["weights", "logit-adjust"])
def test_the_balanced_objective_has_one_optimum(mode: str) -> None:
    train, validation = rare(200, seed=0), rare(100, seed=1)
    balance = class_balance(train[1], 2, mode)
    fit = plain_solve(train, validation, classes=2, l2=0.03, balance=balance)
    weight, bias = fit.head.weight.clone().requires_grad_(), fit.head.bias.clone().requires_grad_()
    _, scale = scaled(train[0])
    loss = balance.loss(F.linear(train[0], weight, bias), train[1]) + 0.015 * (weight * scale).square().sum()
    loss.backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float((weight.grad / scale).abs().max()) < 1e-3
    assert float(bias.grad.abs().max()) < 1e-4


def test_with_balance_the_balanced_loss_chooses() -> None:
    train, validation = rare(60, seed=0), rare(200, seed=1)
    fit = solve(train, validation, classes=2, balance=class_balance(train[1], 2, "weights"))
    chosen = chosen_record(fit)
    losses = [record.val_balanced_loss for record in fit.history if record.val_balanced_loss is not None]
    assert len(losses) == len(fit.history)
    assert chosen.val_balanced_loss == min(losses)
    logits, y = fit.head.logits(validation[0]), validation[1]
    by_class = [float(F.cross_entropy(logits[y == target], y[y == target])) for target in (0, 1)]
    assert chosen.val_balanced_loss == pytest.approx(np.mean(by_class), abs=1e-4)
    assert chosen.val_loss == pytest.approx(float(F.cross_entropy(logits, y)), abs=1e-4)
    assert solve(train, validation, classes=2).history[0].val_balanced_loss is None


# -- cross-validation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [12, 24, 60])
def test_cross_validation_beats_chance_and_solves_on_all_images(count: int) -> None:
    train = blobs(count, spread=3)
    fit, logits = plain_cross_validate(train, classes=4)
    assert logits.shape == (count, 4)
    chosen = chosen_record(fit)
    assert chosen.val_loss < np.log(4) + 0.15  # the class frequencies are learned from few images too
    # The logits are those of heads that other images chose: not as good as the figures that chose them.
    assert chosen.val_loss <= float(F.cross_entropy(logits, train[1])) < np.log(4) + 0.6
    given, logits = plain_cross_validate(train, classes=4, l2=fit.l2)
    assert float(F.cross_entropy(logits, train[1])) == pytest.approx(chosen_record(given).val_loss, abs=1e-4)
    alone = plain_solve(train, train, classes=4, l2=fit.l2)
    assert torch.allclose(fit.head.weight, alone.head.weight, atol=2e-3)
    assert torch.allclose(fit.head.bias, alone.head.bias, atol=2e-2)


def test_out_of_fold_logits_come_from_a_head_without_the_image() -> None:
    x, y = blobs(40)
    _, before = plain_cross_validate((x, y), classes=4, l2=0.1)
    row = 7
    changed = x.clone()
    changed[row] += 1000
    _, after = plain_cross_validate((changed, y), classes=4, l2=0.1)
    same = [bool(torch.equal(before[each], after[each])) for each in range(40)]
    # The other images of its fold have the same head as before; every other head was solved with the changed image.
    assert sum(same) == 7
    assert not same[row]


def test_random_labels_cannot_be_predicted_out_of_fold() -> None:
    rng = np.random.default_rng(0)
    x, y = torch.from_numpy(rng.normal(size=(60, 100)).astype(np.float32)), torch.from_numpy(rng.integers(0, 2, 60))
    fit, logits = plain_cross_validate((x, y), classes=2, l2=1e-4)
    assert float((fit.head.logits(x).argmax(1) == y).float().mean()) == 1  # more dimensions than images
    assert 0.25 < float((logits.argmax(1) == y).float().mean()) < 0.75


def test_folds_are_stratified() -> None:
    counts = [11, 7, 3, 2, 2, 1]
    y = torch.cat([torch.full((count,), target) for target, count in enumerate(counts)])
    for seed in range(10):
        masks = fold_masks(y.numpy(), 5, seed)
        assert (np.sum(masks, 0) == 1).all()  # each image is in one fold
        sizes = [int(each.sum()) for each in masks]
        assert max(sizes) - min(sizes) <= 1
        for each in masks:
            assert set(range(5)) <= set(y.numpy()[~each])
            images = np.bincount(y.numpy()[each], minlength=6)
            assert (images <= np.ceil(np.array(counts) / 5)).all()  # stratified


def test_a_class_with_one_image_does_not_count_in_the_choice() -> None:
    x, y = blobs(30, classes=3)
    x, y = torch.cat([x, 100 + x[:1]]), torch.cat([y, torch.tensor([3])])
    fit, logits = plain_cross_validate((x, y), classes=4, folds=2, l2=0.01)
    assert torch.isfinite(logits).all()
    assert int(logits[-1].argmax()) != 3
    assert int(fit.head.logits(x)[-1].argmax()) == 3
    chosen = chosen_record(fit)
    assert chosen.val_loss == pytest.approx(float(F.cross_entropy(logits[:-1], y[:-1])), abs=1e-4)
    alone = plain_solve((x, y), (x, y), classes=4, l2=fit.l2)
    assert torch.allclose(fit.head.logits(x).softmax(1), alone.head.logits(x).softmax(1), atol=5e-3)


def test_cross_validation_chooses_the_prior_too() -> None:
    right = plain_solve(blobs(20_000, seed=2), blobs(500, seed=3), classes=4, l2=1e-4).head
    few = blobs(24, seed=4)
    fit, logits = plain_cross_validate(few, classes=4, pretrained=right)
    chosen = chosen_record(fit)
    assert chosen.prior == "pretrained"
    assert {record.prior for record in fit.history} == {"zero", "pretrained"}
    assert [(record.stage, record.epoch) for record in fit.history] == [
        ("head", epoch) for epoch in range(1, len(fit.history) + 1)
    ]
    assert torch.dist(fit.head.weight, right.weight) < torch.dist(torch.zeros(4, 6), right.weight) / 2
    again, same = plain_cross_validate(few, classes=4, pretrained=right)
    assert torch.equal(logits, same)
    assert torch.equal(again.head.weight, fit.head.weight)
    _, others = plain_cross_validate(few, classes=4, pretrained=right, seed=1)
    assert not torch.equal(logits, others)


def test_cross_validation_with_balance() -> None:
    train, test = rare(100, seed=0), rare(400, seed=1)
    fit, _ = cross_validate(train, classes=2, balance=class_balance(train[1], 2, "logit-adjust"))
    plain, _ = cross_validate(train, classes=2)
    assert fit.history[0].val_balanced_loss is not None
    predicted = [int((each.head.logits(test[0]).argmax(1) == 1).sum()) for each in (fit, plain)]
    assert predicted[0] > predicted[1]


def test_impossible_folds_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        cross_validate((torch.eye(3), torch.arange(3)), classes=3)
    assert str(caught.value) == (
        "cross-validation needs a class with at least two images: add images to one of the classes"
    )
    with pytest.raises(ValueError, match="folds must be 2 or more, got 1"):
        cross_validate((torch.eye(4), torch.arange(4) % 2), classes=2, folds=1)


@pytest.mark.parametrize("mode", ["none", "weights"])
@pytest.mark.parametrize("prior", ["zero", "pretrained"])
def test_refit_solves_on_all_images_with_the_same_penalty(prior: str, mode: str) -> None:
    train, validation = blobs(200), blobs(100, seed=1)
    both = (torch.cat([train[0], validation[0]]), torch.cat([train[1], validation[1]]))
    # The best possible prior, or the usual one.
    good = plain_solve(both, both, classes=4, l2=1e-4).head if prior == "pretrained" else None
    fit = plain_solve(train, validation, classes=4, pretrained=good, l2=0.3, balance=class_balance(train[1], 4, mode))
    assert fit.prior == prior
    found = refit(fit, both, balance=class_balance(both[1], 4, mode))
    expected = plain_solve(both, both, classes=4, pretrained=good, l2=0.3, balance=class_balance(both[1], 4, mode)).head
    torch.testing.assert_close(found.logits(both[0]), expected.logits(both[0]), atol=2e-3, rtol=2e-3)
    assert not torch.allclose(found.weight, fit.head.weight, rtol=1e-3)


def test_refit_refuses_the_fit_of_another_solver() -> None:
    data = blobs(20)
    other = HeadFit(LinearHead(torch.zeros(4, 6), torch.zeros(4)), (), torch.zeros(20, 4))
    with pytest.raises(TypeError, match="refit needs the result of fit of the same solver"):
        refit(other, data)


def test_forecasts_grow_with_images_and_folds() -> None:
    def forecast(images: int, *, cross_validated: bool = False) -> float:
        return LbfgsSolver().forecast(images, 64, 4, device="cpu", cross_validated=cross_validated)

    assert 0 < forecast(2048) < forecast(20_480_000) < forecast(204_800_000, cross_validated=True)


def test_logits_of_a_linear_head() -> None:
    x, _ = blobs(50)
    prior = LinearHead(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), torch.arange(4.0))
    assert torch.allclose(prior.logits(x), x @ prior.weight.T + prior.bias)
