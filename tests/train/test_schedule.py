from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.models.backbone import load_backbone
from headstart.train.class_balance import Balance
from headstart.train.config import TrainConfig
from headstart.train.schedule import Warmup, block_depths, learning_rate, lr_scales
from headstart.train.trainer import LocalTrainer


@given(st.integers(1, 500), st.floats(1e-8, 10))
def test_cosine_falls_from_the_base_rate_to_just_above_zero(steps: int, base_lr: float) -> None:
    rates = [learning_rate(step, steps=steps, base_lr=base_lr, schedule="cosine") for step in range(steps)]
    assert rates[0] == base_lr
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] <= base_lr
    # Loshchilov and Hutter 2017, equation 5, with a lowest rate of 0
    assert rates[-1] == pytest.approx(base_lr / 2 * (1 + math.cos((steps - 1) / steps * math.pi)))


def test_constant_is_constant() -> None:
    assert {learning_rate(step, steps=9, base_lr=0.3, schedule="constant") for step in range(9)} == {0.3}


def rates_of(config: TrainConfig, steps_per_epoch: int) -> list[float]:
    """Of the steps of a training."""
    total, warmup = config.epochs * steps_per_epoch, config.warmup(steps_per_epoch)
    return [
        learning_rate(step, steps=total, base_lr=config.base_lr, schedule=config.schedule, warmup=warmup)
        for step in range(total)
    ]


@pytest.mark.parametrize(("batch_size", "peak"), [(256, 0.1), (8192, 3.2), (64, 0.025)])
def test_linear_scaling_and_gradual_warmup_of_goyal_et_al(batch_size: int, peak: float) -> None:
    """Sections 2.1, 2.2 and 5.1: from 0.1 in equal steps to 0.1 × k within 5 epochs, a tenth after 30, 60 and 80."""
    config = TrainConfig(90, batch_size, "sgd", lr=0.1, lr_base_size=256, warmup_epochs=5, schedule="steps")
    rates = rates_of(config, 7)
    assert config.base_lr == pytest.approx(peak)
    start = min(0.1, peak)
    assert rates[:35] == pytest.approx([start + (peak - start) * step / 35 for step in range(35)])
    for first, last, share in ((5, 30, 1), (30, 60, 0.1), (60, 80, 0.01), (80, 90, 0.001)):
        assert rates[7 * first : 7 * last] == pytest.approx([peak * share] * (7 * (last - first)))


def test_warmup_without_a_reference_rate_starts_at_zero_and_cosine_follows() -> None:
    rates = rates_of(TrainConfig(4, 8, lr=0.4, warmup_epochs=2), 2)
    assert rates[:4] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert rates[4:] == [learning_rate(step, steps=4, base_lr=0.4, schedule="cosine") for step in range(4)]


def test_a_step_of_the_schedule_within_the_warmup_is_taken_at_its_end() -> None:
    rates = [learning_rate(step, steps=9, base_lr=1.0, schedule="steps", warmup=Warmup(4)) for step in range(9)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 0.1, 0.1, 0.01, 0.01, 0.001])


@pytest.mark.parametrize("model", ["test_resnet", "test_vit"])
def test_weight_decay_is_for_matrices(model: str) -> None:
    """Not for the scale and shift of norms, nor for biases."""
    network = load_backbone(model, weights_file="random").module
    data = FeatureDataset(InMemoryFeatures(np.zeros((2, 3))), np.zeros(2, np.int64))
    config = TrainConfig(1, 2, "sgd", weight_decay=1e-4, nesterov=True)
    optimizer = LocalTrainer(network, data, config, "cpu", Balance()).optimizer
    decayed = {id(each) for group in optimizer.param_groups if group["weight_decay"] for each in group["params"]}
    for name, module in network.named_modules():
        for kind, parameter in module.named_parameters(recurse=False):
            matrix = isinstance(module, nn.Conv2d | nn.Linear) and kind == "weight"
            assert (id(parameter) in decayed) == (matrix or kind in ("cls_token", "pos_embed")), f"{name}.{kind}"
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0, 1e-4}
    assert all(group["nesterov"] for group in optimizer.param_groups)


NETWORKS = {
    "test_resnet": [
        ("conv1", 5),
        ("layer1.0.conv1", 4),
        ("layer4.0.downsample.1", 1),
        ("layer4.0.conv1", 1),
        ("fc", 0),
    ],
    "test_efficientnet": [("conv_stem", 6), ("blocks.4.0.conv_pw", 1), ("bn2", 0), ("classifier", 0)],
    "test_vit": [("patch_embed.proj", 7), ("blocks.0.attn.qkv", 6), ("blocks.5.mlp.fc1", 1), ("norm", 0), ("head", 0)],
    "test_convnext": [("stages.3.blocks.1.conv_dw", 1), ("stages.3.blocks.0.mlp.fc1", 2), ("head.fc", 0)],
}


@pytest.mark.parametrize("model", NETWORKS)
def test_blocks_are_counted_from_the_head(model: str) -> None:
    network = load_backbone(model, weights_file="random").module
    names = [name for name, _ in network.named_parameters()]
    found = dict(zip(names, block_depths(names), strict=True))
    assert list(found.values()) == sorted(found.values(), reverse=True)
    for module, depth in NETWORKS[model]:
        assert {at for name, at in found.items() if name.startswith(f"{module}.")} == {depth}


def test_a_prefix_of_the_names_does_not_matter() -> None:
    names = ["cls_token", "blocks.0.fc.weight", "blocks.0.gamma", "blocks.1.fc.weight", "norm.weight", "head.weight"]
    assert block_depths(names) == [3, 2, 2, 1, 0, 0]
    assert block_depths([f"module.{name}" for name in names]) == block_depths(names)


def test_lr_scales_fall_by_block() -> None:
    names = ["stem.weight", "blocks.0.weight", "blocks.1.weight", "head.weight"]
    assert lr_scales(names, 0.5) == [0.125, 0.25, 0.5, 1]
    assert lr_scales(names, 1.0) == [1] * 4
    assert lr_scales([], 0.5) == []
