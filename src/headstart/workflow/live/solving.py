"""The live head: solved again after each change of the labels, from where it was."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.evaluate import apply_temperature, fit_temperature
from headstart.evaluate.intervals import proportion
from headstart.evaluate.schema import Interval
from headstart.execution import available_cores
from headstart.train.cross_fitted_head import (
    CrossFittedHead,
    Folds,
    Interrupted,
    Objective,
    solve_cross_fitted,
    with_classes,
)
from headstart.train.heads import LinearHead, matched_head
from headstart.train.heads.vectors import Scaling, VectorDataset
from headstart.workflow.live.near import NearGroups

__all__ = ["Labeled", "LiveHead", "Solution"]

_ROWS = 1024  # per batch
_SAMPLE = 10_000  # images whose mean and scale are those of all
_FOR_TEMPERATURE = 2000
_FIRST_L2, _FIRST_L2_PRETRAINED = 10**-1.5, 0.1
"""Penalties to start with; a better one is looked for once there is time (:meth:`LiveHead.improve`)."""
_STEP, _WEAKEST, _STRONGEST = math.sqrt(10), 1e-6, 10.0
_MIN_TUNED = 100  # images: with fewer, the log-loss says little about penalties
_GROWTH = 1.3  # of the number of labels, after which the penalty is chosen again
_LARGE = 1e9  # products per evaluation of the objective, from which on fewer steps are made at a time
_GAIN = 1e-3  # relative, of the log-loss: less is no reason to go on


@dataclass(frozen=True)
class Labeled:
    """Images with a label and a vector: what the head is solved on."""

    revision: int
    ids: NDArray[np.int64]  # (N,) of the images
    labels: NDArray[np.int64]  # (N,) ids of their classes
    vectors: NDArray[np.floating]  # (N, D)
    names: dict[int, str]  # of the classes by their ids

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids of the classes that have images, in the order of the project's classes."""
        present = set(self.labels.tolist())
        return tuple(number for number in self.names if number in present)


@dataclass(frozen=True)
class Solution:
    """A solved head with what it says of the labeled images, each by a head that was solved without it."""

    revision: int
    classes: tuple[int, ...]  # ids
    names: tuple[str, ...]
    solved: CrossFittedHead
    scaling: Scaling
    temperature: float  # of the logits
    ids: NDArray[np.int64]  # (N,) of the labeled images, in the order of the logits
    groups: NDArray[np.int64]  # (N,), numbers of sets of images that are nearly the same
    l2: float
    prior: str  # "zero" or "pretrained"
    seconds: float  # that solving took

    @property
    def judged(self) -> int:
        """How many images have a prediction that counts: those of a class with other images in other folds."""
        return int(self.solved.judged.sum())

    @property
    def accuracy(self) -> Interval | None:
        """The cross-fitted accuracy with Wilson's 95 % interval, for the number of images that are not nearly the same.

        None as long as no class has two images.
        """
        hits, groups = self.solved.hits, self.groups[self.solved.judged.numpy()]
        if not len(hits):
            return None
        return proportion(hits, groups if len(np.unique(groups)) < len(groups) else None)

    @property
    def log_loss(self) -> float | None:
        """The mean cross-fitted log-loss in nats; None as long as no class has two images."""
        mask = self.solved.judged.numpy()
        if not mask.any():
            return None
        own = self.probabilities[np.arange(len(mask)), self.targets]
        return float(-np.log(np.maximum(own[mask], 1e-12)).mean())

    @property
    def targets(self) -> NDArray[np.int64]:
        """The classes of the labeled images, (N,), as positions in :attr:`classes`."""
        return self.solved.targets.numpy()

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """The cross-fitted probabilities of the labeled images, (N, C)."""
        return np.asarray(apply_temperature(self.solved.logits.numpy(), self.temperature), np.float32)

    def predict(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """The probabilities (N, C) of other images by their vectors (N, D)."""
        logits = self.solved.head.logits(self.scaling(torch.from_numpy(np.asarray(vectors, np.float32))))
        return torch.softmax(logits / self.temperature, 1).numpy()

    def head(self) -> LinearHead:
        """The head for vectors as they are, with the temperature in its weights."""
        return self.solved.head.unscaled(self.scaling).with_temperature(self.temperature)


class LiveHead:
    """Keeps what the next solution starts from. For one thread.

    The penalty is not searched for at each change, but afterwards, by :meth:`improve`, when the number of labels has
    grown by a third. It is chosen by the cross-fitted log-loss of the same images that the accuracy is of: a choice of
    one number among a few, which makes the accuracy too good by less than its interval shows.

    :param pretrained: the pretrained head, whose rows are the prior of classes with the same names, and their names.
    """

    def __init__(
        self, pretrained: tuple[nn.Module, Sequence[str] | None] | None = None, *, threads: int | None = None
    ) -> None:
        self._pretrained = pretrained
        self._folds, self._near = Folds(), NearGroups()
        # One thread of torch for each: see headstart.train.cross_fitted_head.
        self._executor = ThreadPoolExecutor(
            threads or available_cores(), "headstart-head", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._scaling: Scaling | None = None
        self._scaled_for = 0
        self._prior: LinearHead | None = None  # for vectors as they are
        self._prior_of: tuple[tuple[str, ...], int] = (), 0
        self._l2: float | None = None
        self._tuned = 0  # number of labels for which the penalty was chosen
        self._settled = False
        self._last: Solution | None = None

    def close(self) -> None:
        """End the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def update(self, labeled: Labeled, sample: NDArray[np.floating] | None = None) -> Solution | None:
        """Solve for the present labels.

        :param sample: vectors of any images of the project, labeled or not, of which features are scaled by the mean
            and spread; by default those that have labels.
        :returns: None with images of fewer than two classes.
        """
        if len(labeled.classes) < 2:
            return None
        began = time.monotonic()
        self._rescale(labeled.vectors if sample is None else sample)
        task = self._task(labeled)
        before = self._last
        start = None if before is None else _start(before, task.classes)
        known = before is not None and set(task.classes) <= set(before.classes)
        small = task.work < _LARGE
        steps = (10 if small else 4) if known else (30 if small else 10)
        solved = self._solve(task, start, steps)
        self._settled = False
        return self._keep(task, solved, time.monotonic() - began)

    def improve(self, labeled: Labeled, interrupted: Callable[[], bool]) -> Solution | None:
        """Make the last solution better while nothing else is to be done; None where that is not worth while.

        First it is solved further, until its log-loss does not change any more, and then the penalty is chosen.

        :param labeled: as for the last :meth:`update`.
        :param interrupted: asked often; what was tried is dropped once it returns True.
        """
        before = self._last
        if before is None or not before.judged:
            return None
        task = self._task(labeled)
        try:
            if not self._settled:
                return self._settle(task, before, interrupted)
            count = len(labeled.ids)
            if count < _MIN_TUNED or self._tuned / _GROWTH < count < self._tuned * _GROWTH:
                return None
            return self._tune(task, before, interrupted)
        except Interrupted:
            return None

    def _settle(self, task: _Task, before: Solution, interrupted: Callable[[], bool]) -> Solution | None:
        began = time.monotonic()
        solved = self._solve(task, before.solved, 30 if task.work < _LARGE else 10, interrupted)
        self._settled = abs(before.solved.loss - solved.loss) < _GAIN * solved.loss
        return self._keep(task, solved, time.monotonic() - began)

    def _tune(self, task: _Task, before: Solution, interrupted: Callable[[], bool]) -> Solution | None:
        """Move the penalty while the log-loss falls: weaker, or else stronger."""
        began, best, chosen = time.monotonic(), before.solved, task.l2
        lowest = _calibrated_loss(best)
        for factor in (1 / _STEP, _STEP):
            while _WEAKEST <= chosen * factor <= _STRONGEST:
                found = self._solve(replace(task, l2=chosen * factor), best, 15, interrupted)
                loss = _calibrated_loss(found)
                if not loss < lowest * (1 - _GAIN):
                    break
                best, lowest, chosen = found, loss, chosen * factor
            if chosen != task.l2:
                break
        self._tuned = len(task.ids)
        if chosen == task.l2:
            return None
        self._l2 = chosen
        return self._keep(replace(task, l2=chosen), best, time.monotonic() - began)

    def _rescale(self, sample: NDArray[np.floating]) -> None:
        """Measure mean and scale, again once there are half as many images more."""
        if self._scaling is not None and len(sample) < 1.5 * self._scaled_for:
            return
        rows = sample[:: -(-len(sample) // _SAMPLE)]
        scaling = Scaling(VectorDataset((_tensor(rows), torch.zeros(len(rows), dtype=torch.int64))))
        if self._last is not None:  # the same heads, for features scaled in another way
            self._last = replace(self._last, solved=_rescaled(self._last, scaling), scaling=scaling)
        self._scaling, self._scaled_for = scaling, len(sample)
        self._near.measure(rows)

    def _task(self, labeled: Labeled) -> _Task:
        assert self._scaling is not None
        classes = labeled.classes
        names = tuple(labeled.names[number] for number in classes)
        position = {number: row for row, number in enumerate(classes)}
        targets = np.array([position[number] for number in labeled.labels.tolist()], np.int64)
        groups = self._near.of(labeled.ids.tolist(), labeled.vectors)
        folds = self._folds.of(groups.tolist(), labeled.labels.tolist())
        batches: list[list[tuple[Tensor, Tensor]]] = []
        rows = [np.flatnonzero(folds == number) for number in range(self._folds.count)]
        for own in rows:
            vectors, labels = self._scaling(_tensor(labeled.vectors[own])), torch.from_numpy(targets[own])
            parts = [slice(start, start + _ROWS) for start in range(0, len(own), _ROWS)]
            batches.append([(vectors[part], labels[part]) for part in parts])
        prior = self._matched(names, labeled.vectors, targets)
        l2 = self._l2 or (_FIRST_L2 if prior is None else _FIRST_L2_PRETRAINED)
        order = np.concatenate(rows)
        columns = labeled.vectors.shape[1]
        return _Task(labeled.revision, classes, names, labeled.ids[order], groups[order], batches, columns, l2, prior)

    def _matched(
        self, names: tuple[str, ...], vectors: NDArray[np.floating], targets: NDArray[np.int64]
    ) -> LinearHead | None:
        """The prior for scaled features; matched again for other classes, or half as many labels more."""
        if self._pretrained is None:
            return None
        assert self._scaling is not None
        if self._prior_of[0] != names or len(targets) > 1.5 * self._prior_of[1]:
            head, known = self._pretrained
            found = matched_head(head, known, names, _tensor(vectors), torch.from_numpy(targets))
            if (found is None) != (self._prior is None):  # a penalty for one prior says nothing about another
                self._l2, self._tuned = None, 0
            self._prior, self._prior_of = found, (names, len(targets))
        return None if self._prior is None else self._prior.scaled(self._scaling)

    def _solve(
        self,
        task: _Task,
        start: CrossFittedHead | None,
        steps: int,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> CrossFittedHead:
        objective = Objective(len(task.classes), task.columns, task.l2, task.prior)
        return solve_cross_fitted(task.folds, objective, start, steps, self._executor, interrupted=interrupted)

    def _keep(self, task: _Task, solved: CrossFittedHead, seconds: float) -> Solution:
        assert self._scaling is not None
        prior = "zero" if task.prior is None else "pretrained"
        temperature = _temperature(solved)
        self._last = Solution(
            task.revision,
            task.classes,
            task.names,
            solved,
            self._scaling,
            temperature,
            task.ids,
            task.groups,
            task.l2,
            prior,
            seconds,
        )
        return self._last


@dataclass(frozen=True)
class _Task:
    """Images in folds, scaled, and what is minimized on them."""

    revision: int
    classes: tuple[int, ...]
    names: tuple[str, ...]
    ids: NDArray[np.int64]  # fold by fold
    groups: NDArray[np.int64]
    folds: Sequence[Sequence[tuple[Tensor, Tensor]]]
    columns: int
    l2: float
    prior: LinearHead | None

    @property
    def work(self) -> float:
        """Products per evaluation of the objective."""
        return float(len(self.ids) * self.columns * len(self.classes))


def _tensor(vectors: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(vectors, np.float32))


def _start(before: Solution, classes: tuple[int, ...]) -> CrossFittedHead:
    if before.classes == classes:
        return before.solved
    row = {number: position for position, number in enumerate(before.classes)}
    return with_classes(before.solved, [row.get(number) for number in classes])


def _rescaled(before: Solution, scaling: Scaling) -> CrossFittedHead:
    def moved(head: LinearHead) -> LinearHead:
        return head.unscaled(before.scaling).scaled(scaling)

    solved = before.solved
    return replace(solved, head=moved(solved.head), fold_heads=tuple(map(moved, solved.fold_heads)))


def _temperature(solved: CrossFittedHead) -> float:
    """That of the cross-fitted logits of at most 2,000 images; 1 without any."""
    rows = np.flatnonzero(solved.judged.numpy())
    rows = rows[:: -(-len(rows) // _FOR_TEMPERATURE) or 1]
    return fit_temperature(solved.logits.numpy()[rows], solved.targets.numpy()[rows]) if len(rows) else 1.0


def _calibrated_loss(solved: CrossFittedHead) -> float:
    """The log-loss at the best temperature: a penalty must not win by its confidence alone, which this corrects."""
    logits, targets = solved.logits[solved.judged] / _temperature(solved), solved.targets[solved.judged]
    return float(F.cross_entropy(logits, targets))
