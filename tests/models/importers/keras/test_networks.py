from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from headstart.errors import ModelError, WeightsNotFound
from headstart.models.cut import cut
from headstart.models.imagenet import imagenet_names
from headstart.models.importers.keras import ARCHITECTURES, SPEC, build_keras, is_keras_file, load_keras


def rejected(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    return str(raised.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("name", "alpha"), list(zip(ARCHITECTURES, (1.0, 0.35, 0.5, 0.75, 1.4), strict=True)), ids=str)
def test_every_width_multiplier(writer: ModuleType, tmp_path: Path, name: str, alpha: float) -> None:
    read = load_keras(writer.write_h5(tmp_path / "weights.h5", writer.variables(alpha, classes=5)))
    assert (read.name, read.architecture, read.classes, read.spec) == (name, ARCHITECTURES[name], 5, SPEC)
    assert read.source == str(tmp_path / "weights.h5")
    build_keras(name, classes=5).load_state_dict(read.state)


def test_every_variable_is_assigned_once(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    state = load_keras(writer.write_h5(tmp_path / "weights.h5", values)).state
    read = sorted(float(each.double().sum()) for name, each in state.items() if each.ndim)
    assert read == pytest.approx(sorted(float(each.astype(np.float64).sum()) for each in values.values()))
    assert np.array_equal(state["blocks.5.2.bn2.running_var"], values["block_15_depthwise_BN/moving_variance"])
    assert state["blocks.0.0.conv_dw.weight"][3, 0, 1, 2] == values["expanded_conv_depthwise/kernel"][1, 2, 3, 0]
    assert state["conv_stem.weight"][4, 2, 0, 1] == values["Conv1/kernel"][0, 1, 2, 4]
    assert state["classifier.weight"][6, 9] == values["predictions/kernel"][9, 6]


def test_parameter_counts_match_keras(writer: ModuleType) -> None:
    assert sum(np.prod(shape) for _, shape in writer.shapes(1.0, 1001)) == 3_540_265
    network = build_keras("keras:MobileNetV2", classes=120)
    counted = sum(each.numel() for each in network.state_dict().values() if each.ndim)
    assert counted == 2_411_704  # as in Keras
    cut_there = cut(network, "from:blocks.5.2.conv_dw", input_shape=(3, 64, 64))
    parameters = dict(network.named_parameters())
    assert sum(parameters[name].numel() for name in cut_there.trainable) == 1_204_280
    assert cut_there.feature_shape == (160, 2, 2)


def test_converted_network_can_be_cut(writer: ModuleType, tmp_path: Path) -> None:
    read = load_keras(writer.write_h5(tmp_path / "weights.h5", writer.variables()))
    network = build_keras(read.name, classes=7)
    network.load_state_dict(read.state)
    x = torch.rand(2, 3, 97, 96)
    parts = cut(network, "last:3", input_shape=(3, 97, 96))
    with torch.no_grad():
        assert torch.equal(parts.tail(parts.prefix(x)), network(x))


@pytest.mark.parametrize("first", ["predictions", "Logits"])
def test_class_names(writer: ModuleType, tmp_path: Path, first: str) -> None:
    for classes, names in ((1000, imagenet_names()), (1001, ("background", *imagenet_names())), (7, None)):
        values = writer.renamed(writer.variables(classes=classes), predictions=first)
        assert load_keras(writer.write_h5(tmp_path / "weights.h5", values)).class_names == names


def test_other_heads_with_a_thousand_classes_are_not_imagenet(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.renamed(writer.variables(classes=1000), predictions="plants")
    assert load_keras(writer.write_h5(tmp_path / "weights.h5", values)).class_names is None


def test_without_top(writer: ModuleType, tmp_path: Path) -> None:
    read = load_keras(writer.write_h5(tmp_path / "weights.h5", writer.variables(classes=0)))
    assert (read.classes, read.class_names) == (0, None)
    assert build_keras(read.name, classes=0).load_state_dict(read.state)


def test_unknown_layer_names_are_matched_by_order(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables()
    layers = list(dict.fromkeys(name.split("/")[0] for name in values))
    other = writer.renamed(values, **{layer: f"mobl{number}" for number, layer in enumerate(layers)})
    read = load_keras(writer.write_h5(tmp_path / "other.h5", other)).state
    expected = load_keras(writer.write_h5(tmp_path / "weights.h5", values)).state
    assert all(np.array_equal(read[name], expected[name]) for name in expected)


def test_mismatched_variables(writer: ModuleType, tmp_path: Path) -> None:
    def changed(**changes: np.ndarray | None) -> str:
        values = writer.variables() | {name.replace("__", "/"): each for name, each in changes.items()}
        return rejected(
            writer.write_h5(tmp_path / "w.h5", {name: each for name, each in values.items() if each is not None})
        )

    fit = "does not fit MobileNetV2 (names as in timm): "
    none = {f"block_4_project_BN__{name}": None for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    assert changed(block_4_expand__kernel=None) == "its layers are not those of MobileNetV2: missing block_4_expand"
    assert changed(**none) == "its layers are not those of MobileNetV2: missing block_4_project_BN"
    assert changed(block_17_expand__kernel=np.zeros((1, 1, 2, 2), np.float32)) == (
        "its layers are not those of MobileNetV2: unexpected block_17_expand"
    )
    assert changed(block_4_project_BN__beta=None) == f"{fit}blocks.2.1.bn3.bias is missing"
    assert changed(Conv1__bias=np.zeros(16, np.float32)) == f"{fit}Conv1/bias is unexpected"
    assert changed(predictions__bias=None) == f"{fit}classifier.bias is missing"
    assert changed(Conv1__kernel=np.zeros((3, 3, 1, 16), np.float32)) == (
        f"{fit}conv_stem.weight has the shape (16, 1, 3, 3), must be (16, 3, 3, 3)"
    )
    assert changed(dense__kernel=np.zeros((7, 7), np.float32)) == (
        "its layers predictions and dense are both dense; MobileNetV2 has one dense layer"
    )
    assert changed(Conv_1__kernel=np.zeros((1, 1, 100, 1280), np.float32)) == (
        "its layer Conv_1 has 100 input channels; MobileNetV2 has 112, 160, 240, 320 or 448"
    )
    assert changed(Conv_1__kernel=None, Conv_1__k=np.zeros(3, np.float32)).startswith(
        "its layer Conv_1 has 0 input channels"
    )


def test_more_than_three_mismatches_are_counted(writer: ModuleType, tmp_path: Path) -> None:
    values = writer.variables() | {name: np.zeros(3, np.float32) for name in writer.variables() if "Conv1" in name}
    assert rejected(writer.write_h5(tmp_path / "w.h5", values)) == (
        "does not fit MobileNetV2 (names as in timm): conv_stem.weight has the shape (3,), must be (16, 3, 3, 3); "
        "bn1.weight has the shape (3,), must be (16,); bn1.bias has the shape (3,), must be (16,); and 2 more"
    )


def test_other_networks_are_rejected(writer: ModuleType, tmp_path: Path) -> None:
    kernels = {f"conv{number}/kernel": np.zeros((3, 3, 2, 2), np.float32) for number in range(3)}
    only = "only MobileNetV2 is converted, which has "
    assert rejected(writer.write_h5(tmp_path / "w.h5", kernels)) == (
        f"{only}35 layers of the kind convolution; this network has 3, for example conv0"
    )
    recurrent = {"lstm/recurrent_kernel": np.zeros((2, 2), np.float32)}
    assert rejected(writer.write_h5(tmp_path / "w.h5", recurrent)) == f"{only}no layer like lstm (recurrent_kernel)"


def test_is_keras_file(writer: ModuleType, tmp_path: Path) -> None:
    assert is_keras_file(str(writer.write_saved_model(tmp_path / "model", {})))
    assert not is_keras_file(str(tmp_path))
    assert not is_keras_file("tf_efficientnet_lite0.in1k")
    assert all(map(is_keras_file, ("x.h5", "x.hdf5", "x.keras", "x.tar.gz")))


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with pytest.raises(WeightsNotFound) as raised:
        load_keras(path)
    assert str(raised.value) == f"{path}: no such file; expected a .h5 file, a .keras file or a SavedModel"


def test_unknown_network() -> None:
    with pytest.raises(ModelError) as raised:
        build_keras("keras:ResNet50", classes=3)
    assert str(raised.value) == (
        "unknown Keras network 'keras:ResNet50'; available: keras:MobileNetV2, keras:MobileNetV2-0.35, "
        "keras:MobileNetV2-0.5, keras:MobileNetV2-0.75, keras:MobileNetV2-1.4"
    )
