"""Networks with random weights that are cut, and images of noise for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from headstart.data.spec import InputSpec
from headstart.models.backbone import load_backbone
from headstart.models.cut import Cut, cut

SIZES = {"test_vit": 160}  # a vision transformer has a fixed size


@pytest.fixture(scope="module", autouse=True)
def _small_work(one_thread: None) -> None:
    """All networks of this folder are small."""


@dataclass
class Case:
    network: nn.Module
    parts: Cut
    spec: InputSpec


def make(model: str, train: str, *, classes: int = 3) -> Case:
    """Build the same network each time, and cut it where ``train`` starts."""
    size = SIZES.get(model, 32)
    backbone = load_backbone(model, weights_file="random")
    network, spec = backbone.module, replace(backbone.spec.whole(), height=size, width=size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network.reset_classifier(classes)
    parts = cut(network, train, input_shape=(3, size, size))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in parts.trainable)
    return Case(network, parts, spec)


@pytest.fixture(scope="session")
def case() -> Callable[..., Case]:
    return make


@pytest.fixture(scope="session")
def pixels() -> Callable[[Case, int], np.ndarray]:
    """pixels(case, 9): nine images, (9, H, W, 3)."""

    def draw(case: Case, count: int) -> np.ndarray:
        shape = (count, case.spec.height, case.spec.width, 3)
        return np.random.default_rng(0).integers(0, 256, shape, np.uint8)

    return draw
