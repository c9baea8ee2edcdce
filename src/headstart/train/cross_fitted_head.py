"""A head that is solved again and again as labels come in, with an honest figure each time.

The objective is that of the built-in solver (:mod:`headstart.train.heads.logistic`): multinomial logistic regression
with an L2 penalty toward zero or toward the pretrained head. What is left out is what makes a fit slow and its figures
a little better: discriminant analysis, pooled stages and kernels. Each solution starts from the one before, and the
folds are solved side by side, each by one thread: where a machine has other work to do, threads of one product would
wait for each other (:mod:`headstart.execution.waiting`).

An image stays in its fold for good. So no solution for a fold has ever seen an image of it, not even by way of the
solution that it started from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.train.class_balance import Balance
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.logistic import minimize
from headstart.train.heads.penalty import Penalty

__all__ = ["CrossFittedHead", "Folds", "Interrupted", "Objective", "solve_cross_fitted", "with_classes"]

FOLDS = 5

FoldBatches = Sequence[tuple[Tensor, Tensor]]
"""Scaled vectors (n, D) and targets (n,) of the images of one fold, in batches."""


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The solution is not wanted any more."""


class Folds:
    """The fold of each image: given when the image gets its first label, and kept.

    Images are dealt out class by class, so that a class is spread over as many folds as possible; those of one group go
    into one fold.

    >>> folds = Folds()
    >>> folds.of(["a", "b", "c", "d"], [0, 0, 1, 1]).tolist()
    [0, 1, 2, 3]
    >>> folds.of(["d", "e", "a"], [0, 1, 1]).tolist()
    [3, 4, 0]
    """

    def __init__(self, count: int = FOLDS) -> None:
        self.count = count
        self._of_group: dict[object, int] = {}
        self._of_class: dict[int, list[int]] = {}  # images in each fold, by the labels that they had first
        self._totals = [0] * count

    def of(self, groups: Sequence[object], targets: Sequence[int]) -> NDArray[np.int64]:
        """The folds (N,) of images.

        :param groups: of each image, as its content hash.
        :param targets: of each image, numbers of classes.
        """
        found = [self._fold(group, int(target)) for group, target in zip(groups, targets, strict=True)]
        return np.array(found, np.int64)

    def _fold(self, group: object, target: int) -> int:
        known = self._of_group.get(group)
        if known is not None:
            return known
        sizes = self._of_class.setdefault(target, [0] * self.count)
        fold = min(range(self.count), key=lambda each: (sizes[each], self._totals[each], each))
        sizes[fold] += 1
        self._totals[fold] += 1
        self._of_group[group] = fold
        return fold


@dataclass(frozen=True)
class Objective:
    """What is minimized: the mean log-loss plus a penalty toward a prior."""

    classes: int
    columns: int
    l2: float
    prior: LinearHead | None = None  # for the scaled features; None: zero, with free biases

    def minimized(self, data: FoldBatches, start: LinearHead | None, max_iter: int) -> LinearHead:
        """The head for scaled features, from a start or from the prior; the prior itself without images."""
        prior = self.prior or LinearHead(torch.zeros(self.classes, self.columns), torch.zeros(self.classes))
        if not data:
            return replace(prior, known=None)
        strengths = Penalty(self.l2).strengths((self.columns,), prior, bias=self.prior is not None)
        return minimize(start or prior, prior, data, strengths, Balance(), max_iter)


@dataclass(frozen=True)
class CrossFittedHead:
    """A head for scaled features, and for each fold one that was solved without its images."""

    head: LinearHead  # solved on all images
    fold_heads: tuple[LinearHead, ...]
    logits: Tensor  # (N, C) of the images, fold by fold, each by the head of its fold
    targets: Tensor  # (N,)
    judged: Tensor  # (N,) bool: whether the head of the fold knows the class of the image

    @property
    def loss(self) -> float:
        """The mean log-loss of the judged images; not a number without any."""
        return float(F.cross_entropy(self.logits[self.judged], self.targets[self.judged]))

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether each judged image is classified correctly."""
        return (self.logits.argmax(1) == self.targets)[self.judged].numpy()


def solve_cross_fitted(
    folds: Sequence[FoldBatches],
    objective: Objective,
    start: CrossFittedHead | None,
    max_iter: int,
    executor: Executor,
    *,
    interrupted: Callable[[], bool] = lambda: False,
) -> CrossFittedHead:
    """Solve a head on all images, and for each fold one on the images of the others, which predicts those of the fold.

    A class all of whose images are in one fold is not known to the head of that fold: these images are not judged.

    :param start: a solution for the same folds and classes; None: the prior.
    :param executor: its threads compute; each should use one thread of torch.
    :param interrupted: asked before each head.
    :raises Interrupted: it returned True.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> x, y = torch.eye(2).repeat(10, 1), torch.arange(2).repeat(10)
    >>> folds = [[(x[k::5], y[k::5])] for k in range(5)]
    >>> with ThreadPoolExecutor(1) as executor:
    ...     found = solve_cross_fitted(folds, Objective(2, 2, 0.01), None, 30, executor)
    >>> bool(found.hits.all()), found.logits.shape
    (True, torch.Size([20, 2]))
    """

    def solve(without: int | None) -> tuple[LinearHead, Tensor]:
        if interrupted():
            raise Interrupted
        data = [batch for number, fold in enumerate(folds) if number != without for batch in fold]
        before = None if start is None else start.head if without is None else start.fold_heads[without]
        seen = torch.zeros(objective.classes, dtype=torch.bool)
        for _, targets in data:
            seen[targets] = True
        return objective.minimized(data, before, max_iter), seen

    found = list(executor.map(solve, [None, *range(len(folds))]))
    (head, _), of_folds = found[0], found[1:]
    logits, every, judged = [], [], []
    for (own, seen), fold in zip(of_folds, folds, strict=True):
        for x, targets in fold:
            logits.append(own.logits(x))
            every.append(targets)
            judged.append(seen[targets])
    return CrossFittedHead(
        head, tuple(own for own, _ in of_folds), torch.cat(logits), torch.cat(every), torch.cat(judged)
    )


def with_classes(solved: CrossFittedHead, rows: Sequence[int | None]) -> CrossFittedHead:
    """A solution to start from after classes were added or removed; its logits are not to be used.

    :param rows: for each class, its row before; None: a new one, which starts at zero.

    >>> one = LinearHead(torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 4.0]))
    >>> none = torch.zeros(0)
    >>> with_classes(CrossFittedHead(one, (one,), none, none, none), [1, None]).head.weight.tolist()
    [[2.0], [0.0]]
    """

    def arranged(head: LinearHead) -> LinearHead:
        weight, bias = head.weight.new_zeros(len(rows), head.weight.shape[1]), head.bias.new_zeros(len(rows))
        for new, old in enumerate(rows):
            if old is not None:
                weight[new], bias[new] = head.weight[old], head.bias[old]
        return LinearHead(weight, bias)

    return replace(solved, head=arranged(solved.head), fold_heads=tuple(map(arranged, solved.fold_heads)))
