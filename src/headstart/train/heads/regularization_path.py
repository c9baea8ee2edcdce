"""The search for L2 penalty, prior and stages: solve for one after the other while the validation loss improves."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.evaluate.schema import EpochRecord
from headstart.execution.memory import trim_heap
from headstart.train.class_balance import Balance, image_weights
from headstart.train.cross_fitting import cross_fitted_choice, random_folds
from headstart.train.heads.base import HeadProblem
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.logistic import minimize
from headstart.train.heads.penalty import NO_STAGES, Penalty, StageChoice, parse_stages
from headstart.train.heads.priors import DiscriminantPrior, PretrainedPrior, Prior, ZeroPrior
from headstart.train.heads.vectors import (
    Batches,
    LabeledVectors,
    ScaledVectors,
    Scaling,
    VectorDataset,
    concatenated,
    sums,
)
from headstart.train.metrics import EpochMetrics, epoch_metrics

__all__ = [
    "L2_GRID",
    "MAX_ITER_COLD",
    "Found",
    "HeadTrial",
    "RegularizationPath",
    "SearchTask",
    "cross_fitted",
    "search",
]

L2_GRID = tuple(10 ** (-step / 2) for step in range(-2, 13))
"""Penalties that may be tried, 10 to 1e-6, for features scaled to a mean square of 1 and a loss that is a mean."""

_FIRST = {
    "zero": 6,
    "pretrained": 4,
    "discriminant": 4,
    "joint discriminant": 4,
}  # row of L2_GRID to start at: close to where most searches end
# L-BFGS iterations: at the start of a path, and for each further penalty, which starts close to its optimum, as well as
# for the refinement of the head that is kept. With 60 iterations throughout, the log-loss differed in the third digit.
MAX_ITER_COLD, MAX_ITER_WARM = 30, 15
HOPELESS = 1.25  # times the best loss: from a first solution with such a loss no search starts
_FIRST_STAGES = StageChoice("late", 0.5)
_LIGHTER, _HEAVIER = 0.25, 1.0  # further weights of the stages


class SearchTask:
    """Images to solve on and images to validate on, both scaled by the statistics of the former."""

    def __init__(self, train: LabeledVectors, validation: LabeledVectors, problem: HeadProblem) -> None:
        dataset, precision = VectorDataset(train), problem.precision
        self.scaling = Scaling(dataset, problem.blocks)
        self.search = dataset.materialized(self.scaling, getattr(torch, precision))
        self.scaled = dataset.scaled(self.scaling)
        self.train: Batches = self.search if precision == "float32" else self.scaled
        self.validation = VectorDataset(validation).scaled(self.scaling)
        trim_heap()  # of the unscaled batches


@dataclass(frozen=True)
class HeadTrial:
    """One penalty: its record, and the head of each task."""

    penalty: Penalty
    record: EpochRecord
    heads: list[LinearHead]
    losses: NDArray[np.float32]  # of each validation image of all tasks, one task after the other
    refined: bool = False


@dataclass
class RegularizationPath:
    """Solutions for a sequence of penalties with one prior, each of which starts from the best before it.

    The penalty moves along :data:`L2_GRID` until the validation loss rises: over the logarithm of the penalty it has
    one valley.
    """

    prior: Prior
    tasks: Sequence[SearchTask]
    prior_heads: Sequence[LinearHead]  # the prior on each task's features
    balance: Balance
    stages: StageChoice = NO_STAGES  # that the path starts with
    trials: dict[Penalty, HeadTrial] = field(default_factory=dict)

    @property
    def best(self) -> HeadTrial:
        """The trial with the lowest validation loss, or once the path is refined, the chosen one."""
        return min(self.trials.values(), key=lambda trial: (not trial.record.chosen, self._criterion(trial.record)))

    @property
    def best_loss(self) -> float:
        """The validation loss by which penalties and priors are compared; balanced where the training loss is."""
        return self._criterion(self.best.record)

    @property
    def penalty(self) -> Penalty:
        """The penalty of the best trial."""
        return self.best.penalty

    @property
    def heads(self) -> list[LinearHead]:
        """Each task's head of the best trial."""
        return self.best.heads

    @property
    def history(self) -> list[EpochRecord]:
        """The records, by stages, and strongest penalty first."""
        order = sorted(self.trials.values(), key=lambda trial: (trial.penalty.stages, -trial.penalty.l2))
        return [trial.record for trial in order]

    def start(self, l2: float | None) -> None:
        """Solve for the given penalty, or for the usual first one."""
        first = L2_GRID[_FIRST[self.prior.name]] if l2 is None else l2
        self._try(Penalty(first, self.stages), self.prior_heads, MAX_ITER_COLD)

    def search(self) -> None:
        """Try weaker penalties while they improve; if the first does not, try stronger ones."""
        at = L2_GRID.index(self.penalty.l2)
        weaker, stronger = L2_GRID[at + 1 :], L2_GRID[:at][::-1]
        if not self._improving_steps(weaker):
            self._improving_steps(stronger)

    def search_stages(self, *, l2_is_given: bool) -> None:
        """Try the later half of the stages at half weight, and if that improves, all of them and another weight.

        If half the weight does not improve, a quarter is tried before the stages are left out.
        """
        if not self._improves(_FIRST_STAGES) and not self._improves(replace(_FIRST_STAGES, weight=_LIGHTER)):
            return
        self._improves(replace(self.penalty.stages, which="all"))
        if self.penalty.stages.weight == _FIRST_STAGES.weight and not self._improves(
            replace(self.penalty.stages, weight=_HEAVIER)
        ):
            self._improves(replace(self.penalty.stages, weight=_LIGHTER))
        if not l2_is_given:
            self.search()

    def refine(self) -> None:
        """Continue the best solution in full precision, and choose it if it is still the best.

        Solutions are judged before L-BFGS has converged, and one that is good only for that is not to be handed out.
        """
        while not self.best.refined:
            before = self.best
            data = [task.train for task in self.tasks]
            trial = self._solve(before.penalty, before.heads, data, MAX_ITER_WARM)
            seconds = round(before.record.seconds + trial.record.seconds, 3)
            self.trials[before.penalty] = replace(trial, record=replace(trial.record, seconds=seconds), refined=True)
        best = self.best
        self.trials[best.penalty] = replace(best, record=replace(best.record, chosen=True))

    def _improving_steps(self, penalties: Sequence[float]) -> int:
        for steps, l2 in enumerate(penalties):
            before = self.best_loss
            if self._try(replace(self.penalty, l2=l2), self.heads, MAX_ITER_WARM) >= before:
                return steps
        return len(penalties)

    def _improves(self, stages: StageChoice) -> bool:
        before = self.best_loss
        return self._try(replace(self.penalty, stages=stages), self.heads, MAX_ITER_WARM) < before

    def _try(self, penalty: Penalty, starts: Sequence[LinearHead], max_iter: int) -> float:
        if penalty not in self.trials:
            self.trials[penalty] = self._solve(penalty, starts, [task.search for task in self.tasks], max_iter)
        return self._criterion(self.trials[penalty].record)

    def _solve(
        self, penalty: Penalty, starts: Sequence[LinearHead], data: Sequence[Batches], max_iter: int
    ) -> HeadTrial:
        clock = time.monotonic()
        blocks, has_bias = self.tasks[0].scaling.blocks, self.prior.has_bias
        heads = [
            minimize(start, prior, batches, penalty.strengths(blocks, prior, bias=has_bias), self.balance, max_iter)
            for start, prior, batches in zip(starts, self.prior_heads, data, strict=True)
        ]
        trim_heap()  # of the solver's history, several times the size of the heads, between which gaps are left
        seconds = round(time.monotonic() - clock, 3)
        train = _mean_metrics(heads, data)
        logits, targets = _pooled(heads, [task.validation for task in self.tasks])
        validation = epoch_metrics(logits, targets, balanced=bool(self.balance))
        losses = F.cross_entropy(logits, targets, reduction="none").cpu().numpy()
        record = EpochRecord(
            stage="head",
            epoch=0,  # numbered once all paths are known
            loss=train.loss,
            accuracy=train.accuracy,
            val_loss=validation.loss,
            val_accuracy=validation.accuracy,
            val_balanced_loss=validation.balanced_loss,
            seconds=seconds,
            l2=penalty.l2,
            prior=self.prior.name,
            stages=str(penalty.stages) if len(blocks) > 1 else None,
        )
        return HeadTrial(penalty, record, heads, losses)

    def _criterion(self, record: EpochRecord) -> float:
        if not self.balance:
            return record.val_loss
        assert record.val_balanced_loss is not None
        return record.val_balanced_loss


@dataclass(frozen=True)
class Found:
    """The result of a search, without the data that it was made on."""

    best: HeadTrial  # the chosen one, refined
    best_loss: float  # by which it was chosen
    prior: Prior  # of the best
    trials: tuple[HeadTrial, ...]  # of all paths
    records: tuple[EpochRecord, ...]  # of these trials, in the order of the history

    @property
    def needs_pretrained(self) -> bool:
        """Whether all heads that are not drawn to the pretrained one are far behind it."""
        losses = [(each.val_balanced_loss or each.val_loss, each.prior == "pretrained") for each in self.records]
        own = min((loss for loss, pretrained in losses if not pretrained), default=math.inf)
        return own > HOPELESS * min(loss for loss, _ in losses)

    @classmethod
    def of(cls, best: RegularizationPath, paths: Sequence[RegularizationPath]) -> Found:
        """What the best one of some paths and the others have found."""
        trials = tuple(trial for path in paths for trial in path.trials.values())
        records = tuple(record for path in paths for record in path.history)
        return cls(best.best, best.best_loss, best.prior, trials, records)


def search(tasks: Sequence[SearchTask], problem: HeadProblem, *, limit: float = math.inf) -> Found:
    """Start a path from each prior, and search along the one that validates best at its first penalty.

    :param tasks: one, or one per cross-validation fold; they share penalty, prior and stages.
    :param limit: of the validation loss: nothing more is solved where the first solutions are worse.
    """
    balance = (problem.balance or Balance()).to(tasks[0].scaling.mean.device)
    has_stages = len(tasks[0].scaling.blocks) > 1
    chooses_stages = has_stages and problem.stages == "auto"
    stages = parse_stages(problem.stages) if has_stages and not chooses_stages else NO_STAGES
    priors: list[Prior] = [ZeroPrior(problem.classes)]
    if problem.pretrained is not None:
        priors.append(PretrainedPrior(problem.pretrained))
    paths = [
        RegularizationPath(prior, tasks, [prior.for_features(task.scaled) for task in tasks], balance, stages)
        for prior in priors
    ]
    if problem.discriminant:
        paths += _discriminant_path(tasks, problem.classes, balance, stages, NO_STAGES)
    for path in paths:
        path.start(problem.l2)
    best = min(paths, key=lambda path: path.best_loss)
    if best.best_loss < limit:
        if problem.l2 is None:
            best.search()
        if chooses_stages:
            best.search_stages(l2_is_given=problem.l2 is not None)
        given = best.penalty.stages
        # Where an analysis of the last features is far behind the pretrained head, so is one of more features.
        analyzed = [path.best_loss for path in paths if path.prior.name == "discriminant"]
        if problem.discriminant and given != NO_STAGES and min(analyzed, default=0) < HOPELESS * best.best_loss:
            for path in _discriminant_path(tasks, problem.classes, balance, given, given):
                path.start(problem.l2)
                if problem.l2 is None and path.best_loss < HOPELESS * best.best_loss:
                    path.search()
                paths.append(path)
            best = min(paths, key=lambda path: path.best_loss)
        best.refine()
    return Found.of(best, paths)


def _discriminant_path(
    tasks: Sequence[SearchTask], classes: int, balance: Balance, stages: StageChoice, analyzed: StageChoice
) -> Iterator[RegularizationPath]:
    """A path from a discriminant analysis, where there can be one.

    :param stages: that the head is given; ``analyzed``: those whose classes are analyzed, beside the last features.
    """
    validated = [(task.scaled, task.validation) for task in tasks]
    found = DiscriminantPrior.fit(validated, classes, balanced=bool(balance), stages=analyzed)
    if found is not None:
        yield RegularizationPath(found[0], tasks, found[1], balance, stages)


def cross_fitted(
    trials: Sequence[HeadTrial],
    targets: Sequence[Tensor],
    problem: HeadProblem,
    *,
    groups: NDArray[np.int64] | None = None,
) -> list[tuple[int, NDArray[np.bool_]]]:
    """The trial by which each validation image is judged: the best one for the images of the other folds.

    :param targets: of the validation images (V,), one tensor for each fold of the cross-validation; of a single one,
        folds are drawn at random.
    :param groups: of a single tensor's images, (V,): folds do not divide them.
    :returns: numbers of trials, each with the images (V,) that it is to judge.
    """
    sizes = [len(each) for each in targets]
    folds = (
        np.repeat(np.arange(len(sizes)), sizes)
        if len(sizes) > 1
        else random_folds(sizes[0], problem.seed, groups=groups)
    )
    losses = torch.from_numpy(np.stack([trial.losses for trial in trials]))
    every = torch.cat([each.cpu() for each in targets])

    def choose(seen: NDArray[np.bool_]) -> int:
        some = torch.from_numpy(seen)
        weights = image_weights(every[some]) if problem.balance else torch.ones(int(some.sum()))
        return int((losses[:, some] * weights).mean(1).argmin())

    chosen = cross_fitted_choice(folds, choose)
    return [(int(number), chosen == number) for number in np.unique(chosen)]


def _pooled(heads: Sequence[LinearHead], data: Sequence[ScaledVectors]) -> tuple[Tensor, Tensor]:
    """Logits and targets of all tasks' images."""
    logits = [concatenated(each, head.of_batch)[0] for head, each in zip(heads, data, strict=True)]
    return torch.cat(logits), torch.cat([each.dataset.targets for each in data])


def _mean_metrics(heads: Sequence[LinearHead], data: Sequence[Batches]) -> EpochMetrics:
    """The same without the balanced loss, and without keeping the logits in memory."""
    found = [sums(each, partial(_added_metrics, head))[0] for head, each in zip(heads, data, strict=True)]
    loss, accuracy, images = torch.stack(found).sum(0).tolist()
    return EpochMetrics(loss / images, accuracy / images)


def _added_metrics(head: LinearHead, x: Tensor, targets: Tensor) -> tuple[Tensor]:
    """Loss and accuracy of a batch, times its images, and their number: (3,) float64."""
    found, count = epoch_metrics(head.of_batch(x.float())[0], targets), len(targets)
    return (torch.tensor([found.loss * count, found.accuracy * count, count], dtype=torch.float64),)
