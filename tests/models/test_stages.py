"""The head that is given the pooled stages: what the two parts of a cut compute with it, and which stages there are."""

from __future__ import annotations

import pickle
from copy import deepcopy

import pytest
import timm
import torch
from torch import Tensor, nn

from headstart.errors import CutError
from headstart.models.backbone import build, load_backbone
from headstart.models.cut import cut
from headstart.models.stage_head import (
    Stage,
    add_stage_head,
    drop_unused_stages,
    pool,
    remove_stage_head,
    stage_head,
)
from headstart.models.stages import find_stages

# A network of each kind, with the side of its images and the stages that are expected, from the last to the first.
NETWORKS: dict[str, tuple[int, list[tuple[str, int]]]] = {
    "tf_efficientnet_lite0": (
        64,
        [(f"blocks.{n}", w) for n, w in zip(range(6, -1, -1), (320, 192, 112, 80, 40, 24, 16), strict=True)],
    ),
    "mobilenetv3_small_050": (
        64,
        [
            ("blocks.5", 288),
            ("blocks.4", 48),
            ("blocks.3", 24),
            ("blocks.2", 24),
            ("blocks.1", 16),
            ("blocks.0", 8),
            ("bn1", 16),
        ],
    ),
    "resnet18": (64, [("layer3", 256), ("layer2", 128), ("layer1", 64), ("act1", 64)]),  # layer4 is the last features
    "convnext_atto": (64, [("stages.3", 320), ("stages.2", 160), ("stages.1", 80), ("stages.0", 40)]),
    "vit_tiny_patch16_224": (64, [(f"blocks.{n}", 384) for n in (11, 8, 5, 2)]),  # mean and class token
    "swin_tiny_patch4_window7_224": (64, [("layers.3", 128), ("layers.2", 64), ("layers.1", 32), ("layers.0", 16)]),
}
SMALLER = {
    "vit_tiny_patch16_224": {"img_size": 64},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 2, "embed_dim": 16, "depths": (1, 1, 2, 2)},
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10, **SMALLER.get(name, {})).eval()


def images(side: int) -> Tensor:
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(1))


def with_random_stage_head(name: str) -> nn.Module:
    made = network(name)
    side, _ = NETWORKS[name]
    add_stage_head(made, find_stages(made, (3, side, side)), 10)
    head = stage_head(made)
    assert head is not None
    nn.init.normal_(head.weight, std=0.1, generator=torch.Generator().manual_seed(2))
    return made


@torch.no_grad()
def expected_logits(name: str, made: nn.Module, x: Tensor) -> Tensor:
    """Those of the untouched network, plus the stage head on what hooks on its modules have seen."""
    head, plain, seen = stage_head(made), network(name), {}
    assert head is not None
    for stage in head.stages:
        module = plain.get_submodule(stage.name)
        module.register_forward_hook(lambda _, __, output, key=stage.name: seen.update({key: output.clone()}))
    logits: Tensor = plain(x)
    vectors = [pool(seen[stage.name], stage.layout, stage.prefix_tokens) for stage in head.stages]
    return logits + torch.cat(vectors, 1) @ head.weight.T


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_follow_the_names_of_timm(name: str) -> None:
    side, expected = NETWORKS[name]
    assert [(stage.name, stage.width) for stage in find_stages(network(name), (3, side, side))] == expected


@pytest.mark.parametrize("train", ["head", "last:1", "last:2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_parts_add_the_stage_head_to_the_network(name: str, train: str) -> None:
    side, _ = NETWORKS[name]
    made, x = with_random_stage_head(name), images(side)
    parts = cut(made, train, input_shape=(3, side, side))
    with torch.no_grad():
        rows = parts.prefix(x)
        before = rows.clone()
        logits = parts.tail(rows)
    assert rows.shape == (3, *parts.row_shape)
    assert parts.stage_widths
    assert torch.equal(rows, before), "the tail modifies the stored rows"
    torch.testing.assert_close(logits, expected_logits(name, made, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "vit_tiny_patch16_224"])
def test_only_a_solved_head_trains_the_stage_head(name: str) -> None:
    side, _ = NETWORKS[name]
    made = with_random_stage_head(name)
    head = cut(made, "head", input_shape=(3, side, side))
    deeper = cut(made, "last:1", input_shape=(3, side, side))
    assert "stage_head.weight" in head.trainable
    assert len(head.trainable) == 3
    assert "stage_head.weight" not in deeper.trainable
    assert len(deeper.stage_widths) < len(head.stage_widths)  # those of what is trained are computed in the tail


def test_network_with_a_stage_head_refuses_to_be_called_alone() -> None:
    made = with_random_stage_head("resnet18")
    with pytest.raises(RuntimeError, match="run the parts"):
        made(images(64))
    remove_stage_head(made)
    with torch.no_grad():
        assert torch.equal(made(images(64)), network("resnet18")(images(64)))
    assert "stage_head.weight" not in made.state_dict()


def test_everything_trained_leaves_no_frozen_stage() -> None:
    with pytest.raises(CutError, match="--train all"):
        cut(with_random_stage_head("resnet18"), "all", input_shape=(3, 64, 64))


def test_copies_and_pickles_keep_the_stage_head() -> None:
    made = with_random_stage_head("resnet18")
    parts = cut(made, "head", input_shape=(3, 64, 64))
    for copy in (deepcopy(made), pickle.loads(pickle.dumps(made))):
        other = cut(copy, "head", input_shape=(3, 64, 64))
        with torch.no_grad():
            assert torch.equal(other.tail(other.prefix(images(64))), parts.tail(parts.prefix(images(64))))


def test_stages_without_weights_are_dropped() -> None:
    made = with_random_stage_head("resnet18")
    head = stage_head(made)
    assert head is not None
    with torch.no_grad():
        head.weight[:, 256:384] = 0  # layer2
    logits = expected_logits("resnet18", made, images(64))
    drop_unused_stages(made)
    kept = stage_head(made)
    assert kept is not None
    assert [stage.name for stage in kept.stages] == ["layer3", "layer1", "act1"]
    parts = cut(made, "head", input_shape=(3, 64, 64))
    with torch.no_grad():
        torch.testing.assert_close(parts.tail(parts.prefix(images(64))), logits, rtol=1e-4, atol=1e-4)
        kept.weight.zero_()
    drop_unused_stages(made)
    assert stage_head(made) is None


def with_kernel(made: nn.Module, features: Tensor) -> dict[str, Tensor]:
    """Give a network's stage head a kernel that tells images with these features (N, K) apart."""
    draw = torch.Generator().manual_seed(3)
    mean = features.mean(0)
    scale = (features - mean).square().sum(1).mean().sqrt() * (0.5 + torch.rand(len(mean), generator=draw))
    parts = {
        "landmarks": (features[torch.arange(5) % len(features)] - mean) / scale
        + torch.randn(5, len(mean), generator=draw) / len(mean) ** 0.5,
        "kernel_mean": mean,
        "kernel_scale": scale,
        "kernel_weight": torch.randn(10, 5, generator=draw),
    }
    made.load_state_dict({f"stage_head.{name}": value for name, value in parts.items()}, strict=False)
    return parts


@torch.no_grad()
def kernel_logits(parts: dict[str, Tensor], features: Tensor) -> Tensor:
    scaled = (features[:, : len(parts["kernel_mean"])] - parts["kernel_mean"]) / parts["kernel_scale"]
    return (
        torch.exp(-(torch.cdist(scaled.double(), parts["landmarks"].double()) ** 2)).float() @ parts["kernel_weight"].T
    )


@pytest.mark.parametrize("train", ["head", "last:1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_parts_add_the_kernel_of_features_and_stages(name: str, train: str) -> None:
    side, _ = NETWORKS[name]
    made, x, seen = with_random_stage_head(name), images(side), {}
    linear = expected_logits(name, made, x)
    head = stage_head(made)
    assert head is not None
    plain = network(name)
    modules = {"": plain.get_classifier(), **{stage.name: plain.get_submodule(stage.name) for stage in head.stages}}
    modules[""].register_forward_pre_hook(lambda _, inputs: seen.update({"": inputs[0].clone()}))
    modules[head.stages[0].name].register_forward_hook(lambda _, __, output: seen.update(stage=output.clone()))
    with torch.no_grad():
        plain(x)
        features = torch.cat([seen[""], pool(seen["stage"], head.stages[0].layout, head.stages[0].prefix_tokens)], 1)
        kernel = kernel_logits(with_kernel(made, features), features)
        assert kernel.std(0).min() > 0.01, "the kernel does not tell these images apart"
        found = cut(made, train, input_shape=(3, side, side))
        logits = found.tail(found.prefix(x))
    torch.testing.assert_close(logits, linear + kernel, rtol=1e-4, atol=1e-4)
    assert "stage_head.kernel_weight" not in found.trainable


def test_a_kernel_keeps_the_stages_that_it_is_given() -> None:
    made = with_random_stage_head("resnet18")
    head = stage_head(made)
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        parts = with_kernel(made, torch.randn(3, head.features + head.stages[0].width + head.stages[1].width))
        before = cut(made, "head", input_shape=(3, 64, 64))
        logits = before.tail(before.prefix(images(64)))
        drop_unused_stages(made)
        kept = stage_head(made)
        assert kept is not None
        assert [stage.name for stage in kept.stages] == ["layer3", "layer2"]
        after = cut(made, "head", input_shape=(3, 64, 64))
        assert torch.equal(after.tail(after.prefix(images(64))), logits)
    assert torch.equal(kept.landmarks, parts["landmarks"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kernel_weight", torch.zeros(10, 4), r"kernel_weight is \(10, 4\), must be \(10, 5\)"),
        ("kernel_mean", torch.zeros(3), r"kernel_mean is \(3,\), must be \(520,\)"),
        ("landmarks", torch.zeros(5, 5000), r"landmarks have 5000 features, but there are only 1024"),
        ("landmarks", torch.zeros(5), "landmarks"),
        ("kernel_scale", None, "kernel_scale is missing"),
    ],
)
def test_parts_of_a_kernel_that_do_not_fit_together(name: str, value: Tensor | None, message: str) -> None:
    made = with_random_stage_head("resnet18")
    parts = {**with_kernel(made, torch.randn(3, 520)), name: value}
    state = {f"stage_head.{key}": each for key, each in parts.items() if each is not None}
    with pytest.raises(RuntimeError, match=message):
        made.load_state_dict(state, strict=False)


class Untraceable(nn.Module):
    """A classifier whose control flow depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.feature_info = [{"module": "layer1", "num_chs": 4}]

    def get_classifier(self) -> nn.Module:
        return self.fc

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer1(x)
        return self.fc(x.mean((2, 3)) if x.sum() > 0 else -x.mean((2, 3)))


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(Untraceable(), id="untraceable"),
        pytest.param(timm.create_model("deit_tiny_distilled_patch16_224", img_size=64), id="two heads"),
        pytest.param(nn.Sequential(nn.Flatten(), nn.Linear(12_288, 2)), id="no names of features"),
    ],
)
def test_networks_without_stages(made: nn.Module) -> None:
    assert find_stages(made.eval(), (3, 64, 64)) == ()


def test_new_head_comes_with_stages_of_its_size() -> None:
    backbone = load_backbone("test_resnet", weights_file="random").with_new_head(4, seed=0, stages=True)
    head = stage_head(backbone.module)
    assert head is not None
    assert (len(head.weight), bool(head.weight.any())) == (4, False)
    again = backbone.with_new_head(6, seed=0, stages=True)
    found = stage_head(again.module)
    assert found is not None
    assert len(found.weight) == 6
    assert stage_head(backbone.with_new_head(2, seed=0).module) is None
    with torch.no_grad():
        assert backbone.module(images(64)).shape == (3, 2)


def test_pooled_class_token_follows_the_mean() -> None:
    tokens = torch.arange(24.0).view(1, 6, 4)
    stage = Stage("blocks.0", 4, "NLC", prefix_tokens=2)
    found = pool(tokens, stage.layout, stage.prefix_tokens)
    assert found.shape == (1, stage.width)
    assert torch.equal(found[0, :4], tokens[0, 2:].mean(0))
    assert torch.equal(found[0, 4:], tokens[0, 0])


def test_of_many_blocks_evenly_spaced_ones_are_taken() -> None:
    made = build("test_vit", classes=3)
    assert [stage.prefix_tokens for stage in find_stages(made, (3, 160, 160))] == [1] * len(made.blocks)
