"""The convex part: a linear head on features that do not change, solved instead of trained.

Multinomial logistic regression with an L2 penalty has one optimum, which L-BFGS finds without a learning rate. The
penalty pulls the weights to an origin: zero, the rows of the pretrained head where class names match, or a linear
discriminant analysis (:mod:`headstart.train.origins`). Validation log-loss chooses the strength and the origin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import DataError
from headstart.train.balance import Balance
from headstart.train.figures import figures
from headstart.train.origins import Discriminant, Origin, Pretrained, Solution, Zero
from headstart.train.vectors import Images, Passes, Scaling, Vectors, taken

__all__ = ["HeadFit", "solve_again", "solve_head", "solve_head_by_folds"]

STRENGTHS = tuple(10 ** (-step / 2) for step in range(-2, 13))
"""Penalties that may be tried, 10 to 1e-6, for features scaled to a mean square of 1 and a loss that is a mean."""

_FIRST = {"zero": 6, "pretrained": 4, "discriminant": 4}  # where the walk starts: near where most data sets end
# Steps of L-BFGS: where a walk begins, for each strength after that, which starts near its end, and at last for the
# solution that is kept. With 60 for all of them the log-loss differed in the third digit.
_FROM_FAR, _FROM_NEAR = 30, 15


@dataclass(frozen=True)
class HeadFit:
    """The solution that validated best, and what each penalty gave."""

    solution: Solution
    l2: float
    origin: Origin  # what the penalty pulls to
    history: list[dict[str, Any]]


def solve_head(
    train: tuple[Vectors, Tensor],
    validation: tuple[Vectors, Tensor],
    *,
    classes: int,
    l2: float | None = None,
    pretrained: Solution | None = None,
    discriminant: bool = True,
    balance: Balance | None = None,
    precision: str = "float32",
) -> HeadFit:
    """Solve the head for the penalties that matter, or for the one given.

    :param train: features (N, D) float and targets (N,) int64; ``validation``: the same of other images. Features that
        are no tensor are read anew in each pass over them.
    :param pretrained: an origin to which the penalty may pull, beside zero, with zeros for classes that are new.
    :param discriminant: whether a discriminant analysis of ``train`` is one more.
    :param balance: how the loss makes up for rare classes; "val_balanced_loss" then chooses, in which classes count
        alike.
    :param precision: of the products in the search for penalty and origin; with "bfloat16" it is faster where the
        processor computes with that. The solution that is kept is solved to its end in float32.
    :returns: the fit; a line of history for each penalty and origin, the chosen one marked: of the origins that did not
        promise most, there is one line. Losses in it are without penalty and balance.

    >>> x, y = torch.eye(3).repeat(8, 1), torch.arange(3).repeat(8)
    >>> fit = solve_head((x, y), (x, y), classes=3)
    >>> max(line["val_accuracy"] for line in fit.history)
    1.0
    """
    tasks = [_Task(train, validation, precision)]
    best, history = _walked(tasks, classes, l2, pretrained, balance, discriminant=discriminant)
    return HeadFit(best.solutions[0].unscaled(tasks[0].scaling), best.best["l2"], best.origin, history)


def solve_head_by_folds(  # noqa: PLR0913 - all but one have names
    train: tuple[Vectors, Tensor],
    *,
    classes: int,
    l2: float | None = None,
    pretrained: Solution | None = None,
    discriminant: bool = True,
    folds: int = 5,
    balance: Balance | None = None,
    seed: int = 0,
    precision: str = "float32",
) -> tuple[HeadFit, Tensor]:
    """Solve the head on all images; penalty and origin are chosen by folds, so that none need be kept for validation.

    Each fold in turn is examined by a head solved on the others. A class is spread over as many folds as it can be; of
    a class with one image only, that image has no say in the choice, since the head that examines it does not know
    the class.

    :param train: features (N, D) float and targets (N,) int64.
    :param folds: 2 or more; as many as the largest class has images, if that is less.
    :returns: the fit, and the logits (N, C) that each image has from the head that did not see it. In the history,
        "val_loss" and what follows it are of these logits.
    :raises DataError: no class has two images.

    >>> x, y = torch.eye(3).repeat(8, 1), torch.arange(3).repeat(8)
    >>> fit, logits = solve_head_by_folds((x, y), classes=3)
    >>> bool((logits.argmax(1) == y).all())
    True
    """
    features, targets = train
    device, labels = targets.device, targets.cpu().numpy()
    sides = _turns(labels, folds, seed)

    def of(rows: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        return taken(features, np.flatnonzero(rows), device), targets[torch.from_numpy(rows).to(device)]

    tasks = [_Task(of(~own), of(own & np.isin(labels, labels[~own])), precision) for own in sides]
    best, history = _walked(tasks, classes, l2, pretrained, balance, discriminant=discriminant)

    found = [solution.unscaled(task.scaling) for task, solution in zip(tasks, best.solutions, strict=True)]
    logits = torch.empty(len(targets), classes, device=device)
    for own, solution in zip(sides, found, strict=True):
        logits[torch.from_numpy(own).to(device)] = solution.logits(of(own)[0])
    mean = Solution(
        torch.stack([each.weight for each in found]).mean(0), torch.stack([each.bias for each in found]).mean(0)
    )
    of_folds = HeadFit(mean, best.best["l2"], best.origin, history)
    return replace(of_folds, solution=solve_again(of_folds, train, balance=balance)), logits


def solve_again(fit: HeadFit, *images: tuple[Vectors, Tensor], balance: Balance | None = None) -> Solution:
    """The head of the penalty and origin that were chosen, of other images: of all there are, once nothing is chosen.

    :param fit: its solution is where the search starts, which what is found does not depend on.
    :param images: features (N, D) float and targets (N,) int64, of one part of them or more.
    :param balance: as of :func:`solve_head`.

    >>> x, y = torch.eye(3).repeat(8, 1), torch.arange(3).repeat(8)
    >>> some, others = (x[:12], y[:12]), (x[12:], y[12:])
    >>> fit = solve_head(some, others, classes=3)
    >>> bool((solve_again(fit, some, others).logits(x).argmax(1) == y).all())
    True
    """
    every = Images(*images)
    scaling, start = Scaling(every), fit.solution
    loss = (balance or Balance()).to(start.bias.device)
    data = every.scaled(scaling)
    origin = fit.origin.among(data)
    return _minimise(start.scaled(scaling), origin, data, fit.l2, loss, _FROM_FAR).unscaled(scaling)


def _turns(targets: NDArray[np.int64], folds: int, seed: int) -> list[NDArray[np.bool_]]:
    """For each fold which images are its own, (N,).

    Images are dealt out class by class, in an order drawn at random, so that classes with fewer images than folds are
    spread too.
    """
    if folds < 2:
        raise ValueError(f"folds must be 2 or more, so that there are others to solve on, got {folds}")
    largest = int(np.bincount(targets).max())
    if largest < 2:
        raise DataError("choosing by folds needs a class with two images at least: give more images of a class")
    folds = min(folds, largest)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(targets)), targets))
    fold = np.empty(len(targets), np.int64)
    fold[order] = np.arange(len(targets)) % folds
    return [fold == number for number in range(folds)]


class _Task:
    """Images to solve on and images to examine, scaled as the former want it."""

    def __init__(self, train: tuple[Vectors, Tensor], validation: tuple[Vectors, Tensor], precision: str) -> None:
        images, others = Images(train), Images(validation)
        self.scaling = Scaling(images)
        self.search = images.kept(self.scaling, getattr(torch, precision))
        self.scaled = images.scaled(self.scaling)
        self.train = self.search if precision == "float32" else self.scaled
        self.validation = others.scaled(self.scaling)


def _walked(
    tasks: list[_Task],
    classes: int,
    l2: float | None,
    pretrained: Solution | None,
    balance: Balance | None,
    *,
    discriminant: bool,
) -> tuple[_Walk, list[dict[str, Any]]]:
    """The walk from the origin that validated best with the first strength, or the one given; and the lines of all."""
    loss = (balance or Balance()).to(tasks[0].scaling.mean.device)
    known: list[Origin] = [Zero(classes)]
    if pretrained is not None:
        known.append(Pretrained(pretrained))
    walks = [_Walk(each, tasks, [each.among(task.scaled) for task in tasks], loss) for each in known]
    told = Discriminant.chosen([(task.scaled, task.validation) for task in tasks], classes) if discriminant else None
    if told is not None:
        walks.append(_Walk(told[0], tasks, told[1], loss))
    for walk in walks:
        walk.begin(l2)
    best = min(walks, key=lambda walk: float(walk.best[walk.chooses]))
    if l2 is None:
        best.go()
    best.end()
    lines = [line for walk in walks for line in walk.history]
    return best, [{"stage": "head", "epoch": epoch, **line} for epoch, line in enumerate(lines, 1)]


@dataclass
class _Walk:
    """From one strength to the next while validation improves, weaker first; each starts at the solutions before it.

    Log-loss over the logarithm of the strength has one valley, so that the first rise is the end.
    """

    origin: Origin
    tasks: list[_Task]
    origins: list[Solution]  # of each task
    balance: Balance
    tried: dict[float, tuple[dict[str, Any], list[Solution]]] = field(default_factory=dict)

    def begin(self, l2: float | None) -> None:
        """Try the strength given, or the first."""
        self._try(STRENGTHS[_FIRST[self.origin.name]] if l2 is None else l2, self.origins, _FROM_FAR)

    def go(self) -> None:
        """Walk on from the first."""
        first = _FIRST[self.origin.name]
        weaker, stronger = STRENGTHS[first + 1 :], STRENGTHS[:first][::-1]
        if not self._along(weaker):
            self._along(stronger)

    def _along(self, strengths: tuple[float, ...]) -> int:
        """How many steps brought something."""
        for steps, strength in enumerate(strengths):
            before, solutions = self.best[self.chooses], self.solutions
            if self._try(strength, solutions, _FROM_NEAR) >= before:
                return steps
        return len(strengths)

    def end(self) -> None:
        """Go on from the best to its end, as exactly as the features are kept, and mark it as chosen."""
        l2, before = self.best["l2"], self.best["seconds"]
        told, solutions = self._solved(l2, self.solutions, [task.train for task in self.tasks], _FROM_NEAR)
        self.tried[l2] = ({**told, "seconds": round(before + told["seconds"], 3), "chosen": True}, solutions)

    def _try(self, l2: float, starts: list[Solution], steps: int) -> float:
        self.tried[l2] = self._solved(l2, starts, [task.search for task in self.tasks], steps)
        return float(self.tried[l2][0][self.chooses])

    def _solved(
        self, l2: float, starts: list[Solution], data: list[Passes], steps: int
    ) -> tuple[dict[str, Any], list[Solution]]:
        """The line of history, and each task's solution."""
        clock = time.monotonic()
        solutions = [
            _minimise(start, origin, images, l2, self.balance, steps)
            for start, origin, images in zip(starts, self.origins, data, strict=True)
        ]
        seconds = round(time.monotonic() - clock, 3)
        told = self._means(solutions, [task.train for task in self.tasks])
        told |= self._figures(solutions, [task.validation for task in self.tasks])
        return {"start": self.origin.name, "l2": l2, **told, "seconds": seconds, "chosen": False}, solutions

    def _figures(self, solutions: list[Solution], data: list[Passes]) -> dict[str, float]:
        """Of all tasks' images together, to choose by."""
        logits, targets = (torch.cat(each) for each in zip(*_seen(solutions, data), strict=True))
        return figures(logits, targets, prefix="val_", balanced=bool(self.balance))

    @staticmethod
    def _means(solutions: list[Solution], data: list[Passes]) -> dict[str, float]:
        """Of all tasks' images together, without keeping what each is given."""
        told = [(figures(logits, targets), len(targets)) for logits, targets in _seen(solutions, data)]
        images = sum(count for _, count in told)
        return {name: sum(each[name] * count for each, count in told) / images for name in told[0][0]}

    @property
    def chooses(self) -> str:
        """The figure that the smallest is wanted of."""
        return "val_balanced_loss" if self.balance else "val_loss"

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines, strongest penalty first."""
        return [self.tried[l2][0] for l2 in sorted(self.tried, reverse=True)]

    @property
    def best(self) -> dict[str, Any]:
        """The line that validated best; once one is chosen, that, whatever its end made of its figures."""
        return min(self.history, key=lambda line: (not line["chosen"], float(line[self.chooses])))

    @property
    def solutions(self) -> list[Solution]:
        """Each task's solution of that line."""
        return self.tried[self.best["l2"]][1]


def _seen(solutions: list[Solution], data: list[Passes]) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and targets of each solution's images."""
    return ((each.logits(x), y) for each, images in zip(solutions, data, strict=True) for x, y in images)


def _minimise(start: Solution, origin: Solution, images: Passes, l2: float, balance: Balance, steps: int) -> Solution:
    # What is solved for is the distance from the origin in steps that shrink as the pull grows: with a strong pull the
    # weights would else be so much stiffer than the bias that L-BFGS ends before the bias has moved.
    step = 1 / math.sqrt(1 + l2)
    away = (start.weight - origin.weight) / step
    bias = start.bias.clone()
    solver = torch.optim.LBFGS(
        [away, bias],
        max_iter=steps,
        history_size=10,
        # Far below what matters: a walk starts each strength where the last one ended, and must leave from there.
        tolerance_grad=1e-7,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def objective() -> float:
        # Of some images at a time: the gradients add up in these two.
        weight, offset = (origin.weight + step * away).requires_grad_(), bias.clone().requires_grad_()
        total, count = 0.0, 0
        for x, targets in images:
            loss = balance.loss(F.linear(x, weight.to(x.dtype)).to(bias.dtype) + offset, targets)
            loss.backward(loss.new_tensor(len(targets)))  # type: ignore[no-untyped-call]
            total, count = total + float(loss.detach()) * len(targets), count + len(targets)
        assert weight.grad is not None
        assert offset.grad is not None
        away.grad, bias.grad = step * (weight.grad / count + l2 * step * away), offset.grad / count
        return total / count + 0.5 * l2 * float((step * away).square().sum())

    solver.step(objective)  # type: ignore[no-untyped-call]
    return Solution(origin.weight + step * away, bias)
