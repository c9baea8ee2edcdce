"""Heads on a radial kernel of the features."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RBF
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import DataError
from headstart.features.sources import InMemoryFeatures
from headstart.models.stage_head import Stage, StageHead
from headstart.train.class_balance import class_balance
from headstart.train.heads import HeadFit, HeadProblem, KernelHead, LinearHead, lbfgs
from headstart.train.heads.kernel import KernelFeatures, parse_kernel
from headstart.train.heads.lbfgs import LbfgsSolver
from headstart.train.heads.penalty import NO_STAGES, StageChoice
from headstart.train.heads.vectors import Scaling, VectorDataset

Data = tuple[Tensor, Tensor]
BLOCKS = (6, 4, 2)


def solve(train: Any, validation: Data | None, **problem: Any) -> HeadFit:
    return LbfgsSolver().fit(train, validation, HeadProblem(**{"classes": 3, "blocks": BLOCKS, **problem}))


def rings(count: int, seed: int = 0) -> Data:
    """Classes that differ by the distance from the center alone, but for a hint in one feature of the first stage."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    x = rng.normal(size=(count, sum(BLOCKS)))
    x *= (1 + targets[:, None]) / np.linalg.norm(x, axis=1, keepdims=True) + rng.normal(size=(count, 1)) / 20
    x[:, BLOCKS[0]] += targets / 4
    return torch.from_numpy((x * np.repeat([1, 10, 0.1], BLOCKS) + 3).astype(np.float32)), torch.from_numpy(targets)


def shifts(count: int, seed: int = 0) -> Data:
    """Classes that differ by their means alone."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    centers = np.random.default_rng(99).normal(size=(3, sum(BLOCKS)))
    return torch.from_numpy((rng.normal(size=(count, sum(BLOCKS))) + centers[targets]).astype(np.float32)), (
        torch.from_numpy(targets)
    )


def three_parts(make: Any) -> tuple[Data, Data, Data]:
    return make(240), make(240, seed=1), make(900, seed=2)


def loss(head: Any, data: Data) -> float:
    return float(F.cross_entropy(head.logits(data[0]), data[1]))


def test_a_kernel_is_taken_where_classes_are_curved() -> None:
    train, validation, test = three_parts(rings)
    fit = solve(train, validation)
    assert isinstance(fit.head, KernelHead)
    assert fit.kernel is not None
    assert f", kernel {fit.kernel}" in fit.description
    without = solve(train, validation, kernel="none")
    assert isinstance(without.head, LinearHead)
    assert {record.kernel for record in without.history} == {None}
    assert loss(fit.head, test) < loss(without.head, test) - 0.2
    (chosen,) = [record for record in fit.history if record.chosen]
    assert (chosen.kernel, chosen.stages, chosen.l2) == (fit.kernel, fit.stages, fit.l2)
    assert [record.epoch for record in fit.history] == list(range(1, len(fit.history) + 1))


def test_the_lowest_validation_loss_decides() -> None:
    taken = set()
    for count in (30, 45, 60, 90):
        fit = solve(shifts(count), shifts(240, seed=1))
        (chosen,) = [record for record in fit.history if record.chosen]
        assert chosen.val_loss == min(record.val_loss for record in fit.history)
        assert len({record.kernel for record in fit.history}) > 1  # it was tried
        assert isinstance(fit.head, LinearHead if fit.kernel is None else KernelHead)
        taken.add(fit.kernel is not None)
    assert False in taken


def test_without_stages_no_kernel_is_tried_unless_it_is_given() -> None:
    train, validation, test = three_parts(rings)
    fit = solve(train, validation, stages="none")
    assert {record.kernel for record in fit.history} == {None}
    given = solve(train, validation, stages="none", kernel="rbf:0.5")
    assert isinstance(given.head, KernelHead)
    assert given.head.features.landmarks.shape == (240, BLOCKS[0])
    assert loss(given.head, test) < loss(fit.head, test)


def test_a_given_kernel_is_the_only_one() -> None:
    train, validation, _ = three_parts(shifts)
    fit = solve(train, validation, kernel="rbf:0.3")
    assert fit.kernel == "rbf:0.3"
    assert {record.kernel for record in fit.history} == {None, "rbf:0.3"}  # the stages are chosen without it
    assert isinstance(fit.head, KernelHead)
    assert torch.equal(fit.head.logits(validation[0]).argmax(1), fit.validation_logits.argmax(1))


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_features_approximate_the_kernel_of_scikit_learn(weight: float) -> None:
    x, y = rings(60)
    scaling = Scaling(VectorDataset((x, y)), BLOCKS)
    mapped = KernelFeatures.of(x, scaling, StageChoice("all", weight), 0.4, seed=0)(x)
    weighted = scaling(x).numpy() * np.repeat([1, weight, weight], BLOCKS)
    norm = (weighted**2).sum(1).mean()
    assert norm == pytest.approx(BLOCKS[0] * (1 + 2 * weight**2), rel=1e-4)
    expected = RBF(length_scale=(norm / 0.4 / 2) ** 0.5)(weighted)
    assert np.allclose(mapped @ mapped.T, expected, atol=1e-3)


def test_repeated_images_do_not_enlarge_rounding_errors() -> None:
    x, y = rings(40)
    twice = torch.cat([x, x])
    scaling = Scaling(VectorDataset((twice, torch.cat([y, y]))), BLOCKS)
    kernel = KernelFeatures.of(twice, scaling, NO_STAGES, 0.4, seed=0)
    assert kernel.whitening.abs().max() < 100
    mapped = kernel(x)
    assert (mapped.square().sum(1) - 1).abs().max() < 1e-2


def test_stage_head_computes_the_same() -> None:
    train, validation, test = three_parts(rings)
    fit = solve(train, validation, kernel="rbf:0.3", stages="late:0.5")
    assert isinstance(fit.head, KernelHead)
    head = StageHead([Stage("b", 4, "NCHW"), Stage("a", 2, "NCHW")], classes=3, features=BLOCKS[0])
    head.load_state_dict({"weight": torch.zeros(3, 6), **fit.head.buffers()})
    features, vectors = torch.split(test[0], [BLOCKS[0], 6], 1)
    torch.testing.assert_close(head(features, vectors) + fit.head.bias, fit.head.logits(test[0]), atol=1e-3, rtol=1e-4)


def test_logits_of_several_views_are_averaged() -> None:
    train, validation, test = three_parts(rings)
    other = test[0] + torch.randn(test[0].shape, generator=torch.Generator().manual_seed(0)) / 10
    fit = solve(train, validation, kernel="rbf:0.3")
    mean = (fit.head.logits(test[0]) + fit.head.logits(other)) / 2
    torch.testing.assert_close(fit.head.logits(torch.stack([test[0], other], 1)), mean, atol=1e-4, rtol=1e-4)
    views = [(torch.stack([x, x + 0.01], 1), y) for x, y in (train, validation)]
    of_views = solve(*views, kernel="rbf:0.3")
    assert of_views.head.logits(views[1][0]).argmax(1).equal(of_views.validation_logits.argmax(1))


def test_refit_keeps_the_kernel_and_uses_all_images() -> None:
    train, validation, test = three_parts(rings)
    problem = HeadProblem(classes=3, blocks=BLOCKS, kernel="rbf:0.3")
    fit = LbfgsSolver().fit(train, validation, problem)
    head = LbfgsSolver().refit(fit, train, validation, problem=problem)
    assert isinstance(head, KernelHead)
    assert isinstance(fit.head, KernelHead)
    assert torch.equal(head.features.landmarks, fit.head.features.landmarks)
    assert loss(head, test) < loss(fit.head, test)


def test_class_balance_chooses_the_kernel_too() -> None:
    x, y = rings(600)
    kept = (y != 2) | (torch.arange(600) % 20 == 2)
    train, validation = (x[:300][kept[:300]], y[:300][kept[:300]]), (x[300:][kept[300:]], y[300:][kept[300:]])
    fit = solve(train, validation, balance=class_balance(train[1], 3, "weights"))
    (chosen,) = [record for record in fit.history if record.chosen]
    assert chosen.val_balanced_loss == min(record.val_balanced_loss or 9 for record in fit.history)


def test_features_outside_of_memory_have_no_kernel() -> None:
    train, validation, _ = three_parts(rings)
    stored = InMemoryFeatures(train[0].numpy()), train[1]
    assert {record.kernel for record in solve(stored, validation).history} == {None}
    with pytest.raises(DataError, match=r"--kernel rbf:0.3: the features of these images do not fit into memory"):
        solve(stored, validation, kernel="rbf:0.3")


def test_of_too_many_images_no_kernel_is_tried_unless_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    train, validation, _ = three_parts(rings)
    monkeypatch.setattr(lbfgs, "MAX_IMAGES", len(train[1]) - 1)
    assert {record.kernel for record in solve(train, validation).history} == {None}
    assert solve(train, validation, kernel="rbf:0.3").kernel == "rbf:0.3"


def test_cross_validation_has_no_kernel() -> None:
    train, _, _ = three_parts(rings)
    assert {record.kernel for record in solve(train, None).history} == {None}
    with pytest.raises(DataError, match=r"--kernel rbf:0.3 needs validation images"):
        solve(train, None, kernel="rbf:0.3")


@pytest.mark.parametrize("text", ["", "rbf", "rbf:", "rbf:0", "rbf:-1", "rbf:1.2.3", "linear:1"])
def test_texts_that_are_no_kernel(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_kernel(text)


def test_no_landmark_is_drawn_twice() -> None:
    x, y = rings(30)
    scaling = Scaling(VectorDataset((x, y)), BLOCKS)
    kernel = KernelFeatures.of(x, scaling, NO_STAGES, 1.0, seed=5)
    assert len(kernel.landmarks.unique(dim=0)) == 30
