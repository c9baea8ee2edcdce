"""Heads on blocks of features: the stages that are taken, their weight, and classes that a prior does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.train.class_balance import Balance
from headstart.train.heads import HeadFit, HeadProblem, LinearHead
from headstart.train.heads.lbfgs import LbfgsSolver
from headstart.train.heads.logistic import minimize
from headstart.train.heads.penalty import NO_STAGES, Penalty, StageChoice, parse_stages

Data = tuple[Tensor, Tensor]
BLOCKS = (8, 6, 4, 2)  # last features, and three stages from the last to the first


def solve(train: Data, validation: Data | None, **problem: Any) -> HeadFit:
    return LbfgsSolver().fit(train, validation, HeadProblem(classes=3, blocks=BLOCKS, kernel="none", **problem))


def blocks(count: int, *, informative: tuple[int, ...], seed: int = 0) -> Data:
    """Noise, in which the classes differ by the features of some blocks; stages of another scale than the last one."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    parts = []
    for number, size in enumerate(BLOCKS):
        centers = np.random.default_rng(number).normal(size=(3, size)) * (1.2 if number in informative else 0)
        parts.append((rng.normal(size=(count, size)) + centers[targets]) * 10.0**number + 5)
    return torch.from_numpy(np.concatenate(parts, 1).astype(np.float32)), torch.from_numpy(targets)


def three_parts(informative: tuple[int, ...]) -> tuple[Data, Data, Data]:
    return tuple(blocks(count, informative=informative, seed=seed) for seed, count in enumerate((90, 150, 900)))  # type: ignore[return-value]


def loss(head: LinearHead, data: Data) -> float:
    return float(F.cross_entropy(head.logits(data[0]), data[1]))


@pytest.mark.parametrize("folds", [False, True])
def test_stages_are_taken_where_they_help(folds: bool) -> None:
    train, validation, test = three_parts(informative=(0, 1))
    fit = solve(train, None if folds else validation)
    assert fit.stages is not None
    assert fit.stages.partition(":")[0] in ("late", "all")
    assert f"with stages {fit.stages}" in fit.description
    without = solve(train, None if folds else validation, stages="none")
    assert loss(fit.head, test) < loss(without.head, test) - 0.05


def test_all_stages_are_taken_where_the_early_ones_help() -> None:
    train, validation, test = three_parts(informative=(0, 1, 2, 3))
    fit = solve(train, validation)
    assert fit.stages is not None
    assert fit.stages.startswith("all:")
    assert loss(fit.head, test) < loss(solve(train, validation, stages="late:0.5").head, test)


def test_stages_of_noise_are_left_out() -> None:
    train, validation, _ = three_parts(informative=(0,))
    fit = solve(train, validation)
    assert fit.stages == "none"
    assert fit.head.weight.shape[1] == BLOCKS[0]
    assert {record.stages for record in fit.history} == {"none", "late:0.5", "late:0.25"}


def test_without_blocks_there_is_nothing_to_choose() -> None:
    train, validation, _ = three_parts(informative=(0, 1))
    fit = LbfgsSolver().fit(train, validation, HeadProblem(classes=3))
    assert fit.stages is None
    assert {record.stages for record in fit.history} == {None}


@pytest.mark.parametrize(("stages", "columns"), [("none", 8), ("late:0.5", 18), ("all:2", 20)])
def test_given_stages_are_the_only_ones_tried(stages: str, columns: int) -> None:
    train, validation, _ = three_parts(informative=(0, 1))
    fit = solve(train, validation, stages=stages)
    assert {record.stages for record in fit.history} == {stages}
    assert fit.head.weight.shape == (3, columns)
    again = LbfgsSolver().refit(fit, train, validation, problem=HeadProblem(classes=3, blocks=BLOCKS))
    assert again.weight.shape == (3, columns)


def test_a_weight_multiplies_the_features_of_the_stages() -> None:
    """The penalty divided by the square of the weight gives the head for features multiplied by the weight."""
    x, y = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    zero = LinearHead(torch.zeros(3, 5), torch.zeros(3))
    weighted = x * torch.tensor([1, 1, 1, 0.5, 0.5])
    plain = Penalty(0.01).strengths((5,), zero, bias=True)
    expected = minimize(zero, zero, [(weighted, y)], plain, Balance(), 300).logits(weighted)
    strengths = Penalty(0.01, StageChoice("all", 0.5)).strengths((3, 2), zero, bias=True)
    found = minimize(zero, zero, [(x, y)], strengths, Balance(), 300).logits(x)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_what_is_handed_out_is_the_best_of_what_was_judged() -> None:
    train, validation, _ = three_parts(informative=(0, 1))
    few = train[0][:6], train[1][:6]
    for data in (train, few):
        fit = solve(data, validation)
        (chosen,) = [record for record in fit.history if record.chosen]
        assert chosen.val_loss == min(record.val_loss for record in fit.history)
        assert chosen.val_loss == pytest.approx(loss(fit.head, validation), abs=1e-5)


def test_figures_of_a_choice_are_those_of_images_that_it_did_not_see() -> None:
    """Where nothing can be learned, the best of many heads looks better than chance on the images that chose it."""
    gains, honest = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = torch.from_numpy(rng.normal(size=(40, 20)).astype(np.float32))
        y = torch.from_numpy(rng.integers(0, 3, 40))
        validation = (x[20:], y[20:])
        fit = solve((x[:20], y[:20]), validation)
        best = min(record.val_loss for record in fit.history)
        gains.append(np.log(3) - best)
        honest.append(np.log(3) - float(F.cross_entropy(fit.validation_logits, validation[1])))
    assert np.mean(honest) < np.mean(gains)
    assert np.mean(honest) < 0


def test_a_huge_penalty_keeps_the_known_rows_and_lets_new_classes_be_learned() -> None:
    train, validation, test = three_parts(informative=(0,))
    good = solve(train, validation, stages="none").head
    known = torch.tensor([True, True, False])
    rows = LinearHead(good.weight * known[:, None], good.bias * known, known)
    fit = solve(train, validation, pretrained=rows, l2=1e5, stages="none", discriminant=False)
    assert fit.prior == "pretrained"
    torch.testing.assert_close(fit.head.weight[known], rows.weight[known], atol=1e-3, rtol=1e-3)
    assert fit.head.weight[2].norm() > 0.1 * good.weight[2].norm()
    assert loss(fit.head, test) < loss(rows, test) - 0.1


def test_the_bias_is_drawn_to_that_of_the_pretrained_rows() -> None:
    """With an image or two of a class, a bias that nothing holds is fitted to them."""
    train, validation, _ = three_parts(informative=(0,))
    good = solve(train, validation, stages="none").head
    fit = solve(train, validation, pretrained=good, l2=1e6, stages="none", discriminant=False)
    assert fit.prior == "pretrained"
    torch.testing.assert_close(fit.head.bias, good.bias, atol=1e-3, rtol=1e-3)


def test_where_only_the_pretrained_rows_are_good_nothing_else_is_tried_at_length() -> None:
    good = solve(*three_parts(informative=(0,))[:2], stages="none").head
    train, validation = blocks(6, informative=(0,), seed=7), blocks(150, informative=(0,), seed=8)
    given = HeadProblem(classes=3, blocks=BLOCKS, pretrained=good, stages="late:0.5")
    fit = LbfgsSolver().fit(train, validation, given)
    tried = {(record.prior, record.kernel) for record in fit.history}
    assert fit.prior == "pretrained"
    assert tried == {("zero", None), ("pretrained", None), ("discriminant", None)}
    without = LbfgsSolver().fit(train, validation, HeadProblem(classes=3, blocks=BLOCKS, stages="late:0.5"))
    assert ("joint discriminant", None) in {(record.prior, record.kernel) for record in without.history}


@pytest.mark.parametrize("text", ["none", "late:0.5", "all:0.25", "all:1"])
def test_texts_of_choices(text: str) -> None:
    assert str(parse_stages(text)) == text


@pytest.mark.parametrize("text", ["", "auto", "late", "late:0", "all:-1", "early:1", "late:x"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        parse_stages(text)


def test_blocks_of_a_choice() -> None:
    assert [StageChoice("late").blocks(count) for count in (2, 3, 4, 5, 8)] == [2, 2, 3, 3, 5]
    assert (NO_STAGES.blocks(5), StageChoice("all").blocks(5)) == (1, 5)
