"""The search for L2 penalty and prior: solve for one penalty after the other while the validation loss improves."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headstart.evaluate.schema import EpochRecord
from headstart.train.class_balance import Balance
from headstart.train.heads.base import HeadProblem
from headstart.train.heads.logistic import minimize
from headstart.train.heads.priors import DiscriminantPrior, LinearHead, PretrainedPrior, Prior, ZeroPrior
from headstart.train.heads.vectors import Batches, LabeledVectors, Scaling, VectorDataset
from headstart.train.metrics import EpochMetrics, epoch_metrics

__all__ = ["L2_GRID", "MAX_ITER_COLD", "RegularizationPath", "SearchTask", "best_path"]

L2_GRID = tuple(10 ** (-step / 2) for step in range(-2, 13))
"""Penalties that may be tried, 10 to 1e-6, for features scaled to a mean square of 1 and a loss that is a mean."""

_FIRST = {"zero": 6, "pretrained": 4, "discriminant": 4}  # row of L2_GRID to start at: close to where most searches end
# L-BFGS iterations: at the start of a path, and for each further penalty, which starts close to its optimum, as well as
# for the refinement of the head that is kept. With 60 iterations throughout, the log-loss differed in the third digit.
MAX_ITER_COLD, MAX_ITER_WARM = 30, 15


class SearchTask:
    """Images to solve on and images to validate on, both scaled by the statistics of the former."""

    def __init__(self, train: LabeledVectors, validation: LabeledVectors, precision: str) -> None:
        dataset = VectorDataset(train)
        self.scaling = Scaling(dataset)
        self.search = dataset.materialized(self.scaling, getattr(torch, precision))
        self.scaled = dataset.scaled(self.scaling)
        self.train: Batches = self.search if precision == "float32" else self.scaled
        self.validation = VectorDataset(validation).scaled(self.scaling)


@dataclass(frozen=True)
class _Trial:
    """One penalty: its record, and the head of each task."""

    record: EpochRecord
    heads: list[LinearHead]


@dataclass
class RegularizationPath:
    """Solutions for a sequence of penalties with one prior, each of which starts from the solution before it.

    The penalty moves along :data:`L2_GRID` until the validation loss rises: over the logarithm of the penalty it has
    one valley.
    """

    prior: Prior
    tasks: Sequence[SearchTask]
    prior_heads: Sequence[LinearHead]  # the prior on each task's features
    balance: Balance
    trials: dict[float, _Trial] = field(default_factory=dict)  # by penalty

    @property
    def best(self) -> EpochRecord:
        """The record with the lowest validation loss, or once the path is refined, the chosen one."""
        return min(self.history, key=lambda record: (not record.chosen, self._criterion(record)))

    @property
    def best_loss(self) -> float:
        """The validation loss by which penalties and priors are compared; balanced where the training loss is."""
        return self._criterion(self.best)

    @property
    def l2(self) -> float:
        """The penalty of the best record."""
        assert self.best.l2 is not None
        return self.best.l2

    @property
    def heads(self) -> list[LinearHead]:
        """Each task's head of the best record."""
        return self.trials[self.l2].heads

    @property
    def history(self) -> list[EpochRecord]:
        """The records, strongest penalty first."""
        return [self.trials[l2].record for l2 in sorted(self.trials, reverse=True)]

    def start(self, l2: float | None) -> None:
        """Solve for the given penalty, or for the usual first one."""
        self._try(L2_GRID[_FIRST[self.prior.name]] if l2 is None else l2, self.prior_heads, MAX_ITER_COLD)

    def search(self) -> None:
        """Try weaker penalties while they improve; if the first does not, try stronger ones."""
        first = _FIRST[self.prior.name]
        weaker, stronger = L2_GRID[first + 1 :], L2_GRID[:first][::-1]
        if not self._improving_steps(weaker):
            self._improving_steps(stronger)

    def refine(self) -> None:
        """Continue from the best solution, in full precision, and mark its record as chosen."""
        l2, seconds = self.l2, self.best.seconds
        trial = self._solve(l2, self.heads, [task.train for task in self.tasks], MAX_ITER_WARM)
        record = replace(trial.record, seconds=round(seconds + trial.record.seconds, 3), chosen=True)
        self.trials[l2] = replace(trial, record=record)

    def _improving_steps(self, penalties: Sequence[float]) -> int:
        for steps, l2 in enumerate(penalties):
            before = self.best_loss
            if self._try(l2, self.heads, MAX_ITER_WARM) >= before:
                return steps
        return len(penalties)

    def _try(self, l2: float, starts: Sequence[LinearHead], max_iter: int) -> float:
        self.trials[l2] = self._solve(l2, starts, [task.search for task in self.tasks], max_iter)
        return self._criterion(self.trials[l2].record)

    def _solve(self, l2: float, starts: Sequence[LinearHead], data: Sequence[Batches], max_iter: int) -> _Trial:
        clock = time.monotonic()
        heads = [
            minimize(start, prior, batches, l2, self.balance, max_iter)
            for start, prior, batches in zip(starts, self.prior_heads, data, strict=True)
        ]
        seconds = round(time.monotonic() - clock, 3)
        train = _mean_metrics(heads, [task.train for task in self.tasks])
        validation = _pooled_metrics(heads, [task.validation for task in self.tasks], balanced=bool(self.balance))
        record = EpochRecord(
            stage="head",
            epoch=0,  # numbered once all paths are known
            loss=train.loss,
            accuracy=train.accuracy,
            val_loss=validation.loss,
            val_accuracy=validation.accuracy,
            val_balanced_loss=validation.balanced_loss,
            seconds=seconds,
            l2=l2,
            prior=self.prior.name,
        )
        return _Trial(record, heads)

    def _criterion(self, record: EpochRecord) -> float:
        if not self.balance:
            return record.val_loss
        assert record.val_balanced_loss is not None
        return record.val_balanced_loss


def best_path(tasks: Sequence[SearchTask], problem: HeadProblem) -> tuple[RegularizationPath, tuple[EpochRecord, ...]]:
    """Start a path from each prior, and search along the one that validates best at its first penalty.

    :param tasks: one, or one per cross-validation fold; they share penalty and prior.
    :returns: the refined path, and the records of all paths: one for each prior that was not followed further.
    """
    balance = (problem.balance or Balance()).to(tasks[0].scaling.mean.device)
    priors: list[Prior] = [ZeroPrior(problem.classes)]
    if problem.pretrained is not None:
        priors.append(PretrainedPrior(problem.pretrained))
    paths = [
        RegularizationPath(prior, tasks, [prior.for_features(task.scaled) for task in tasks], balance)
        for prior in priors
    ]
    if problem.discriminant:
        discriminant = DiscriminantPrior.fit([(task.scaled, task.validation) for task in tasks], problem.classes)
        if discriminant is not None:
            paths.append(RegularizationPath(discriminant[0], tasks, discriminant[1], balance))
    for path in paths:
        path.start(problem.l2)
    best = min(paths, key=lambda path: path.best_loss)
    if problem.l2 is None:
        best.search()
    best.refine()
    records = (record for path in paths for record in path.history)
    return best, tuple(replace(record, epoch=epoch) for epoch, record in enumerate(records, 1))


def _logits(heads: Sequence[LinearHead], data: Sequence[Batches]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits and targets of each head's batches."""
    return ((head.logits(x), y) for head, batches in zip(heads, data, strict=True) for x, y in batches)


def _pooled_metrics(heads: Sequence[LinearHead], data: Sequence[Batches], *, balanced: bool) -> EpochMetrics:
    """The metrics of all tasks' images together."""
    logits, targets = (torch.cat(each) for each in zip(*_logits(heads, data), strict=True))
    return epoch_metrics(logits, targets, balanced=balanced)


def _mean_metrics(heads: Sequence[LinearHead], data: Sequence[Batches]) -> EpochMetrics:
    """The same without the balanced loss, and without keeping the logits in memory."""
    counted = [(epoch_metrics(logits, targets), len(targets)) for logits, targets in _logits(heads, data)]
    images = sum(count for _, count in counted)
    loss = sum(each.loss * count for each, count in counted) / images
    return EpochMetrics(loss, sum(each.accuracy * count for each, count in counted) / images)
