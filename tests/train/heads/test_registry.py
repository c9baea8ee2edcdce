"""The seam for head solvers: one of another library, registered and used by its name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from torch import Tensor

from headstart.errors import SettingsError
from headstart.train.heads import (
    HeadFit,
    HeadProblem,
    HeadSolver,
    LabeledVectors,
    LinearHead,
    head_solver,
    register_head_solver,
    registry,
)
from headstart.train.heads.vectors import VectorDataset
from headstart.train.probe import probe


class SklearnSolver:
    """Logistic regression of scikit-learn with one penalty, in under 30 lines."""

    name = "sklearn"

    def fit(self, train: LabeledVectors, validation: LabeledVectors | None, problem: HeadProblem) -> HeadFit:
        l2 = 1e-3 if problem.l2 is None else problem.l2
        head = self._solve(l2, train)
        if validation is not None:
            return HeadFit(head, (), head.logits(validation[0]), l2)
        x, y = self._arrays(train)
        logits = cross_val_predict(self._model(l2, y), x, y, method="decision_function")
        return HeadFit(head, (), torch.from_numpy(logits).float(), l2)

    def refit(self, fit: HeadFit, *splits: LabeledVectors, problem: HeadProblem) -> LinearHead:  # noqa: ARG002
        return self._solve(fit.l2, *splits)

    def forecast(self, images: int, features: int, classes: int, **_: object) -> float:
        return 1e-7 * images * features * classes

    def _solve(self, l2: float, *splits: LabeledVectors) -> LinearHead:
        x, y = self._arrays(*splits)
        model = self._model(l2, y).fit(x, y)
        return LinearHead(torch.from_numpy(model.coef_).float(), torch.from_numpy(model.intercept_).float())

    def _model(self, l2: float, y: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=1 / (l2 * len(y)), max_iter=1000)

    def _arrays(self, *splits: LabeledVectors) -> tuple[np.ndarray, np.ndarray]:
        x, y = zip(*VectorDataset(*splits), strict=True)
        return torch.cat(x).numpy(), torch.cat(y).numpy()


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> HeadSolver:
    monkeypatch.setattr(registry, "_SOLVERS", dict(registry._SOLVERS))
    register_head_solver(SklearnSolver())
    return head_solver("sklearn")


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    data = load_digits()
    x, y = torch.from_numpy(data.data / 16).float(), torch.from_numpy(data.target)
    return (x[:300], y[:300]), (x[300:600], y[300:600])


def accuracy(logits: Tensor, targets: Tensor) -> float:
    return float((logits.argmax(1) == targets).float().mean())


def test_a_registered_solver_is_used_by_its_name(solver: HeadSolver) -> None:
    train, validation = digits()
    problem = HeadProblem(classes=10)
    fit = solver.fit(train, validation, problem)
    builtin = head_solver("lbfgs").fit(train, validation, problem)
    ours, theirs = (accuracy(each.validation_logits, validation[1]) for each in (builtin, fit))
    assert theirs == pytest.approx(ours, abs=0.03)
    assert probe(train, validation, problem, solver=solver).accuracy.value == pytest.approx(theirs)

    head = solver.refit(fit, train, validation, problem=problem)
    assert accuracy(head.logits(train[0]), train[1]) > 0.95
    assert solver.forecast(100, 64, 10, device="cpu", cross_validated=False) > 0


def test_a_registered_solver_can_cross_validate(solver: HeadSolver) -> None:
    train, _ = digits()
    fit = solver.fit(train, None, HeadProblem(classes=10))
    assert fit.validation_logits.shape == (300, 10)
    assert 0.8 < accuracy(fit.validation_logits, train[1]) < accuracy(fit.head.logits(train[0]), train[1])


def test_an_unknown_name_is_refused_with_the_known_ones(solver: HeadSolver) -> None:
    with pytest.raises(SettingsError) as caught:
        head_solver("lbgfs")
    assert str(caught.value) == "head_solver must be one of lbfgs, sklearn, got 'lbgfs'; did you mean lbfgs?"
