"""A head that is solved again and again."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from headstart.train.cross_fitted_head import (
    CrossFittedHead,
    Folds,
    Interrupted,
    Objective,
    solve_cross_fitted,
    with_classes,
)
from headstart.train.heads import HeadProblem, LinearHead, head_solver

Batches = list[list[tuple[torch.Tensor, torch.Tensor]]]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as opened:
        yield opened


def data(count: int = 200, classes: int = 3, *, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % classes
    return torch.randn(count, 6, generator=generator) * noise + 2 * torch.eye(classes, 6)[y], y


def folds_of(x: torch.Tensor, y: torch.Tensor, number: np.ndarray) -> Batches:
    rows = [torch.from_numpy(np.flatnonzero(number == fold)) for fold in range(5)]
    return [[(x[own], y[own])] if len(own) else [] for own in rows]


def test_images_of_a_class_are_spread_over_the_folds() -> None:
    folds = Folds().of(range(20), [0] * 10 + [1] * 10)
    assert np.bincount(folds[:10]).tolist() == [2] * 5 == np.bincount(folds[10:]).tolist()


def test_an_image_keeps_its_fold_whatever_its_label_becomes() -> None:
    folds = Folds()
    before = folds.of(range(30), np.arange(30) % 3)
    assert folds.of(range(30), np.arange(30)[::-1] % 2).tolist() == before.tolist()
    later = folds.of([*range(100, 140), *range(30)], [0] * 70)
    assert later[40:].tolist() == before.tolist()


def test_images_of_one_group_are_in_one_fold() -> None:
    numbers = Folds().of(["burst"] * 7 + ["other"], [0] * 8)
    assert len(set(numbers[:7])) == 1
    assert numbers[7] != numbers[0]


def test_the_head_is_that_of_the_built_in_solver(executor: ThreadPoolExecutor) -> None:
    x, y = data()
    found = solve_cross_fitted(folds_of(x, y, np.arange(200) % 5), Objective(3, 6, 0.1), None, 60, executor)
    problem = HeadProblem(3, l2=0.1, kernel="none", discriminant=False)
    solver = head_solver("lbfgs")
    other = solver.fit((x, y), None, problem).head
    # The solver scales its features by their spread, so that the same number means another penalty: both are weak.
    assert (found.head.logits(x).argmax(1) == other.logits(x).argmax(1)).float().mean() > 0.97
    assert found.hits.mean() == pytest.approx(0.82, abs=0.1)


def test_the_head_of_a_fold_has_not_seen_its_images(executor: ThreadPoolExecutor) -> None:
    x, y = data()
    number = np.arange(200) % 5
    before = solve_cross_fitted(folds_of(x, y, number), Objective(3, 6, 0.01), None, 30, executor)
    changed = y.clone()
    own = torch.from_numpy(number == 2)
    changed[own] = (y[own] + 1) % 3  # all labels of one fold are wrong now
    after = solve_cross_fitted(folds_of(x, changed, number), Objective(3, 6, 0.01), before, 30, executor)
    assert torch.allclose(after.fold_heads[2].weight, before.fold_heads[2].weight, atol=1e-2)
    assert not torch.allclose(after.fold_heads[1].weight, before.fold_heads[1].weight, atol=1e-1)


def test_few_steps_from_the_last_solution_are_as_good_as_many_from_the_start(executor: ThreadPoolExecutor) -> None:
    x, y = data()
    number = np.arange(200) % 5
    objective = Objective(3, 6, 0.01)
    first = solve_cross_fitted(folds_of(x[:195], y[:195], number[:195]), objective, None, 60, executor)
    warm = solve_cross_fitted(folds_of(x, y, number), objective, first, 4, executor)
    cold = solve_cross_fitted(folds_of(x, y, number), objective, None, 60, executor)
    short = solve_cross_fitted(folds_of(x, y, number), objective, None, 4, executor)
    assert warm.loss == pytest.approx(cold.loss, abs=1e-3)
    assert abs(short.loss - cold.loss) > abs(warm.loss - cold.loss)


def test_images_of_a_class_that_the_fold_has_alone_are_not_judged(executor: ThreadPoolExecutor) -> None:
    x, y = data(20, 2)
    y[4] = 2  # the only one of its class
    found = solve_cross_fitted(folds_of(x, y, np.arange(20) % 5), Objective(3, 6, 0.01), None, 30, executor)
    assert int(found.judged.sum()) == 19
    assert found.targets[~found.judged].tolist() == [2]
    assert len(found.hits) == 19


def test_without_other_images_nothing_is_judged(executor: ThreadPoolExecutor) -> None:
    x, y = data(4, 2)
    found = solve_cross_fitted(folds_of(x, y, np.zeros(4)), Objective(2, 6, 0.01), None, 30, executor)
    assert not found.judged.any()
    assert found.head.logits(x).argmax(1).equal(y)


def test_the_prior_holds_what_few_images_do_not_tell(executor: ThreadPoolExecutor) -> None:
    x, y = data(20, 2)
    prior = LinearHead(torch.eye(2, 6) * 3, torch.zeros(2))
    found = solve_cross_fitted(folds_of(x, y, np.arange(20) % 5), Objective(2, 6, 10.0, prior), None, 30, executor)
    assert torch.allclose(found.head.weight, prior.weight, atol=0.2)


def test_a_new_class_starts_at_zero_and_a_removed_one_is_gone(executor: ThreadPoolExecutor) -> None:
    x, y = data()
    solved = solve_cross_fitted(folds_of(x, y, np.arange(200) % 5), Objective(3, 6, 0.1), None, 10, executor)
    moved = with_classes(solved, [2, None, 0])
    for one, other in zip((moved.head, *moved.fold_heads), (solved.head, *solved.fold_heads), strict=True):
        assert one.weight[0].equal(other.weight[2])
        assert not one.weight[1].any()
        assert one.bias[2] == other.bias[0]


def test_what_is_not_wanted_any_more_is_dropped(executor: ThreadPoolExecutor) -> None:
    x, y = data()
    answers = iter([False, False, True, True, True, True])
    with pytest.raises(Interrupted):
        solve_cross_fitted(
            folds_of(x, y, np.arange(200) % 5),
            Objective(3, 6, 0.1),
            None,
            10,
            executor,
            interrupted=lambda: next(answers),
        )


def test_the_loss_of_no_judged_images_is_not_a_number() -> None:
    none = torch.zeros(0, 2)
    head = LinearHead(torch.zeros(2, 2), torch.zeros(2))
    empty = torch.zeros(0, dtype=torch.int64)
    assert np.isnan(CrossFittedHead(head, (head,) * 5, none, empty, empty.bool()).loss)
