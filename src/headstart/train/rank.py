"""How well features of a frozen network tell classes apart: a head solved on some images and tried on others, and the
evidence of a Bayesian linear model as a second opinion."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from headstart.evaluate import intervals
from headstart.evaluate.intervals import Interval
from headstart.train import figures
from headstart.train.head import solve_head
from headstart.train.origins import Solution

__all__ = ["Probe", "difference", "hopeless", "logme", "probe"]

_STEPS = 100  # of the fixed point; most classes need fewer than ten
_CLOSE = 1e-3  # relative change of alpha / beta at which it has ended


@dataclass(frozen=True)
class Probe:
    """What a solved head says of validation images that it was not solved on."""

    losses: NDArray[np.float64]  # (V,) nats
    hits: NDArray[np.bool_]  # (V,)
    l2: float  # the strength that validated best

    @property
    def log_loss(self) -> Interval:
        """The mean, with 95 % interval."""
        return intervals.mean(self.losses)

    @property
    def accuracy(self) -> Interval:
        """The share of images whose class comes first, with 95 % interval."""
        return intervals.wilson(int(self.hits.sum()), len(self.hits))


def probe(
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    classes: int,
    pretrained: Solution | None = None,
) -> Probe:
    """Solve a head as ``fit --train head`` does, and try it.

    :param train: features (N, D) float and targets (N,) int64; ``validation``: the same of other images.
    :param pretrained: an origin for the head beside others, as for :func:`headstart.train.head.solve_head`.

    >>> x, y = torch.eye(2).repeat(8, 1), torch.arange(2).repeat(8)
    >>> probe((x, y), (x, y), classes=2).accuracy["value"]
    1.0
    """
    found = solve_head(train, validation, classes=classes, pretrained=pretrained)
    features, targets = validation
    with torch.no_grad():
        logits = F.linear(features, found.solution.weight, found.solution.bias)
        losses = F.cross_entropy(logits, targets, reduction="none")
    hits = logits.argmax(1) == targets
    return Probe(losses.double().cpu().numpy(), hits.cpu().numpy(), found.l2)


def difference(one: Probe, other: Probe) -> tuple[float, float]:
    """By how much ``one`` has more log-loss than ``other`` on the same images: the mean, and 1.96 standard errors."""
    return figures.difference(one.losses, other.losses)


def hopeless(probes: Mapping[str, Probe]) -> list[str]:
    """Names that more images will not bring to the front: in the worse half, and worse than the best beyond chance.

    Successive halving (Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization,
    AISTATS 2016), which here never drops what may be as good as the best.

    >>> some = np.array([0.1, 0.2, 0.3, 0.2])
    >>> told = {"good": some, "poor": some + 1, "as good": some + [0.1, -0.1, 0.1, 0], "worse": some + 2}
    >>> hopeless({name: Probe(losses, losses < 1, 0.01) for name, losses in told.items()})
    ['poor', 'worse']
    """
    order = sorted(probes, key=lambda name: float(probes[name].losses.mean()))
    dropped = []
    for name in order[math.ceil(len(order) / 2) :]:
        mean, error = difference(probes[name], probes[order[0]])
        if mean > error:
            dropped.append(name)
    return dropped


def logme(features: NDArray[np.floating], targets: NDArray[np.integer], *, classes: int) -> float:
    """The logarithm of the maximum evidence for each image and class: the higher, the better the features.

    Each class is a target of 0 and 1 of a linear model with Gaussian noise of precision beta and a Gaussian prior of
    precision alpha. The evidence p(y | F, alpha, beta), in which the weights are integrated out, is maximised over both
    by MacKay's fixed point: You, Liu, Wang and Long, LogME: Practical assessment of pre-trained models for transfer
    learning, ICML 2021 (arXiv:2102.11005), equations 2 and 3; by the eigenvalues of the smaller Gram matrix.

    :param features: (N, D); ``targets``: (N,) integers below ``classes``, of which each has an image.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(60) % 3
    >>> told, noise = np.eye(3)[targets], rng.normal(size=(60, 3))
    >>> logme(told + noise / 10, targets, classes=3) > logme(noise, targets, classes=3)
    True
    """
    f = np.asarray(features, np.float64)
    images, dimensions = f.shape
    y = np.eye(classes)[targets]  # (N, C)
    squares, z = _rotated(f, y)  # (R,) squared singular values; (R, C) the targets in the left singular vectors
    outside = np.maximum((y**2).sum(0) - (z**2).sum(0), 0)  # (C,) what no weights can explain
    alpha, beta = np.ones(classes), np.ones(classes)
    for _ in range(_STEPS):
        before = alpha / beta
        gamma, weights, residual = _explained(squares, z, outside, alpha, beta)
        alpha = np.maximum(gamma / np.maximum(weights, 1e-12), 1e-12)  # features that are all zeros explain nothing
        beta = (images - gamma) / np.maximum(residual, 1e-12)
        if (np.abs(alpha / beta - before) <= _CLOSE * before).all():
            break
    _, weights, residual = _explained(squares, z, outside, alpha, beta)
    log_determinant = np.log(alpha + beta * squares[:, None]).sum(0) + (dimensions - len(squares)) * np.log(alpha)
    evidence = images * np.log(beta) + dimensions * np.log(alpha) - images * math.log(2 * math.pi)
    evidence -= beta * residual + alpha * weights + log_determinant
    return float(evidence.mean() / 2 / images)


def _rotated(f: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from scipy.linalg import eigh

    images, dimensions = f.shape
    squares, vectors = eigh(f.T @ f if dimensions <= images else f @ f.T)
    kept = squares > 1e-10 * max(squares[-1], 1e-300)  # below it is rounding
    squares, vectors = squares[kept], vectors[:, kept]
    if dimensions > images:
        return squares, vectors.T @ y
    return squares, (vectors.T @ (f.T @ y)) / np.sqrt(squares)[:, None]


def _explained(
    squares: NDArray[np.float64],
    z: NDArray[np.float64],
    outside: NDArray[np.float64],
    alpha: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """For each class: effective parameters gamma, squared length of the mean weights, squared residual."""
    along = beta * squares[:, None]  # (R, C)
    total = alpha + along
    gamma = (along / total).sum(0)
    weights = ((beta * z / total) ** 2 * squares[:, None]).sum(0)
    residual = ((alpha * z / total) ** 2).sum(0) + outside
    return gamma, weights, residual
