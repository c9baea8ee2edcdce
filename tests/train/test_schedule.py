from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.models.backbone import load_backbone
from headstart.train.schedule import block_depths, learning_rate, lr_scales


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
