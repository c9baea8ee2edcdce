"""The built-in head solver: multinomial logistic regression, solved by L-BFGS.

With an L2 penalty it has one optimum, which L-BFGS finds without a learning rate. The penalty pulls to a prior: zero,
the rows of the pretrained head where class names match, or a linear discriminant analysis
(:mod:`headstart.train.heads.priors`). The validation log-loss chooses penalty and prior, and whether the head is given
the pooled stages of the network beside its last features (:mod:`headstart.train.heads.penalty`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.train.class_balance import Balance
from headstart.train.heads.base import HeadFit, HeadProblem, LabeledVectors
from headstart.train.heads.cross_validation import fold_masks
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.logistic import minimize
from headstart.train.heads.penalty import Penalty
from headstart.train.heads.priors import Prior
from headstart.train.heads.regularization_path import MAX_ITER_COLD, Found, SearchTask, search
from headstart.train.heads.vectors import Scaling, VectorDataset, take
from headstart.train.timing import fastest

__all__ = ["LbfgsSolver"]

_TIMED_IMAGES = 2048
_EVALUATIONS = 300  # of the objective along a path: about ten penalties with thirty evaluations each


@dataclass(frozen=True)
class LbfgsSolver:
    """Logistic regression with the penalty and the prior that validate best.

    With a class balance, the balanced validation loss decides, in which all classes count alike. Losses in the history
    are without penalty and balance.

    :param folds: of the cross-validation; fewer where the largest class has fewer images.
    """

    folds: int = 5

    name = "lbfgs"

    def fit(self, train: LabeledVectors, validation: LabeledVectors | None, problem: HeadProblem) -> HeadFit:
        """See :class:`~headstart.train.heads.base.HeadSolver`.

        Without validation images, the image of a class with only one image has no say in the choice, since the head
        that was solved without it does not know its class. After cross-validation the head is solved on all images.

        :raises DataError: ``validation`` is None, and no class has two images.

        >>> x, y = torch.eye(3).repeat(8, 1), torch.arange(3).repeat(8)
        >>> max(record.val_accuracy for record in LbfgsSolver().fit((x, y), (x, y), HeadProblem(classes=3)).history)
        1.0
        >>> fit = LbfgsSolver().fit((x, y), None, HeadProblem(classes=3))
        >>> bool((fit.validation_logits.argmax(1) == y).all())
        True
        """
        if validation is None:
            return self._cross_validate(train, problem)
        task = SearchTask(train, validation, problem)
        found = search([task], problem)
        logits = torch.empty(len(validation[1]), problem.classes, device=validation[1].device)
        for trial, judged in found.cross_fitted:
            rows = np.flatnonzero(judged)
            logits[torch.from_numpy(rows).to(logits.device)] = (
                trial.heads[0].unscaled(task.scaling).logits(take(validation[0], rows, logits.device))
            )
        return _result(found, found.path.heads[0].unscaled(task.scaling), logits)

    def refit(self, fit: HeadFit, *splits: LabeledVectors, problem: HeadProblem) -> LinearHead:
        """See :class:`~headstart.train.heads.base.HeadSolver`. The search starts from the head of the fit.

        >>> x, y = torch.eye(3).repeat(8, 1), torch.arange(3).repeat(8)
        >>> train, validation, problem = (x[:12], y[:12]), (x[12:], y[12:]), HeadProblem(classes=3)
        >>> fit = LbfgsSolver().fit(train, validation, problem)
        >>> head = LbfgsSolver().refit(fit, train, validation, problem=problem)
        >>> bool((head.logits(x).argmax(1) == y).all())
        True
        """
        if not isinstance(fit.solver_state, _Chosen):
            raise TypeError("refit needs the result of fit of the same solver")
        return _solve(fit.head, fit.solver_state, splits, problem)

    def forecast(self, images: int, features: int, classes: int, *, device: str, cross_validated: bool) -> float:
        """See :class:`~headstart.train.heads.base.HeadSolver`. Times one evaluation of the objective.

        >>> few, many = (LbfgsSolver().forecast(images, 8, 3, device="cpu", cross_validated=False)
        ...              for images in (10, 100_000_000))
        >>> few < many
        True
        """
        rows = min(images, _TIMED_IMAGES)
        x = torch.rand(rows, features, device=device)
        weight = torch.zeros(classes, features, device=device, requires_grad=True)
        targets = torch.zeros(rows, dtype=torch.int64, device=device)

        def step() -> None:
            F.cross_entropy(x @ weight.T, targets).backward()  # type: ignore[no-untyped-call]

        paths = self.folds if cross_validated else 1
        return paths * fastest(step, device) * images / rows * _EVALUATIONS

    def _cross_validate(self, train: LabeledVectors, problem: HeadProblem) -> HeadFit:
        features, targets = train
        device, labels = targets.device, targets.cpu().numpy()
        masks = fold_masks(labels, self.folds, problem.seed)

        def select(mask: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
            return take(features, np.flatnonzero(mask), device), targets[torch.from_numpy(mask).to(device)]

        tasks = [SearchTask(select(~mask), select(mask & np.isin(labels, labels[~mask])), problem) for mask in masks]
        found = search(tasks, problem)
        logits = torch.empty(len(targets), problem.classes, device=device)
        for number, (mask, task) in enumerate(zip(masks, tasks, strict=True)):
            # All images of a fold are judged by one trial: the one that was chosen by the other folds.
            start = sum(len(each.validation) for each in tasks[:number])
            judges = [
                trial for trial, judged in found.cross_fitted if judged[start : start + len(task.validation)].any()
            ]
            head = (judges[0] if judges else found.path.best).heads[number].unscaled(task.scaling)
            logits[torch.from_numpy(mask).to(device)] = head.logits(select(mask)[0])
        heads = [head.unscaled(task.scaling) for task, head in zip(tasks, found.path.heads, strict=True)]
        mean = LinearHead(
            torch.stack([head.weight for head in heads]).mean(0), torch.stack([head.bias for head in heads]).mean(0)
        )
        chosen = _Chosen(found.path.penalty, found.path.prior)
        return _result(found, _solve(mean, chosen, [train], problem), logits)


@dataclass(frozen=True)
class _Chosen:
    """The hyperparameters of a head."""

    penalty: Penalty
    prior: Prior


def _solve(start: LinearHead, chosen: _Chosen, splits: Sequence[LabeledVectors], problem: HeadProblem) -> LinearHead:
    """Solve on all the given images, for unscaled features."""
    dataset = VectorDataset(*splits)
    scaling = Scaling(dataset, problem.blocks)
    data = dataset.scaled(scaling)
    balance = (problem.balance or Balance()).to(start.bias.device)
    prior = chosen.prior.for_features(data)
    strengths = chosen.penalty.strengths(scaling.blocks, prior, bias=chosen.prior.has_bias)
    head = minimize(start.scaled(scaling), prior, data, strengths, balance, MAX_ITER_COLD)
    return head.unscaled(scaling)


def _result(found: Found, head: LinearHead, logits: Tensor) -> HeadFit:
    path = found.path
    penalty, stages = path.penalty, path.best.record.stages
    with_stages = f", with stages {stages}" if stages not in (None, "none") else ""
    return HeadFit(
        head=head,
        history=found.history,
        validation_logits=logits,
        l2=penalty.l2,
        prior=path.prior.name,
        stages=stages,
        description=f"L2 penalty {penalty.l2:.3g} toward {path.prior.description}{with_stages}",
        solver_state=_Chosen(penalty, path.prior),
    )
