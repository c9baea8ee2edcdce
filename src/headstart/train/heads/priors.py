"""What the L2 penalty of a head pulls to: zero, the rows of the pretrained head, or a linear discriminant analysis.

The first is the usual L2 penalty. The second is L2-SP (Li, Grandvalet and Davoine, Explicit inductive bias for transfer
learning with convolutional networks, ICML 2018). The third is optimal where each class is a Gaussian and all share one
covariance: never quite true, but closer to the truth than zero, above all with few images (Ng and Jordan, On
discriminative vs. generative classifiers, NIPS 2001).

The first two are about the first block of the features, the last ones of the network; the weights of its pooled stages
are drawn to zero. The third is about the first block as well, or about it and the stages that a head is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.evaluate import fit_temperature
from headstart.execution.memory import trim_heap
from headstart.models.class_names import match
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.penalty import NO_STAGES, StageChoice
from headstart.train.heads.vectors import ScaledVectors, Vectors, concatenated, sums, take

__all__ = ["DiscriminantPrior", "PretrainedPrior", "Prior", "ZeroPrior", "matched_head"]

SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
"""Shrinkages of the covariance toward a multiple of the identity that are tried."""

_TEMPERATURE_IMAGES = 2000  # enough images to fit a temperature on
_MAX_DIMENSION = 4096  # features; the memory of a covariance grows with their square


@runtime_checkable
class Prior(Protocol):
    """What the L2 penalty of a head pulls to."""

    @property
    def name(self) -> str:
        """The value of ``prior`` in the history."""

    @property
    def description(self) -> str:
        """What a user reads."""

    @property
    def has_bias(self) -> bool:
        """Whether the penalty pulls the biases as well, so that one or two images of a class do not decide on them."""

    def for_features(self, features: ScaledVectors) -> LinearHead:
        """The prior as a head for scaled features, where the head is solved on these images."""


@dataclass(frozen=True)
class ZeroPrior:
    """The prior of the usual L2 penalty. As usual, the biases are free."""

    classes: int

    name = "zero"
    description = "zero"
    has_bias = False

    def for_features(self, features: ScaledVectors) -> LinearHead:
        """See :class:`Prior`."""
        mean = features.scaling.mean
        return LinearHead(mean.new_zeros(self.classes, features.scaling.blocks[0]), mean.new_zeros(self.classes))


def _with_frequencies(head: LinearHead, features: ScaledVectors) -> LinearHead:
    """The head with the logarithms of the class frequencies in its biases, each class counted once more than it is."""
    classes = len(head.bias)
    counts = torch.bincount(features.dataset.targets, minlength=classes) + 1
    return replace(head, bias=head.bias + (counts / counts.sum()).log())


@dataclass(frozen=True)
class PretrainedPrior:
    """The rows of a pretrained head that :func:`matched_head` found."""

    head: LinearHead

    name = "pretrained"
    description = "the pretrained head"
    has_bias = True

    def for_features(self, features: ScaledVectors) -> LinearHead:
        """See :class:`Prior`."""
        return self.head.scaled(features.scaling)


@dataclass(frozen=True)
class DiscriminantPrior:
    """A linear discriminant analysis of the images that the head is solved on.

    The weights of a class are its mean times the inverse of the covariance within classes, which is shrunk toward a
    multiple of the identity: (1 - a) S + a tr(S)/D I (Friedman, Regularized discriminant analysis, JASA 1989, with one
    covariance for all classes). The logits are divided by a temperature, since features are never quite Gaussian.
    """

    classes: int
    shrinkage: float
    temperature: float
    balanced: bool = False  # whether the loss corrects for the class frequencies, which are then not in the biases
    stages: StageChoice = NO_STAGES  # that are analyzed together with the last features

    has_bias = True

    @property
    def name(self) -> str:
        """See :class:`Prior`."""
        return "discriminant" if self.stages == NO_STAGES else "joint discriminant"

    @property
    def description(self) -> str:
        """See :class:`Prior`."""
        return f"{self.name} analysis"

    @classmethod
    def fit(
        cls,
        tasks: Sequence[tuple[ScaledVectors, ScaledVectors]],
        classes: int,
        *,
        balanced: bool = False,
        stages: StageChoice = NO_STAGES,
    ) -> tuple[DiscriminantPrior, list[LinearHead]] | None:
        """Choose shrinkage and temperature by validation log-loss.

        :param tasks: pairs of scaled training images and scaled validation images: one per cross-validation fold, or
            one in all. They share shrinkage and temperature.
        :returns: the prior, and its head for each task; None where the classes have no covariance to estimate.

        >>> from headstart.train.heads.vectors import Scaling, VectorDataset
        >>> x, y = torch.randn(80, 3, generator=torch.Generator().manual_seed(0)), torch.arange(80) % 4
        >>> dataset = VectorDataset((x + torch.eye(4)[y][:, :3], y))
        >>> scaled = dataset.scaled(Scaling(dataset))
        >>> found = DiscriminantPrior.fit([(scaled, scaled)], classes=4)
        >>> found is not None and found[0].shrinkage in SHRINKAGES
        True
        """
        statistics = [each for train, _ in tasks if (each := _ClassStatistics.fit(train, classes, stages)) is not None]
        if len(statistics) < len(tasks):
            return None
        subsets = _subsets([validation for _, validation in tasks])
        targets = torch.cat([y for _, y in subsets]).cpu().numpy()

        def candidate(shrinkage: float) -> tuple[float, DiscriminantPrior, list[LinearHead]]:
            trim_heap()  # of the matrices before: glibc reuses little of such sizes
            heads = [each.head(shrinkage) for each in statistics]
            logits = torch.cat([head.logits(x) for head, (x, _) in zip(heads, subsets, strict=True)]).cpu()
            temperature = fit_temperature(logits.numpy(), targets, smoothing=1 / (len(targets) + 2))
            loss = float(F.cross_entropy(logits / temperature, torch.from_numpy(targets)))
            prior = cls(classes, shrinkage, temperature, balanced, stages)
            return loss, prior, [each.with_temperature(temperature) for each in heads]

        _, prior, heads = min((candidate(shrinkage) for shrinkage in SHRINKAGES), key=lambda found: found[0])
        if not balanced:
            heads = [_with_frequencies(head, train) for head, (train, _) in zip(heads, tasks, strict=True)]
        return prior, heads

    def for_features(self, features: ScaledVectors) -> LinearHead:
        """See :class:`Prior`."""
        statistics = _ClassStatistics.fit(features, self.classes, self.stages)
        if statistics is None:
            return ZeroPrior(self.classes).for_features(features)
        head = statistics.head(self.shrinkage).with_temperature(self.temperature)
        return head if self.balanced else _with_frequencies(head, features)


@dataclass(frozen=True)
class _ClassStatistics:
    """The mean of each class, and the covariance within classes."""

    means: Tensor  # (C, D); the overall mean for a class without images
    within: Tensor  # (D, D)
    weights: Tensor  # (D,), by which the scaled features were multiplied

    @classmethod
    def fit(cls, features: ScaledVectors, classes: int, stages: StageChoice) -> _ClassStatistics | None:
        """Estimate both in one pass over centered features.

        :returns: None where no class has two images that differ, or the features have too many dimensions.
        """
        weights = stages.column_weights(features.scaling.blocks).to(features.scaling.mean.device)
        if len(weights) > _MAX_DIMENSION:
            return None
        counts, totals, scatter = sums(features, partial(_moments, weights, classes))
        means = totals / counts.clamp_min(1)[:, None]
        degrees = int(counts.sum()) - int((counts > 0).sum())
        if degrees < 1:
            return None
        within = (scatter - totals.T @ means) / degrees
        # Features have a mean square of 1: a smaller variance within classes than this is rounding error of float32.
        return cls(means, within, weights) if float(within.diagonal().mean()) > 1e-6 else None

    def head(self, shrinkage: float) -> LinearHead:
        """The discriminant functions, without the logarithms of the class frequencies."""
        means = self.means.cpu()
        shrunk = (1 - shrinkage) * self.within.cpu()
        shrunk.diagonal().add_(shrinkage * float(self.within.diagonal().mean()))
        triangle = torch.linalg.cholesky(shrunk)
        weight = torch.cholesky_solve(means.T, triangle).T
        bias = -0.5 * (weight * means).sum(1)
        return LinearHead(weight.to(self.means.device) * self.weights, bias.to(self.means.device))


def _moments(weights: Tensor, classes: int, every: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """Images of each class (C,), sums of their weighted vectors (C, D), and the products of these, (D, D)."""
    x = every[:, : len(weights)].float() * weights
    indicators = F.one_hot(targets, classes).to(x.dtype)  # (n, C)
    return indicators.sum(0), indicators.T @ x, x.T @ x


def _subsets(splits: Sequence[ScaledVectors]) -> list[tuple[Tensor, Tensor]]:
    """Evenly spaced images of each split, together about as many as a temperature needs."""
    step = -(-sum(map(len, splits)) // _TEMPERATURE_IMAGES) or 1
    found = (concatenated(split, partial(_every, step)) for split in splits)
    return [(x, targets) for x, targets in found]


def _every(step: int, x: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    return x[::step], targets[::step]


@torch.no_grad()
def matched_head(
    old: nn.Module, names: Sequence[str] | None, classes: Sequence[str], features: Vectors, targets: Tensor
) -> LinearHead | None:
    """The rows of a pretrained head whose classes have the names of the new ones, and zeros for the other classes.

    The rows are divided by a temperature fitted on the images: a head trained on a thousand classes with label
    smoothing is underconfident for a few classes, and a penalty that pulls to it would keep that.

    :param old: the pretrained head.
    :param names: of its classes; None where they are not known.
    :param classes: names of the new classes, in the order of the targets.
    :param features: (N, D or more) of the new images, with their targets (N,). Where several old classes match one new
        class, the one with the highest mean logit is taken.
    :returns: None where no name matches, or the old head is not one linear layer.

    >>> old, x, y = nn.Linear(2, 3), torch.ones(2, 2), torch.arange(2)
    >>> found = matched_head(old, ["tabby, tabby cat", "pug", "beagle"], ["new", "pug"], x, y)
    >>> found is not None and torch.allclose(found.weight[1], old.weight[1])
    True
    """
    if names is None or not isinstance(old, nn.Linear):
        return None
    device = targets.device
    old = old.to(device)
    weight = torch.zeros(len(classes), old.in_features, device=device)
    bias = weight.new_zeros(len(classes))
    matched: list[int] = []
    labels = targets.cpu().numpy()
    for target, candidates in match(classes, names).items():
        own = take(features, np.flatnonzero(labels == target)[:_TEMPERATURE_IMAGES], device)[:, : old.in_features]
        scores = old(own).mean(0)[candidates]
        chosen = candidates[int(scores.argmax())]
        weight[target], bias[target] = old.weight[chosen], old.bias[chosen]
        matched.append(target)
    if not weight.any():
        return None
    temperature = _matched_temperature(LinearHead(weight[matched], bias[matched]), features, targets, matched)
    known = None
    if len(matched) < len(classes):
        known = torch.zeros(len(classes), dtype=torch.bool, device=device)
        known[matched] = True
    return LinearHead(weight, bias, known).with_temperature(temperature)


def _matched_temperature(head: LinearHead, features: Vectors, targets: Tensor, matched: Sequence[int]) -> float:
    """The temperature of the matched rows on images of the matched classes; 1 for a single class."""
    if len(matched) < 2:
        return 1.0
    labels = targets.cpu().numpy()
    own = np.flatnonzero(np.isin(labels, matched))
    own = own[:: -(-len(own) // _TEMPERATURE_IMAGES)]
    position = {target: row for row, target in enumerate(matched)}
    rows = [position[target] for target in labels[own].tolist()]
    return fit_temperature(head.logits(take(features, own, targets.device)).cpu().numpy(), rows)
