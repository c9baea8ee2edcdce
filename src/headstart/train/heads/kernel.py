"""Features of a radial kernel, so that a head that is linear in them is curved in the features of the network.

The kernel of two images is ``exp(-gamma |x - y|²)`` of their scaled features. Its Nyström approximation (Williams and
Seeger, Using the Nyström method to speed up kernel machines, NIPS 2000) describes an image by its kernel with some of
the training images, the landmarks. What is solved on these features is convex as before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.models.stage_head import radial_kernel
from headstart.train.heads.linear import LinearHead
from headstart.train.heads.penalty import StageChoice
from headstart.train.heads.vectors import LabeledVectors, Scaling, Vectors, batches

__all__ = ["GAMMAS", "LANDMARKS", "MAX_IMAGES", "KernelFeatures", "KernelHead", "parse_kernel"]

LANDMARKS = 1000

MAX_IMAGES = (1 << 30) // (4 * LANDMARKS)
"""With more training images, what a kernel maps them to takes more than 1 GiB."""

GAMMAS = (0.2, 0.7, 0.07)
"""Values of gamma to try, for features whose mean squared norm is 1: the middle one first, then its neighbors."""

_ROWS = 1024  # images at once
# Directions in which the landmarks hardly differ, as where two are the same image, would be enlarged rounding errors.
_SMALLEST_EIGENVALUE = 1e-5  # as a share of the largest one
_TEXT = re.compile(r"rbf:(\d+(?:\.\d+)?)")


def parse_kernel(text: str) -> float:
    """Parse "rbf:GAMMA".

    :raises ValueError: it is something else, or gamma is not above 0.

    >>> parse_kernel("rbf:0.2")
    0.2
    """
    found = _TEXT.fullmatch(text)
    if found is None or float(found[1]) <= 0:
        raise ValueError(text)
    return float(found[1])


@dataclass(frozen=True)
class KernelFeatures:
    """Maps features (n, D or more) to those of the kernel, (n, m); columns beyond the first D are ignored.

    Features of several views of an image, (n, V, D), are mapped one by one, and averaged.
    """

    mean: Tensor  # (D,)
    scale: Tensor  # (D,), what is divided by; the square root of gamma is in it
    landmarks: Tensor  # (m, D), scaled
    whitening: Tensor  # (m, m)

    @classmethod
    def of(cls, features: Tensor, scaling: Scaling, stages: StageChoice, gamma: float, *, seed: int) -> KernelFeatures:
        """Draw the landmarks from training images.

        :param features: (N, D) or (N, V, D), of which the first view is taken.
        :param scaling: of these features, in blocks.
        :param stages: that are given to the kernel.
        :param gamma: for features whose mean squared norm is 1.

        >>> x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
        >>> from headstart.train.heads.penalty import NO_STAGES
        >>> from headstart.train.heads.vectors import VectorDataset
        >>> scaling = Scaling(VectorDataset((x, torch.zeros(20))))
        >>> kernel = KernelFeatures.of(x, scaling, NO_STAGES, gamma=0.5, seed=0)
        >>> mapped = kernel(x)  # with all images as landmarks, products of these features are the kernel
        >>> torch.allclose(mapped @ mapped.T, torch.exp(-0.5 / 6 * torch.cdist(scaling(x), scaling(x)) ** 2), atol=1e-4)
        True
        """
        weights = stages.column_weights(scaling.blocks).to(features.device)
        columns = len(weights)
        # Scaled, the first block has a mean squared norm of its size, and so has each other one before its weight.
        norm = scaling.blocks[0] * (1 + (stages.blocks(len(scaling.blocks)) - 1) * stages.weight**2)
        mean, scale = scaling.mean[:columns], scaling.scale[:columns] / weights * (norm / gamma) ** 0.5
        rows = np.sort(np.random.default_rng(seed).permutation(len(features))[:LANDMARKS])
        drawn = features[torch.from_numpy(rows).to(features.device)]
        first = drawn[:, 0] if drawn.ndim == 3 else drawn
        landmarks = (first[:, :columns].float() - mean) / scale
        return cls(mean, scale, landmarks, _inverse_square_root(radial_kernel(landmarks, landmarks)))

    def __call__(self, features: Tensor) -> Tensor:
        """Map features (n, D or more), or (n, V, D or more), to (n, m) float32."""
        mapped = self.landmarks.new_empty(len(features), len(self.landmarks))
        for start in range(0, len(features), _ROWS):
            mapped[start : start + _ROWS] = self._map(features[start : start + _ROWS])
        return mapped

    def _map(self, features: Tensor) -> Tensor:
        if features.ndim == 3:
            return torch.stack([self._map(view) for view in features.unbind(1)]).mean(0)
        scaled = (features[:, : len(self.mean)].float() - self.mean) / self.scale
        return radial_kernel(scaled, self.landmarks) @ self.whitening

    def of_split(self, split: LabeledVectors) -> LabeledVectors:
        """The mapped features of images in memory, with their targets."""
        features, targets = split
        if not isinstance(features, Tensor):
            raise TypeError("the features must be in memory")
        return self(features), targets


@dataclass(frozen=True)
class KernelHead:
    """A linear head on features of a kernel."""

    features: KernelFeatures
    linear: LinearHead

    @property
    def bias(self) -> Tensor:
        """(C,)."""
        return self.linear.bias

    def buffers(self) -> dict[str, Tensor]:
        """Those of a :class:`headstart.models.stage_head.StageHead` that computes the same, but for the bias."""
        return {
            "landmarks": self.features.landmarks,
            "kernel_mean": self.features.mean,
            "kernel_scale": self.features.scale,
            "kernel_weight": self.linear.weight @ self.features.whitening,
        }

    def logits(self, features: Vectors) -> Tensor:
        """The logits (N, C) of features (N, D or more), or of several views of them, (N, V, D or more)."""
        if not isinstance(features, Tensor):
            return torch.cat([self.logits(x) for x in batches(features, self.bias.device)])
        return F.linear(self.features(features), self.linear.weight, self.linear.bias)


def _inverse_square_root(kernel: Tensor) -> Tensor:
    """Of a positive semidefinite matrix (m, m), zero in the directions of its smallest eigenvalues."""
    values, vectors = torch.linalg.eigh(kernel.cpu().double())
    kept = values > _SMALLEST_EIGENVALUE * values[-1]
    root: Tensor = (vectors[:, kept] / values[kept].sqrt()) @ vectors[:, kept].T
    return root.float().to(kernel.device)
