from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from headstart.errors import ModelError, WeightsNotFound
from headstart.models.cut import cut
from headstart.models.imagenet import imagenet_names
from headstart.models.keras import ARCHITECTURES, SPEC, build_keras, is_keras_file, load_keras


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    return str(raised.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("name", "alpha"), list(zip(ARCHITECTURES, (1.0, 0.35, 0.5, 0.75, 1.4), strict=True)), ids=str)
def test_every_width(made: ModuleType, tmp_path: Path, name: str, alpha: float) -> None:
    read = load_keras(made.write_h5(tmp_path / "weights.h5", made.variables(alpha, classes=5)))
    assert (read.name, read.architecture, read.classes, read.spec) == (name, ARCHITECTURES[name], 5, SPEC)
    assert read.origin == str(tmp_path / "weights.h5")
    build_keras(name, classes=5).load_state_dict(read.state)


def test_every_variable_goes_to_its_own_place(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    state = load_keras(made.write_h5(tmp_path / "weights.h5", values)).state
    read = sorted(float(each.double().sum()) for name, each in state.items() if each.ndim)
    assert read == pytest.approx(sorted(float(each.astype(np.float64).sum()) for each in values.values()))
    assert np.array_equal(state["blocks.5.2.bn2.running_var"], values["block_15_depthwise_BN/moving_variance"])
    assert state["blocks.0.0.conv_dw.weight"][3, 0, 1, 2] == values["expanded_conv_depthwise/kernel"][1, 2, 3, 0]
    assert state["conv_stem.weight"][4, 2, 0, 1] == values["Conv1/kernel"][0, 1, 2, 4]
    assert state["classifier.weight"][6, 9] == values["predictions/kernel"][9, 6]


def test_parameters_as_keras_counts_them(made: ModuleType) -> None:
    assert sum(np.prod(shape) for _, shape in made.shapes(1.0, 1001)) == 3_540_265
    network = build_keras("keras:MobileNetV2", classes=120)
    counted = sum(each.numel() for each in network.state_dict().values() if each.ndim)
    assert counted == 2_411_704  # the dog recipe's
    cut_there = cut(network, "from:blocks.5.2.conv_dw", input_shape=(3, 64, 64))
    parameters = dict(network.named_parameters())
    assert sum(parameters[name].numel() for name in cut_there.trainable) == 1_204_280
    assert cut_there.feature_shape == (160, 2, 2)


def test_it_is_cut_like_any_other(made: ModuleType, tmp_path: Path) -> None:
    read = load_keras(made.write_h5(tmp_path / "weights.h5", made.variables()))
    network = build_keras(read.name, classes=7)
    network.load_state_dict(read.state)
    x = torch.rand(2, 3, 97, 96)
    parts = cut(network, "last:3", input_shape=(3, 97, 96))
    with torch.no_grad():
        assert torch.equal(parts.tail(parts.prefix(x)), network(x))


@pytest.mark.parametrize("first", ["predictions", "Logits"])
def test_classes_by_name(made: ModuleType, tmp_path: Path, first: str) -> None:
    for classes, names in ((1000, imagenet_names()), (1001, ("background", *imagenet_names())), (7, None)):
        values = made.renamed(made.variables(classes=classes), predictions=first)
        assert load_keras(made.write_h5(tmp_path / "weights.h5", values)).class_names == names


def test_a_thousand_classes_of_ones_own_are_not_imagenets(made: ModuleType, tmp_path: Path) -> None:
    values = made.renamed(made.variables(classes=1000), predictions="plants")
    assert load_keras(made.write_h5(tmp_path / "weights.h5", values)).class_names is None


def test_without_top(made: ModuleType, tmp_path: Path) -> None:
    read = load_keras(made.write_h5(tmp_path / "weights.h5", made.variables(classes=0)))
    assert (read.classes, read.class_names) == (0, None)
    assert build_keras(read.name, classes=0).load_state_dict(read.state)


def test_files_with_names_of_their_own_go_by_order(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables()
    layers = list(dict.fromkeys(name.split("/")[0] for name in values))
    other = made.renamed(values, **{layer: f"mobl{number}" for number, layer in enumerate(layers)})
    read = load_keras(made.write_h5(tmp_path / "other.h5", other)).state
    expected = load_keras(made.write_h5(tmp_path / "weights.h5", values)).state
    assert all(np.array_equal(read[name], expected[name]) for name in expected)


def test_variables_that_do_not_fit(made: ModuleType, tmp_path: Path) -> None:
    def changed(**changes: np.ndarray | None) -> str:
        values = made.variables() | {name.replace("__", "/"): each for name, each in changes.items()}
        return refused(
            made.write_h5(tmp_path / "w.h5", {name: each for name, each in values.items() if each is not None})
        )

    fit = "does not fit MobileNetV2 (by timm's names): "
    none = {f"block_4_project_BN__{name}": None for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    assert changed(block_4_expand__kernel=None) == "its layers are not those of MobileNetV2: without block_4_expand"
    assert changed(**none) == "its layers are not those of MobileNetV2: without block_4_project_BN"
    assert changed(block_17_expand__kernel=np.zeros((1, 1, 2, 2), np.float32)) == (
        "its layers are not those of MobileNetV2: with block_17_expand"
    )
    assert changed(block_4_project_BN__beta=None) == f"{fit}blocks.2.1.bn3.bias is missing"
    assert changed(Conv1__bias=np.zeros(16, np.float32)) == f"{fit}Conv1/bias is none of its variables"
    assert changed(predictions__bias=None) == f"{fit}classifier.bias is missing"
    assert changed(Conv1__kernel=np.zeros((3, 3, 1, 16), np.float32)) == (
        f"{fit}conv_stem.weight is (16, 1, 3, 3), must be (16, 3, 3, 3)"
    )
    assert changed(dense__kernel=np.zeros((7, 7), np.float32)) == (
        "its layers predictions and dense are dense; MobileNetV2, which is converted, has one"
    )
    assert changed(Conv_1__kernel=np.zeros((1, 1, 100, 1280), np.float32)) == (
        "its layer Conv_1 takes 100 channels; in a MobileNetV2 they are 112, 160, 240, 320 or 448"
    )
    assert changed(Conv_1__kernel=None, Conv_1__k=np.zeros(3, np.float32)).startswith(
        "its layer Conv_1 takes 0 channels"
    )


def test_more_than_three_misfits_are_counted(made: ModuleType, tmp_path: Path) -> None:
    values = made.variables() | {name: np.zeros(3, np.float32) for name in made.variables() if "Conv1" in name}
    assert refused(made.write_h5(tmp_path / "w.h5", values)) == (
        "does not fit MobileNetV2 (by timm's names): conv_stem.weight is (3,), must be (16, 3, 3, 3); "
        "bn1.weight is (3,), must be (16,); bn1.bias is (3,), must be (16,); and 2 more"
    )


def test_other_networks(made: ModuleType, tmp_path: Path) -> None:
    kernels = {f"conv{number}/kernel": np.zeros((3, 3, 2, 2), np.float32) for number in range(3)}
    only = "only MobileNetV2 is converted today, which has "
    assert refused(made.write_h5(tmp_path / "w.h5", kernels)) == (
        f"{only}35 layers of the kind convolution; this has 3, for example conv0"
    )
    recurrent = {"lstm/recurrent_kernel": np.zeros((2, 2), np.float32)}
    assert refused(made.write_h5(tmp_path / "w.h5", recurrent)) == f"{only}no layer as lstm (recurrent_kernel)"


def test_what_is_a_file_of_keras(made: ModuleType, tmp_path: Path) -> None:
    assert is_keras_file(str(made.write_saved_model(tmp_path / "model", {})))
    assert not is_keras_file(str(tmp_path))
    assert not is_keras_file("tf_efficientnet_lite0.in1k")
    assert all(map(is_keras_file, ("x.h5", "x.hdf5", "x.keras", "x.tar.gz")))


def test_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with pytest.raises(WeightsNotFound) as raised:
        load_keras(path)
    assert str(raised.value) == f"{path}: no such file; a .h5 or .keras file or a SavedModel is looked for"


def test_no_such_network() -> None:
    with pytest.raises(ModelError) as raised:
        build_keras("keras:ResNet50", classes=3)
    assert str(raised.value) == (
        "no Keras network is converted as keras:ResNet50; there are: keras:MobileNetV2, keras:MobileNetV2-0.35, "
        "keras:MobileNetV2-0.5, keras:MobileNetV2-0.75, keras:MobileNetV2-1.4"
    )
