"""Initialization of a new head. The selection of parameters is tested with the cut."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats

from headstart.models.backbone import build
from headstart.models.trainable import init_head_glorot


def test_glorot_is_uniform_within_its_limit() -> None:
    """As Keras's GlorotUniform: the limit is sqrt(6 / (inputs + outputs))."""
    network = build("test_resnet", classes=120)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    init_head_glorot(network)
    head = network.get_classifier()  # type: ignore[operator]
    limit = math.sqrt(6 / (head.in_features + 120))
    weights = head.weight.detach().numpy().ravel()
    assert stats.kstest(weights, stats.uniform(-limit, 2 * limit).cdf).pvalue > 0.01
    assert np.abs(weights).max() <= limit
    changed = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["fc.weight", "fc.bias"]


def test_glorot_initializes_both_heads_of_a_distilled_network() -> None:
    network = build("deit_tiny_distilled_patch16_224", classes=3)
    init_head_glorot(network)
    limit = math.sqrt(6 / (192 + 3))
    for head in network.get_classifier():  # type: ignore[operator]
        assert 0.9 * limit < float(head.weight.detach().abs().max()) <= limit
        assert not head.bias.detach().any()
