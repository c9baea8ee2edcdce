"""The contract ``tail(prefix(x)) == network(x)``, bit for bit, and that the cut is as late as possible."""

from __future__ import annotations

import math
from functools import lru_cache, partial

import pytest
import timm
import torch
from torch import Tensor, fx, nn

from headstart.errors import CutError
from headstart.models.backbone import build, digest
from headstart.models.cut import Cut, cut
from headstart.models.trainable import parameter_blocks

# The smallest network of each family, with a MODULE to train from, and the feature shapes for the choices
# head, last:1, last:2 and from:MODULE.
FAMILIES = {
    "mobilenetv2_100": ("blocks.5.2.conv_dw", [(1280,), (160, 2, 2), (160, 2, 2), (160, 2, 2)]),
    "mobilenetv3_small_050": ("blocks.4", [(1024,), (48, 2, 2), (48, 2, 2), (24, 4, 4)]),
    "mobilenetv4_conv_small_035": ("blocks.3.2", [(1280,), (48, 2, 2), (48, 2, 2), (48, 2, 2)]),
    "tf_efficientnet_lite0": ("blocks.5", [(1280,), (192, 2, 2), (192, 2, 2), (112, 4, 4)]),
    "efficientnet_b0": ("blocks.6", [(1280,), (192, 2, 2), (192, 2, 2), (192, 2, 2)]),
    "resnet18": ("layer4", [(512,), (512, 2, 2), (256, 4, 4), (256, 4, 4)]),
    "convnext_atto": ("stages.3", [(320,), (320, 2, 2), (4, 4, 160), (4, 4, 160)]),
    "regnetx_002": ("s4.b5.conv2", [(368,), (368, 2, 2), (368, 2, 2), (368, 2, 2)]),
    "vit_tiny_patch16_224": ("blocks.9.attn", [(192,), (17, 192), (17, 192), (17, 192)]),
    "deit_tiny_patch16_224": ("blocks.9.mlp", [(192,), (17, 192), (17, 192), (17, 192)]),
    "deit_tiny_distilled_patch16_224": ("norm", [(18, 192), (18, 192), (18, 192), (18, 192)]),
    "vit_small_patch14_dinov2": ("blocks.2", [(384,), (17, 384), (17, 384), (17, 384)]),
    "swin_tiny_patch4_window7_224": ("layers.2", [(128,), (2, 2, 128), (2, 2, 256), (4, 4, 128)]),
    "fastvit_t8": ("stages.3", [(768,), (384, 2, 2), (192, 4, 4), (192, 4, 4)]),
    "coatnet_nano_rw_224": ("stages.3", [(512,), (256, 4, 4), (128, 8, 8), (256, 4, 4)]),
    "maxvit_tiny_rw_224": ("stages.3", [(256,), (128, 4, 4), (64, 8, 8), (128, 4, 4)]),
    "levit_128s": ("stages.2", [(384,), (16, 384), (16, 384), (49, 256)]),
}
SMALLER = {
    "vit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_patch16_224": {"img_size": 64},
    "deit_tiny_distilled_patch16_224": {"img_size": 64},
    "vit_small_patch14_dinov2": {"img_size": 56, "depth": 4},
    "swin_tiny_patch4_window7_224": {"img_size": 64, "window_size": 2, "embed_dim": 16, "depths": (1, 1, 2, 2)},
    "coatnet_nano_rw_224": {"img_size": 64},
    "maxvit_tiny_rw_224": {"img_size": 64, "embed_dim": (32, 64, 128, 256), "depths": (1, 1, 1, 1)},
}
SIDES = {"vit_small_patch14_dinov2": 56, "levit_128s": 224}
TEST_MODELS = [name for name in timm.list_models("test_*") if not name.startswith("test_convnext")] + ["test_convnext"]


@lru_cache  # the tests change nothing but requires_grad
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=10, **SMALLER.get(name, {})).eval()


@lru_cache
def parts_of(name: str, train: str) -> Cut:
    side = SIDES.get(name, 64)
    return cut(network(name), train, input_shape=(3, side, side))


def images(count: int, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(count))


@torch.no_grad()
def assert_exact(model: nn.Module, parts: Cut, side: int, counts: tuple[int, ...] = (1, 3, 5)) -> None:
    for count in counts:
        features = parts.prefix(images(count, side))
        assert features.shape == (count, *parts.feature_shape)
        before = features.clone()
        assert torch.equal(parts.tail(features), model(images(count, side)))
        assert torch.equal(features, before), "the tail modifies the stored features"


def choices(name: str) -> list[str]:
    return ["head", "last:1", "last:2", f"from:{FAMILIES[name][0]}"]


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_equal_the_network_bit_for_bit(name: str) -> None:
    model, side = network(name), SIDES.get(name, 64)
    stored = []
    for train in choices(name):
        parts = parts_of(name, train)
        assert_exact(model, parts, side)
        stored.append(parts.feature_shape)
    assert stored == FAMILIES[name][1]


@pytest.mark.parametrize("name", TEST_MODELS)
def test_parts_equal_the_network_for_timm_test_models(name: str) -> None:
    side = timm.get_pretrained_cfg(name).input_size[1]
    model = network(name)
    for train in ("head", "last:1", "last:2"):
        parts = cut(model, train, input_shape=(3, side, side))
        assert not parts.at_image
        assert_exact(model, parts, side, counts=(3,))


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_exactly_the_trainable_parameters(name: str) -> None:
    model, side = network(name), SIDES.get(name, 64)
    for train in [*choices(name), "all"]:
        parts = parts_of(name, train)
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(key in parts.trainable)
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            features = parts.prefix(images(2, side))
        parts.tail(features).square().sum().backward()
        assert [key for key, each in model.named_parameters() if each.grad is not None] == list(parts.trainable)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_later_cut_point_exists(name: str) -> None:
    for train in choices(name):
        assert later_points(parts_of(name, train)) == []


def later_points(parts: Cut) -> list[str]:
    """Operations of the tail, before the first that uses trained parameters, whose result is the only tensor that
    later operations use: the definition of a cut point. Batch sizes are not tensors."""
    trained = {id(dict(parts.tail.named_parameters())[name]) for name in parts.trainable}
    kinds: dict[fx.Node, type] = {}

    class Kinds(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            value = super().run_node(n)
            kinds[n] = type(value)
            return value

    with torch.no_grad():
        Kinds(parts.tail).run(torch.zeros(2, *parts.feature_shape))
    nodes = list(parts.tail.graph.nodes)
    from_features = [nodes[0]]
    for node in nodes[1:]:
        if any(each in from_features for each in node.all_input_nodes):
            from_features.append(node)
    owned = {node: owned_parameters(parts.tail, node) for node in nodes}
    tainted = {node for node in nodes if owned[node] & trained}
    for node in nodes:
        if any(each in tainted for each in node.all_input_nodes):
            tainted.add(node)
    found = []
    for node in from_features[1:]:
        if node in tainted:
            break
        done = from_features[: from_features.index(node) + 1]
        crossing = [each for each in done if any(user not in done for user in each.users) and kinds[each] is Tensor]
        if crossing == [node]:
            found.append(node.name)
    return found


def owned_parameters(tail: nn.Module, node: fx.Node) -> set[int]:
    if node.op == "call_module":
        return {id(each) for each in tail.get_submodule(node.target).parameters()}
    if node.op == "get_attr":
        return {id(each) for name, each in tail.named_parameters() if name == node.target}
    return set()


def test_last_20_layers_of_keras_mobilenet_v2() -> None:
    # Counted as in Keras, where BatchNorm statistics are parameters.
    model = timm.create_model("mobilenetv2_100", num_classes=120).eval()
    parts = cut(model, "from:blocks.5.2.conv_dw", input_shape=(3, 224, 224))
    assert (parts.name, parts.feature_shape, parts.bytes_per_image) == ("add_8", (160, 7, 7), 15_680)
    sizes = {name: each.numel() for name, each in model.named_parameters()}
    statistics = sum(each.numel() for name, each in model.named_buffers() if "running_" in name)
    assert sum(sizes[name] for name in parts.trainable) == 1_204_280
    assert sum(sizes.values()) + statistics == 2_411_704


@pytest.mark.parametrize(
    ("name", "train", "cut_name", "shape"),
    [
        ("resnet50", "head", "global_pool_flatten", (2048,)),
        ("resnet50", "last:1", "layer4_1_act3", (2048, 2, 2)),
        ("resnet50", "from:layer4.2.conv3", "layer4_1_act3", (2048, 2, 2)),
        ("resnet50", "from:layer4", "layer3_5_act3", (1024, 4, 4)),
        ("vit_tiny_patch16_224", "last:1", "add_22", (17, 192)),
        ("vit_tiny_patch16_224", "from:norm", "add_24", (17, 192)),
        ("vit_tiny_patch16_224", "from:blocks.0.norm1", "norm_pre", (17, 192)),
        ("vit_tiny_patch16_224", "from:pos_embed", "cat", (17, 192)),
        ("test_vit", "from:blocks.0.attn.qkv", "norm_pre", (101, 64)),
    ],
)
def test_names_of_cuts(name: str, train: str, cut_name: str, shape: tuple[int, ...]) -> None:
    side = 160 if name == "test_vit" else 64
    parts = cut(network(name), train, input_shape=(3, side, side))
    assert (parts.name, parts.feature_shape) == (cut_name, shape)
    assert parts.bytes_per_image == 2 * math.prod(shape)


def test_train_all_cuts_at_the_image() -> None:
    model = network("test_resnet")
    parts = cut(model, "all", input_shape=(3, 64, 64))
    assert (parts.at_image, parts.name, parts.feature_shape) == (True, "", (3, 64, 64))
    assert parts.bytes_per_image == 3 * 64 * 64  # pixels are stored as bytes
    assert parts.tail is model
    assert parts.trainable == tuple(name for name, _ in model.named_parameters())
    assert_exact(model, parts, 64)


def test_training_from_the_first_layer_cuts_at_the_image() -> None:
    parts = cut(network("test_resnet"), "from:conv1", input_shape=(3, 64, 64))
    assert parts.at_image
    assert len(parts.trainable) == len(list(network("test_resnet").parameters()))


def test_parallel_streams_are_cut_before_they_split() -> None:
    # The two heads of CrossViT see two token streams that are separate from the start.
    parts = cut(timm.create_model("crossvit_tiny_240", num_classes=3), "head", input_shape=(3, 240, 240))
    assert parts.at_image
    assert parts.trainable == ("head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias")


def test_prefix_does_not_change_in_training() -> None:
    model = timm.create_model("mobilenetv2_100", num_classes=10)
    parts = cut(model, "from:blocks.5.2.conv_dw", input_shape=(3, 64, 64))
    before, old = digest(parts.prefix), {name: each.clone() for name, each in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in parts.trainable)
    optimizer = torch.optim.SGD([each for each in parts.tail.parameters() if each.requires_grad], 0.1)
    parts.tail.train()
    with torch.no_grad():
        features = parts.prefix(images(4))
    for _ in range(2):
        optimizer.zero_grad()
        parts.tail(features).square().sum().backward()
        optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, old[name])}
    assert digest(parts.prefix) == before
    assert set(parts.trainable) <= changed
    # Also the statistics of the BatchNorm layers after the cut, which were in training mode.
    after_the_cut = ("blocks.5.2.", "blocks.6.", "bn2.")
    others = changed - set(parts.trainable)
    assert others
    assert all(name.startswith(after_the_cut) and name.rpartition(".")[2] in _STATISTICS for name in others)


_STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}


def test_cutting_leaves_the_global_random_state_unchanged() -> None:
    made = network("test_resnet")
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    cut(made, "last:1", input_shape=(3, 64, 64))
    assert torch.equal(torch.rand(1), expected)


def test_blocks_contain_every_parameter_once() -> None:
    groups = parameter_blocks(network("vit_tiny_patch16_224"))
    assert len(groups) == 14  # the stem, 12 blocks, norm with head
    assert sorted(name for group in groups for name in group) == sorted(
        dict(network("vit_tiny_patch16_224").named_parameters())
    )


def test_tensor_used_only_for_its_size_does_not_cross_the_cut() -> None:
    class Measured(nn.Module):
        """Reads the size of the image, and of a tensor without other uses, as late as possible."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.idle, self.head = nn.Linear(12, 8), nn.Linear(8, 6), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x.flatten(1)).relu()
            width = self.idle(y).shape[1] - 2
            return self.head(y.view(x.shape[0] * x.shape[2], width)).view(x.shape[0], -1)

        def get_classifier(self) -> nn.Module:
            return self.head

    model = Measured()
    parts = cut(model, "head", input_shape=(3, 2, 2))
    assert_exact(model, parts, 2)
    assert (parts.name, parts.feature_shape) == ("relu", (8,))


class DataDependent(nn.Module):
    """Cannot be traced: its control flow depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(12, 8)
        self.head = nn.Linear(8, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.body(x.flatten(1))
        return x if x.sum() > 0 else -x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.head


def test_untraceable_network_trains_its_head() -> None:
    model = DataDependent()
    parts = cut(model, "head", input_shape=(3, 2, 2))
    assert (parts.name, parts.feature_shape, parts.trainable) == ("pre_logits", (8,), ("head.weight", "head.bias"))
    assert_exact(model, parts, 2)
    # The prefix must not contain the head: otherwise, each new head would need another feature table.
    assert list(parts.prefix.state_dict()) == ["network.body.weight", "network.body.bias"]
    assert parts.prefix.get_parameter("network.body.weight") is model.body.weight
    assert model.get_classifier() is model.head is parts.tail


def test_untraceable_network_trains_all() -> None:
    parts = cut(DataDependent(), "all", input_shape=(3, 2, 2))
    assert parts.at_image


@pytest.mark.parametrize("train", ["last:1", "from:body"])
def test_untraceable_network_error(train: str) -> None:
    with pytest.raises(CutError) as failure:
        cut(DataDependent(), train, input_shape=(3, 2, 2))
    assert str(failure.value) == (
        f"--train {train}: this network cannot be traced and therefore not be cut; use --train head or --train all "
        "(TraceError: symbolically traced variables cannot be used as inputs to control flow)"
    )


def test_untraceable_network_without_pooled_features() -> None:
    class Headless(DataDependent):
        forward_head = property()  # type: ignore[assignment]

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.forward_features(x))

    class TwoHeads(DataDependent):
        def get_classifier(self) -> tuple[nn.Module, nn.Module]:  # type: ignore[override]
            return self.head, self.head

    class Other(DataDependent):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.forward_features(x)) + 1

    no_features = "this network cannot be traced and has no access to its pooled features; use --train all"
    no_cut = "this network can neither be traced nor cut before its head; use --train all"
    for kind, text in ((Headless, no_features), (TwoHeads, no_features), (Other, no_cut)):
        with pytest.raises(CutError) as failure:
            cut(kind(), "head", input_shape=(3, 2, 2))
        assert str(failure.value) == text


def test_trace_with_other_values_is_rejected() -> None:
    class TraceAware(nn.Sequential):
        """Takes one branch when it is traced, and the other when it runs."""

        def forward(self, x: Tensor) -> Tensor:
            x = self[0](x.flatten(1))
            return self[1](x if isinstance(x, fx.Proxy) else -x)

        def get_classifier(self) -> nn.Module:
            return self[1]

    with pytest.raises(CutError) as failure:
        cut(TraceAware(nn.Linear(12, 8), nn.Linear(8, 2)), "from:1", input_shape=(3, 2, 2))
    assert str(failure.value) == (
        "--train from:1: this network cannot be traced and therefore not be cut; use --train head or --train all "
        "(the traced network computes other values)"
    )


@pytest.mark.parametrize(
    ("train", "text"),
    [
        ("from:NOPE", "--train from:NOPE: no module NOPE is executed in this network; use for example from:fc"),
        (
            "from:layer4.1.conv",
            "--train from:layer4.1.conv: no module layer4.1.conv is executed in this network; "
            "did you mean layer4.1.conv2?",
        ),
        ("last:99", "--train last:99: this network has 9 blocks; use last:1 to last:9, or all"),
        ("last:0", "--train last:0: must be head, last:N (blocks), layers:N, from:MODULE or all"),
        ("heads", "--train heads: must be head, last:N (blocks), layers:N, from:MODULE or all"),
        ("head:2", "--train head:2: must be head, last:N (blocks), layers:N, from:MODULE or all"),
    ],
)
def test_invalid_train_choices(train: str, text: str) -> None:
    with pytest.raises(CutError) as failure:
        cut(network("resnet18"), train, input_shape=(3, 64, 64))
    assert str(failure.value) == text


def test_networks_without_blocks_or_head() -> None:
    with pytest.raises(CutError) as failure:
        cut(network("pit_ti_224"), "last:1", input_shape=(3, 224, 224))
    assert str(failure.value) == "timm defines no blocks for this network; use --train head, from:MODULE or all"
    with pytest.raises(CutError) as failure:
        cut(timm.create_model("test_resnet", num_classes=0), "head", input_shape=(3, 64, 64))
    assert str(failure.value) == "this network has no head with parameters"


def test_unused_modules_cannot_be_trained() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.idle = nn.Linear(12, 2), nn.Linear(2, 2)
            self.get_classifier = partial(getattr, self, "idle")

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x.flatten(1))

    with pytest.raises(CutError) as failure:
        cut(Idle(), "head", input_shape=(3, 2, 2))
    assert str(failure.value) == "the parameters to train do not affect the output of this network"


def test_layers_are_counted_as_in_keras() -> None:
    network = build("keras:MobileNetV2", classes=120)
    counted = cut(network, "layers:20", input_shape=(3, 224, 224))
    by_name = cut(network, "from:blocks.5.2.conv_dw", input_shape=(3, 224, 224))
    assert (counted.trainable, counted.name) == (by_name.trainable, by_name.name)
    sizes = {name: each.numel() for name, each in network.named_parameters()}
    assert sum(sizes[name] for name in counted.trainable) == 1_204_280


@pytest.mark.parametrize(
    ("train", "first"),
    [("layers:1", "fc.weight"), ("layers:3", "fc.weight"), ("layers:5", "layer4.0.downsample.2.weight")],
)
def test_activations_and_additions_are_layers(train: str, first: str) -> None:
    # From the end: head, pooling, activation, addition, norm of the shortcut.
    assert cut(build("test_resnet", classes=3), train, input_shape=(3, 64, 64)).trainable[0] == first


def test_too_many_layers() -> None:
    with pytest.raises(CutError, match=r"this network has \d+ layers; use layers:1 to"):
        cut(build("test_resnet", classes=3), "layers:999", input_shape=(3, 64, 64))
