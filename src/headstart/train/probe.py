"""How well the features of a frozen network separate classes.

A head is solved on some images and evaluated on others; the evidence of a Bayesian linear model is a second opinion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional as F

from headstart.evaluate import intervals
from headstart.evaluate.schema import Interval
from headstart.train.heads import HeadProblem, HeadSolver, LabeledVectors, head_solver
from headstart.train.metrics import paired_difference

__all__ = ["Probe", "halving_eliminations", "log_loss_difference", "logme", "probe"]

_MAX_ITERATIONS = 100  # of the fixed point; most classes need fewer than ten
_TOLERANCE = 1e-3  # relative change of alpha / beta at which it has converged


@dataclass(frozen=True)
class Probe:
    """The results of a solved head on validation images."""

    losses: NDArray[np.float64]  # (V,) nats
    hits: NDArray[np.bool_]  # (V,)
    l2: float | None  # the penalty that validated best

    @property
    def log_loss(self) -> Interval:
        """The mean log-loss with its 95 % interval."""
        return intervals.mean(self.losses)

    @property
    def accuracy(self) -> Interval:
        """The top-1 accuracy with its 95 % interval."""
        return intervals.wilson(int(self.hits.sum()), len(self.hits))


def probe(
    train: LabeledVectors,
    validation: LabeledVectors,
    problem: HeadProblem,
    *,
    solver: HeadSolver | None = None,
) -> Probe:
    """Solve a head as ``fit --train head`` does, and evaluate it.

    :param train: features (N, D) float and targets (N,) int64; ``validation``: the same of other images.
    :param solver: by default "lbfgs".

    >>> import torch
    >>> x, y = torch.eye(2).repeat(8, 1), torch.arange(2).repeat(8)
    >>> probe((x, y), (x, y), HeadProblem(classes=2)).accuracy.value
    1.0
    """
    fit = (solver or head_solver("lbfgs")).fit(train, validation, problem)
    targets = validation[1]
    losses = F.cross_entropy(fit.validation_logits, targets, reduction="none")
    hits = fit.validation_logits.argmax(1) == targets
    return Probe(losses.double().cpu().numpy(), hits.cpu().numpy(), fit.l2)


def log_loss_difference(one: Probe, other: Probe) -> tuple[float, float]:
    """The mean of the log-loss of ``one`` minus that of ``other`` on the same images, and 1.96 standard errors."""
    return paired_difference(one.losses, other.losses)


def halving_eliminations(probes: Mapping[str, Probe]) -> list[str]:
    """Names of the probes in the worse half that are worse than the best beyond chance.

    Successive halving (Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization,
    AISTATS 2016), except that it never eliminates what may be as good as the best.

    >>> base = np.array([0.1, 0.2, 0.3, 0.2])
    >>> losses = {"good": base, "poor": base + 1, "as good": base + [0.1, -0.1, 0.1, 0], "worse": base + 2}
    >>> halving_eliminations({name: Probe(each, each < 1, 0.01) for name, each in losses.items()})
    ['poor', 'worse']
    """
    order = sorted(probes, key=lambda name: float(probes[name].losses.mean()))
    eliminated = []
    for name in order[math.ceil(len(order) / 2) :]:
        mean, error = log_loss_difference(probes[name], probes[order[0]])
        if mean > error:
            eliminated.append(name)
    return eliminated


def logme(features: NDArray[np.floating], targets: NDArray[np.integer], *, classes: int) -> float:
    """The logarithm of the maximum evidence per image and class (LogME): the higher, the better the features.

    Each class is a 0/1 target of a linear model with Gaussian noise of precision beta and a Gaussian prior of precision
    alpha. The evidence p(y | F, alpha, beta), in which the weights are integrated out, is maximized over both by
    MacKay's fixed point: You, Liu, Wang and Long, LogME: Practical assessment of pre-trained models for transfer
    learning, ICML 2021 (arXiv:2102.11005), equations 2 and 3; computed from the eigenvalues of the smaller Gram matrix.

    :param features: (N, D).
    :param targets: (N,) integers below ``classes``; each class must have an image.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(60) % 3
    >>> signal, noise = np.eye(3)[targets], rng.normal(size=(60, 3))
    >>> logme(signal + noise / 10, targets, classes=3) > logme(noise, targets, classes=3)
    True
    """
    f = np.asarray(features, np.float64)
    images, dimensions = f.shape
    y = np.eye(classes)[targets]  # (N, C)
    squares, z = _rotate(f, y)  # (R,) squared singular values; (R, C) the targets in the left singular vectors
    unexplained = np.maximum((y**2).sum(0) - (z**2).sum(0), 0)  # (C,) the part that no weights can explain
    alpha, beta = np.ones(classes), np.ones(classes)
    for _ in range(_MAX_ITERATIONS):
        before = alpha / beta
        gamma, weights, residual = _posterior(squares, z, unexplained, alpha, beta)
        alpha = np.maximum(gamma / np.maximum(weights, 1e-12), 1e-12)  # features that are all zeros explain nothing
        beta = (images - gamma) / np.maximum(residual, 1e-12)
        if (np.abs(alpha / beta - before) <= _TOLERANCE * before).all():
            break
    _, weights, residual = _posterior(squares, z, unexplained, alpha, beta)
    log_determinant = np.log(alpha + beta * squares[:, None]).sum(0) + (dimensions - len(squares)) * np.log(alpha)
    evidence = images * np.log(beta) + dimensions * np.log(alpha) - images * math.log(2 * math.pi)
    evidence -= beta * residual + alpha * weights + log_determinant
    return float(evidence.mean() / 2 / images)


def _rotate(f: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from scipy.linalg import eigh

    images, dimensions = f.shape
    squares, vectors = eigh(f.T @ f if dimensions <= images else f @ f.T)
    kept = squares > 1e-10 * max(squares[-1], 1e-300)  # smaller ones are rounding errors
    squares, vectors = squares[kept], vectors[:, kept]
    if dimensions > images:
        return squares, vectors.T @ y
    return squares, (vectors.T @ (f.T @ y)) / np.sqrt(squares)[:, None]


def _posterior(
    squares: NDArray[np.float64],
    z: NDArray[np.float64],
    unexplained: NDArray[np.float64],
    alpha: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """For each class: effective parameters gamma, squared length of the mean weights, squared residual."""
    precision = beta * squares[:, None]  # (R, C)
    total = alpha + precision
    gamma = (precision / total).sum(0)
    weights = ((beta * z / total) ** 2 * squares[:, None]).sum(0)
    residual = ((alpha * z / total) ** 2).sum(0) + unexplained
    return gamma, weights, residual
