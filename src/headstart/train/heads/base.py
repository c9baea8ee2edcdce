"""The interface of head solvers: from features and labels to a head.

A solver is an object with a name and the three methods of :class:`HeadSolver`. Once it is registered
(:func:`headstart.train.heads.registry.register_head_solver`), ``--head-solver NAME`` chooses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from headstart.evaluate.schema import EpochRecord
from headstart.train.class_balance import Balance
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.vectors import LabeledVectors, Vectors

__all__ = ["Head", "HeadFit", "HeadProblem", "HeadSolver", "LabeledVectors"]


@dataclass(frozen=True)
class HeadProblem:
    """What a head is solved for. A solver may ignore what it has no use for, except the number of classes."""

    classes: int
    l2: float | None = None  # penalty; None: the solver chooses it
    blocks: tuple[int, ...] = ()  # sizes of the blocks of features: the last ones, then the pooled stages, if any
    stages: str = "auto"  # which of the stages the head is given: "auto", or the text of a StageChoice
    kernel: str = "auto"  # whether it is given a radial kernel of the features instead: "auto", "none" or "rbf:GAMMA"
    pretrained: LinearHead | None = None  # pretrained rows for the classes, with zeros for the classes that are new
    discriminant: bool = True  # whether a discriminant analysis of the training images may be a prior
    balance: Balance | None = None  # how the loss corrects for imbalanced classes
    precision: str = "float32"  # of the products while searching; "bfloat16" is faster where the hardware supports it
    seed: int = 0
    # Numbers of groups of images that belong together, (N,), of those that hyperparameters are chosen on: the
    # validation images, or with cross-validation the training images.
    groups: NDArray[np.int64] | None = None


class Head(Protocol):
    """What a solver returns."""

    @property
    def bias(self) -> Tensor:
        """(C,)."""

    def logits(self, features: Vectors) -> Tensor:
        """The logits (N, C) of features (N, D)."""


@dataclass(frozen=True)
class HeadFit:
    """A solved head, and how it was chosen."""

    head: Head
    history: tuple[EpochRecord, ...]  # one record per head that was tried, the chosen one marked
    # (V, C) of the validation images, or out of fold (N, C) of the training images. Where the solver chooses between
    # heads, each image's logits are those of the head that the other images choose.
    validation_logits: Tensor
    l2: float | None = None  # the chosen penalty
    prior: str | None = None  # what the penalty pulls to
    stages: str | None = None  # the chosen stages, where there are any
    kernel: str | None = None  # the chosen kernel, if any
    description: str = ""  # for users, for example "L2 penalty 0.01 toward zero"
    solver_state: object = None  # whatever else the solver needs in order to refit


class HeadSolver(Protocol):
    """Solves a linear head on features that do not change."""

    @property
    def name(self) -> str:
        """The name in ``--head-solver``."""

    def fit(self, train: LabeledVectors, validation: LabeledVectors | None, problem: HeadProblem) -> HeadFit:
        """Solve the head; choose hyperparameters on the validation images.

        :param train: features (N, D) float, or of several views (N, V, D), and targets (N,) int64.
        :param validation: the same of other images. With None hyperparameters are chosen by cross-validation on the
            training images, and ``validation_logits`` are out of fold: each image's logits come from a head that was
            solved without it.
        :raises DataError: there are too few images for cross-validation.
        """

    def refit(self, fit: HeadFit, *splits: LabeledVectors, problem: HeadProblem) -> Head:
        """Solve the head of a fit again on all the given images, with the hyperparameters that were chosen.

        :param problem: as for :meth:`fit`; its balance should be that of the given images.
        """

    def forecast(self, images: int, features: int, classes: int, *, device: str, cross_validated: bool) -> float:
        """Estimate the seconds that :meth:`fit` takes for features (images, features)."""
