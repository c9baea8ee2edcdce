"""The convex part: a linear head on features that do not change, solved instead of trained.

Multinomial logistic regression with an L2 penalty has one optimum, which L-BFGS finds without a learning rate. The
penalty pulls the weights to zero, or to the rows of the pretrained head where class names match (L2-SP: Li, Grandvalet
and Davoine 2018). Validation log-loss chooses the strength and the origin.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.models.names import match

__all__ = ["HeadFit", "Solution", "matched_head", "solve_head"]

STRENGTHS = tuple(10 ** (-step / 2) for step in range(-2, 13))
"""Penalties that may be tried, 10 to 1e-6, for features scaled to a mean square of 1 and a loss that is a mean."""

_FIRST = {"zero": 6, "pretrained": 4}  # where the walk starts: 0.01 and 0.1, near where most data sets end
_STEPS = 30  # of L-BFGS for each strength; what 60 gave differed in the third digit of the log-loss


@dataclass(frozen=True)
class Solution:
    """``logits = features @ weight.T + bias``."""

    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)


@dataclass(frozen=True)
class HeadFit:
    """The solution that validated best, and what each penalty gave."""

    solution: Solution
    l2: float
    history: list[dict[str, Any]]


def solve_head(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    classes: int,
    l2: float | None = None,
    pretrained: Solution | None = None,
) -> HeadFit:
    """Solve the head for the penalties that matter, or for the one given.

    :param train: features (N, D) float and targets (N,) int64; ``validation``: the same of other images.
    :param pretrained: a second origin to which the penalty may pull, with zeros for classes that are new.
    :returns: the fit; a line of history for each penalty and origin, the chosen one marked.

    >>> x, y = torch.eye(3).repeat(8, 1), torch.arange(3).repeat(8)
    >>> fit = solve_head((x, y), (x, y), classes=3)
    >>> max(line["val_accuracy"] for line in fit.history)
    1.0
    """
    scaling = _Scaling(train[0])
    walks = [
        _Walk("zero", _zeros(classes, train[0]), (scaling(train[0]), train[1]), (scaling(validation[0]), validation[1]))
    ]
    if pretrained is not None:
        walks.append(_Walk("pretrained", scaling.done(pretrained), walks[0].train, walks[0].validation))
    for walk in walks:
        walk.go(l2)
    best = min(walks, key=lambda walk: walk.best["val_loss"])
    best.best["chosen"] = True
    lines = [line for walk in walks for line in walk.history]
    history = [{"stage": "head", "epoch": epoch, **line} for epoch, line in enumerate(lines, 1)]
    return HeadFit(scaling.undone(best.solution), best.best["l2"], history)


@torch.no_grad()
def matched_head(
    old: nn.Module, names: Sequence[str] | None, classes: Sequence[str], features: Tensor, targets: Tensor
) -> Solution | None:
    """The rows of a pretrained head whose classes have the names of ours, and zeros for the others; None without any.

    :param names: of the pretrained head's classes; None where they are not known.
    :param features: (N, D) with their targets (N,): of classes with the same name, the images speak for one.

    >>> old, x, y = nn.Linear(2, 3), torch.ones(2, 2), torch.arange(2)
    >>> found = matched_head(old, ["tabby, tabby cat", "pug", "beagle"], ["new", "pug"], x, y)
    >>> found is not None and torch.equal(found.weight[1], old.weight[1])
    True
    """
    if names is None or not isinstance(old, nn.Linear):
        return None
    old = old.to(features.device)
    weight, bias = features.new_zeros(len(classes), features.shape[1]), features.new_zeros(len(classes))
    for target, candidates in match(classes, names).items():
        scores = old(features[targets == target]).mean(0)[candidates]
        chosen = candidates[int(scores.argmax())]
        weight[target], bias[target] = old.weight[chosen], old.bias[chosen]
    return Solution(weight, bias) if weight.any() else None


def _zeros(classes: int, features: Tensor) -> Solution:
    weight = features.new_zeros(classes, features.shape[1])
    return Solution(weight, weight.new_zeros(classes))


@dataclass
class _Walk:
    """From one strength to the next while validation improves, weaker first; each starts at the solution before it.

    Log-loss over the logarithm of the strength has one valley, so that the first rise is the end.
    """

    start: str
    origin: Solution
    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    tried: dict[float, tuple[dict[str, Any], Solution]] = field(default_factory=dict)

    def go(self, l2: float | None) -> None:
        """Try the strength given, or walk."""
        if l2 is not None:
            self._try(l2, self.origin)
            return
        first = _FIRST[self.start]
        self._try(STRENGTHS[first], self.origin)
        weaker, stronger = STRENGTHS[first + 1 :], STRENGTHS[:first][::-1]
        if not self._along(weaker):
            self._along(stronger)

    def _along(self, strengths: tuple[float, ...]) -> int:
        """How many steps brought something."""
        for steps, strength in enumerate(strengths):
            before, solution = self.best["val_loss"], self.solution
            if self._try(strength, solution) >= before:
                return steps
        return len(strengths)

    def _try(self, l2: float, start: Solution) -> float:
        clock = time.monotonic()
        solution = _minimise(start, self.origin, *self.train, l2)
        seconds = round(time.monotonic() - clock, 3)
        told = _told(solution, *self.train, "") | _told(solution, *self.validation, "val_")
        self.tried[l2] = ({"start": self.start, "l2": l2, **told, "seconds": seconds, "chosen": False}, solution)
        return told["val_loss"]

    @property
    def history(self) -> list[dict[str, Any]]:
        """The lines, strongest penalty first."""
        return [self.tried[l2][0] for l2 in sorted(self.tried, reverse=True)]

    @property
    def best(self) -> dict[str, Any]:
        """The line that validated best."""
        return min(self.history, key=lambda line: float(line["val_loss"]))

    @property
    def solution(self) -> Solution:
        """The solution of that line."""
        return self.tried[self.best["l2"]][1]


class _Scaling:
    """Centred, and divided by one number. Neither moves the optimum but for the meaning of the penalty, which with
    this is the same for networks whose features are of other sizes; and L-BFGS needs fewer steps.
    """

    def __init__(self, features: Tensor) -> None:
        self.mean = features.mean(0)
        self.scale = (features - self.mean).square().mean().sqrt().clamp_min(1e-12)

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale

    def done(self, solution: Solution) -> Solution:
        """A solution for features as they came, as one for scaled features."""
        return Solution(solution.weight * self.scale, solution.bias + solution.weight @ self.mean)

    def undone(self, solution: Solution) -> Solution:
        """The other way round."""
        weight = solution.weight / self.scale
        return Solution(weight, solution.bias - weight @ self.mean)


def _minimise(start: Solution, origin: Solution, x: Tensor, targets: Tensor, l2: float) -> Solution:
    # What is solved for is the distance from the origin in steps that shrink as the pull grows: with a strong pull the
    # weights would else be so much stiffer than the bias that L-BFGS ends before the bias has moved.
    step = 1 / math.sqrt(1 + l2)
    away = ((start.weight - origin.weight) / step).requires_grad_()
    bias = start.bias.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [away, bias],
        max_iter=_STEPS,
        history_size=10,
        # Far below what matters: a walk starts each strength where the last one ended, and must leave from there.
        tolerance_grad=1e-7,
        tolerance_change=1e-8,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        solver.zero_grad()
        pull = (step * away).square().sum()
        loss: Tensor = F.cross_entropy(F.linear(x, origin.weight + step * away, bias), targets) + 0.5 * l2 * pull
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(objective)  # type: ignore[no-untyped-call]
    return Solution(origin.weight + step * away.detach(), bias.detach())


@torch.no_grad()
def _told(solution: Solution, x: Tensor, targets: Tensor, prefix: str) -> dict[str, float]:
    logits = F.linear(x, solution.weight, solution.bias)
    right = (logits.argmax(1) == targets).float().mean()
    return {f"{prefix}loss": float(F.cross_entropy(logits, targets)), f"{prefix}accuracy": float(right)}
