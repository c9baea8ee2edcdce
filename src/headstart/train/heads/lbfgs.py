"""The built-in head solver: multinomial logistic regression, solved by L-BFGS.

With an L2 penalty it has one optimum, which L-BFGS finds without a learning rate. The penalty pulls to a prior: zero,
the rows of the pretrained head where class names match, or a linear discriminant analysis
(:mod:`headstart.train.heads.priors`). The validation log-loss chooses penalty and prior, whether the head is given the
pooled stages of the network beside its last features (:mod:`headstart.train.heads.penalty`), and if so, whether these
features or a kernel of them (:mod:`headstart.train.heads.kernel`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import DataError
from headstart.evaluate.schema import EpochRecord
from headstart.train.class_balance import Balance
from headstart.train.heads.base import Head, HeadFit, HeadProblem, LabeledVectors
from headstart.train.heads.cross_validation import fold_masks
from headstart.train.heads.kernel import GAMMAS, MAX_IMAGES, KernelFeatures, KernelHead, parse_kernel
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.logistic import minimize
from headstart.train.heads.penalty import NO_STAGES, Penalty, StageChoice
from headstart.train.heads.priors import Prior
from headstart.train.heads.regularization_path import HOPELESS, MAX_ITER_COLD, Found, SearchTask, cross_fitted, search
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
        searches = [_searched(train, validation, problem)]
        if problem.kernel != "none":
            searches += _kernel_searches(searches[0], train, validation, problem)
        # A given kernel is not compared with the features as they are.
        judged = searches if problem.kernel in ("auto", "none") else searches[1:]
        best = min(judged, key=lambda each: each.found.best_loss)
        trials = [(each, trial) for each in judged for trial in each.found.trials]
        logits = torch.empty(len(validation[1]), problem.classes, device=validation[1].device)
        for number, images in cross_fitted(
            [trial for _, trial in trials], [validation[1]], problem, groups=problem.groups
        ):
            own, trial = trials[number]
            rows = torch.from_numpy(images).to(logits.device)
            logits[rows] = own.head(trial.heads[0]).logits(validation[0])[rows]
        return _result(searches, best, best.head(best.found.best.heads[0]), logits)

    def refit(self, fit: HeadFit, *splits: LabeledVectors, problem: HeadProblem) -> Head:
        """See :class:`~headstart.train.heads.base.HeadSolver`. The search starts from the head of the fit.

        >>> x, y = torch.eye(3).repeat(8, 1), torch.arange(3).repeat(8)
        >>> train, validation, problem = (x[:12], y[:12]), (x[12:], y[12:]), HeadProblem(classes=3)
        >>> fit = LbfgsSolver().fit(train, validation, problem)
        >>> head = LbfgsSolver().refit(fit, train, validation, problem=problem)
        >>> bool((head.logits(x).argmax(1) == y).all())
        True
        """
        chosen, head = fit.solver_state, fit.head
        if isinstance(chosen, _Chosen) and isinstance(head, LinearHead):
            return _solve(head, chosen, splits, problem)
        if isinstance(chosen, _Chosen) and isinstance(head, KernelHead):
            mapped = [head.features.of_split(split) for split in splits]
            linear = _solve(head.linear, chosen, mapped, replace(problem, blocks=()))
            return KernelHead(head.features, linear)
        raise TypeError("refit needs the result of fit of the same solver")

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
        masks = fold_masks(labels, self.folds, problem.seed, groups=problem.groups)

        def select(mask: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
            return take(features, np.flatnonzero(mask), device), targets[torch.from_numpy(mask).to(device)]

        if problem.kernel not in ("auto", "none"):
            raise DataError(f"--kernel {problem.kernel} needs validation images: give more images, or leave it out")
        tasks = [SearchTask(select(~mask), select(mask & np.isin(labels, labels[~mask])), problem) for mask in masks]
        found = search(tasks, problem)
        logits = torch.empty(len(targets), problem.classes, device=device)
        trials = found.trials
        judged = [task.validation.dataset.targets for task in tasks]
        fitted = cross_fitted(trials, judged, problem)
        for number, (mask, task) in enumerate(zip(masks, tasks, strict=True)):
            # All images of a fold are judged by one trial: the one that was chosen by the other folds.
            start = sum(len(each.validation) for each in tasks[:number])
            judges = [trials[each] for each, images in fitted if images[start : start + len(task.validation)].any()]
            head = (judges[0] if judges else found.best).heads[number].unscaled(task.scaling)
            logits[torch.from_numpy(mask).to(device)] = head.logits(select(mask)[0])
        heads = [head.unscaled(task.scaling) for task, head in zip(tasks, found.best.heads, strict=True)]
        mean = LinearHead(
            torch.stack([head.weight for head in heads]).mean(0), torch.stack([head.bias for head in heads]).mean(0)
        )
        chosen = _Chosen(found.best.penalty, found.prior)
        solved = _Search(tasks[0].scaling, found)
        return _result([solved], solved, _solve(mean, chosen, [train], problem), logits)


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


@dataclass(frozen=True)
class _Search:
    """A search on the features as they are, or on those of a kernel."""

    scaling: Scaling
    found: Found
    kernel: KernelFeatures | None = None
    gamma: float = 0.0
    stages: StageChoice = NO_STAGES  # that the kernel is given

    def head(self, solved: LinearHead) -> Head:
        """A solution of the search as a head for the features of the network."""
        unscaled = solved.unscaled(self.scaling)
        return unscaled if self.kernel is None else KernelHead(self.kernel, unscaled)

    @property
    def name(self) -> str | None:
        """As ``--kernel`` takes it."""
        return None if self.kernel is None else f"rbf:{self.gamma:g}"

    def records(self, *, chosen: bool) -> Iterator[EpochRecord]:
        """Those of all its trials, of which one may be marked."""
        for record in self.found.records:
            own = replace(record, chosen=record.chosen and chosen)
            yield own if self.kernel is None else replace(own, stages=str(self.stages), kernel=self.name)


def _searched(
    train: LabeledVectors, validation: LabeledVectors, problem: HeadProblem, *, limit: float = math.inf
) -> _Search:
    task = SearchTask(train, validation, problem)
    return _Search(task.scaling, search([task], problem, limit=limit))


def _kernel_searches(
    plain: _Search, train: LabeledVectors, validation: LabeledVectors, problem: HeadProblem
) -> Iterator[_Search]:
    """Searches on kernels of the features that the best head without a kernel is given.

    Without stages a kernel brings little, and takes as long as everything else: unless it is given, it is left out, as
    where only heads that are drawn to the pretrained one are any good, which those on a kernel cannot be, or where what
    it maps the images to would take more than 1 GiB.

    :raises DataError: a kernel is given, and the features do not fit into memory.
    """
    stages = plain.found.best.penalty.stages
    chooses = problem.kernel == "auto"
    features = train[0]
    if not (isinstance(features, Tensor) and isinstance(validation[0], Tensor)):
        if not chooses:
            raise DataError(f"--kernel {problem.kernel}: the features of these images do not fit into memory")
        return
    if chooses and (stages == NO_STAGES or plain.found.needs_pretrained or len(features) > MAX_IMAGES):
        return
    inner = replace(problem, blocks=(), pretrained=None)

    def with_gamma(gamma: float, limit: float) -> _Search:
        kernel = KernelFeatures.of(features, plain.scaling, stages, gamma, seed=problem.seed)
        found = _searched(kernel.of_split(train), kernel.of_split(validation), inner, limit=limit)
        return replace(found, kernel=kernel, gamma=gamma, stages=stages)

    if not chooses:
        yield with_gamma(parse_kernel(problem.kernel), math.inf)
        return
    best_loss = plain.found.best_loss
    for number, gamma in enumerate(GAMMAS):
        tried = with_gamma(gamma, HOPELESS * best_loss)
        yield tried
        improves = tried.found.best_loss < best_loss
        if improves == bool(number):  # the middle one brings nothing, or a neighbor is better than it
            return
        best_loss = min(best_loss, tried.found.best_loss)


def _result(searches: Sequence[_Search], best: _Search, head: Head, logits: Tensor) -> HeadFit:
    found, penalty = best.found, best.found.best.penalty
    records = [record for each in searches for record in each.records(chosen=each is best)]
    chosen = next(record for record in records if record.chosen)
    with_stages = f", with stages {chosen.stages}" if chosen.stages not in (None, "none") else ""
    of_kernel = f", kernel {best.name}" if best.name else ""
    return HeadFit(
        head=head,
        history=tuple(replace(record, epoch=epoch) for epoch, record in enumerate(records, 1)),
        validation_logits=logits,
        l2=penalty.l2,
        prior=found.prior.name,
        stages=chosen.stages,
        kernel=best.name,
        description=f"L2 penalty {penalty.l2:.3g} toward {found.prior.description}{with_stages}{of_kernel}",
        solver_state=_Chosen(penalty, found.prior),
    )
