"""Where the penalty may pull a head to: zero, the pretrained head's rows, or what the classes' means say.

The first is plain L2. The second is L2-SP (Li, Grandvalet and Davoine, Explicit inductive bias for transfer learning
with convolutional networks, ICML 2018). The third is a linear discriminant analysis, which is the right answer where
each class is a Gaussian cloud and all clouds have one shape: wrong, but less so than zero, and nearer with few images
(Ng and Jordan, On discriminative vs. generative classifiers, NIPS 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.evaluate import fit_temperature
from headstart.models.names import match
from headstart.train.vectors import Scaled, Scaling, Vectors, passes, taken

__all__ = ["Discriminant", "Origin", "Pretrained", "Solution", "Zero", "matched_head"]

SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
"""What may be tried of the shrinkage of a covariance toward a multiple of the identity."""

_ENOUGH = 2000  # images to tell a temperature by
_WIDEST = 4096  # features; what a covariance takes grows with their square


@dataclass(frozen=True)
class Solution:
    """``logits = features @ weight.T + bias``."""

    weight: Tensor  # (C, D)
    bias: Tensor  # (C,)

    def logits(self, features: Vectors) -> Tensor:
        """What it gives for features (N, D), (N, C). A pretrained head's are what can be had without training.

        >>> Solution(torch.eye(2), torch.tensor([0.0, 1.0])).logits(torch.tensor([[3.0, 4.0]]))
        tensor([[3., 5.]])
        """
        return torch.cat([F.linear(x, self.weight, self.bias) for x in passes(features, self.bias.device)])

    def cooled(self, temperature: float) -> Solution:
        """Its logits divided by a temperature."""
        return Solution(self.weight / temperature, self.bias / temperature)

    def scaled(self, scaling: Scaling) -> Solution:
        """For features as they came, as one for scaled features."""
        return Solution(self.weight * scaling.scale, self.bias + self.weight @ scaling.mean)

    def unscaled(self, scaling: Scaling) -> Solution:
        """The other way round."""
        weight = self.weight / scaling.scale
        return Solution(weight, self.bias - weight @ scaling.mean)


class Origin(Protocol):
    """What a penalty may pull a head to."""

    @property
    def name(self) -> str:
        """Of the history's "start"."""

    @property
    def told(self) -> str:
        """What to call it to a user."""

    def among(self, images: Scaled) -> Solution:
        """It as a solution for scaled features, of a head that is solved on these images."""


@dataclass(frozen=True)
class Zero:
    """Of a plain L2 penalty."""

    classes: int

    name = "zero"
    told = "zero"

    def among(self, images: Scaled) -> Solution:
        """See :class:`Origin`."""
        mean = images.scaling.mean
        return Solution(mean.new_zeros(self.classes, len(mean)), mean.new_zeros(self.classes))


@dataclass(frozen=True)
class Pretrained:
    """The rows of a pretrained head, as :func:`matched_head` finds them."""

    head: Solution

    name = "pretrained"
    told = "the pretrained head"

    def among(self, images: Scaled) -> Solution:
        """See :class:`Origin`."""
        return self.head.scaled(images.scaling)


@dataclass(frozen=True)
class Discriminant:
    """A linear discriminant analysis: the same for each set of images that it is asked of, but for what these say.

    The weights of a class are its mean times the inverse of the covariance within classes, and this is drawn toward a
    multiple of the identity: (1 - a) S + a tr(S)/D I (Friedman, Regularized discriminant analysis, JASA 1989, with one
    covariance for all classes). Logits are divided by a temperature, since no cloud of features is Gaussian.
    """

    classes: int
    shrinkage: float
    temperature: float

    name = "discriminant"
    told = "discriminant analysis"

    @classmethod
    def chosen(cls, tasks: Sequence[tuple[Scaled, Scaled]], classes: int) -> tuple[Discriminant, list[Solution]] | None:
        """The one that images to validate on find best, by log-loss, and each task's; None where it cannot be told.

        :param tasks: of each, scaled images to tell it of, and scaled images to validate on.

        >>> from headstart.train.vectors import Images
        >>> x, y = torch.randn(80, 3, generator=torch.Generator().manual_seed(0)), torch.arange(80) % 4
        >>> images = Images((x + torch.eye(4)[y][:, :3], y))
        >>> scaled = images.scaled(Scaling(images))
        >>> found = Discriminant.chosen([(scaled, scaled)], classes=4)
        >>> found is not None and found[0].shrinkage in SHRINKAGES
        True
        """
        clouds = [_Clouds.of(images, classes) for images, _ in tasks]
        told = [each for each in clouds if each is not None]
        if len(told) < len(tasks):
            return None
        few = _some([validation for _, validation in tasks])
        targets = torch.cat([y for _, y in few]).cpu().numpy()

        def tried(shrinkage: float) -> tuple[float, Discriminant, list[Solution]]:
            heads = [each.head(shrinkage) for each in told]
            logits = torch.cat([head.logits(x) for head, (x, _) in zip(heads, few, strict=True)]).cpu()
            temperature = fit_temperature(logits.numpy(), targets, smoothing=1 / (len(targets) + 2))
            loss = float(F.cross_entropy(logits / temperature, torch.from_numpy(targets)))
            return loss, cls(classes, shrinkage, temperature), [each.cooled(temperature) for each in heads]

        _, best, solutions = min((tried(shrinkage) for shrinkage in SHRINKAGES), key=lambda found: found[0])
        return best, solutions

    def among(self, images: Scaled) -> Solution:
        """See :class:`Origin`."""
        clouds = _Clouds.of(images, self.classes)
        if clouds is None:
            return Zero(self.classes).among(images)
        return clouds.head(self.shrinkage).cooled(self.temperature)


@dataclass(frozen=True)
class _Clouds:
    """What the classes' features look like: a mean each, and one covariance for all."""

    means: Tensor  # (C, D); of a class without an image that of all
    within: Tensor  # (D, D)

    @classmethod
    def of(cls, images: Scaled, classes: int) -> _Clouds | None:
        """In one pass over centred images; None where no class has two of them, or features are too many."""
        total: tuple[Tensor, Tensor, Tensor] | None = None
        for x, y in images:
            if x.shape[1] > _WIDEST:
                return None
            own = F.one_hot(y, classes).to(x.dtype)
            here = own.sum(0), own.T @ x, x.T @ x
            total = here if total is None else (total[0] + here[0], total[1] + here[1], total[2] + here[2])
        assert total is not None
        counts, sums, scatter = total
        means = sums / counts.clamp_min(1)[:, None]
        degrees = int(counts.sum()) - int((counts > 0).sum())
        if degrees < 1:
            return None
        within = (scatter - sums.T @ means) / degrees
        # Features have a mean square of 1: less than this around their means is what float32 leaves of nothing.
        return cls(means, within) if float(within.diagonal().mean()) > 1e-6 else None

    def head(self, shrinkage: float) -> Solution:
        """Without the logarithms of the classes' shares: the bias is no part of the penalty."""
        within, means = self.within.cpu(), self.means.cpu()
        round_cloud = float(within.diagonal().mean()) * torch.eye(len(within))
        weight = torch.linalg.solve((1 - shrinkage) * within + shrinkage * round_cloud, means.T).T
        bias = -0.5 * (weight * means).sum(1)
        return Solution(weight.contiguous().to(self.means.device), bias.to(self.means.device))


def _some(parts: Sequence[Scaled]) -> list[tuple[Tensor, Tensor]]:
    """Of each part images from all over it, together about as many as are enough."""
    every = -(-sum(map(len, parts)) // _ENOUGH) or 1
    few = [[(x[::every], y[::every]) for x, y in images] for images in parts]
    return [(torch.cat([x for x, _ in each]), torch.cat([y for _, y in each])) for each in few]


@torch.no_grad()
def matched_head(
    old: nn.Module, names: Sequence[str] | None, classes: Sequence[str], features: Vectors, targets: Tensor
) -> Solution | None:
    """The rows of a pretrained head whose classes have the names of ours, and zeros for the others; None without any.

    Rows are divided by the temperature that the images ask for: trained on a thousand classes with smoothed labels,
    they are too modest for ours, and a penalty that pulls to them would keep them so.

    :param names: of the pretrained head's classes; None where they are not known.
    :param features: (N, D) with their targets (N,): of classes with the same name, the images speak for one.

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
        own = taken(features, np.flatnonzero(labels == target)[:_ENOUGH], device)
        scores = old(own).mean(0)[candidates]
        chosen = candidates[int(scores.argmax())]
        weight[target], bias[target] = old.weight[chosen], old.bias[chosen]
        matched.append(target)
    if not weight.any():
        return None
    temperature = _temperature(Solution(weight[matched], bias[matched]), features, targets, matched)
    return Solution(weight, bias).cooled(temperature)


def _temperature(head: Solution, features: Vectors, targets: Tensor, matched: Sequence[int]) -> float:
    """Of the matched classes' rows, on images of these classes; one class alone has none."""
    if len(matched) < 2:
        return 1.0
    labels = targets.cpu().numpy()
    own = np.flatnonzero(np.isin(labels, matched))
    own = own[:: -(-len(own) // _ENOUGH)]
    place = {target: row for row, target in enumerate(matched)}
    rows = [place[target] for target in labels[own].tolist()]
    return fit_temperature(head.logits(taken(features, own, targets.device)).cpu().numpy(), rows)
