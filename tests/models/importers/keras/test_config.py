from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.importers.keras import load_keras
from headstart.models.importers.keras.config import input_spec


def test_input_size(writer: ModuleType) -> None:
    default = InputSpec()
    assert input_spec({"class_name": "Sequential", "config": {"layers": []}}, default) == default
    spec = input_spec(writer.config(), default)
    assert (spec.height, spec.width, spec.mean) == (96, 128, default.mean)
    old = writer.config(("InputLayer", {"name": "input_1", "batch_input_shape": [None, 64, 64, 3]}))
    assert input_spec(old, default).height == 64
    free = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, None, None, 3]}}
    assert input_spec(free, default) == default


@pytest.mark.parametrize(
    ("scale", "offset", "mean", "std"), [(1 / 127.5, -1, 0.5, 0.5), (1 / 255, 0, 0, 1), (1, 0, 0, 1 / 255)]
)
def test_rescaling_becomes_mean_and_std(
    writer: ModuleType, scale: float, offset: float, mean: float, std: float
) -> None:
    spec = input_spec(writer.config(("Rescaling", {"name": "r", "scale": scale, "offset": offset})), InputSpec())
    assert spec.mean == pytest.approx((mean,) * 3)
    assert spec.std == pytest.approx((std,) * 3)


def test_second_rescaling_is_rejected(writer: ModuleType) -> None:
    layers = [("Rescaling", {"name": name, "scale": 2, "offset": 0}) for name in ("first", "second")]
    with pytest.raises(ModelError) as raised:
        input_spec(writer.config(*layers), InputSpec())
    assert str(raised.value) == "its layers first and second both rescale the input; only one may"


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        (
            "Lambda",
            {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAA=="}}},
            "its layer odd is a Lambda, which is code and is never run; save the model without it",
        ),
        ("LSTM", {}, "its layer odd (LSTM) is not part of MobileNetV2, the only Keras network that is converted"),
        (
            "TrueDivide",
            {},
            "its layer odd (TrueDivide) is not part of MobileNetV2, the only Keras network that is converted",
        ),
        ("BatchNormalization", {"epsilon": 1e-5}, "its layer odd has epsilon=1e-05, which MobileNetV2 does not have"),
        ("ReLU", {"max_value": None}, "its layer odd has max_value=None, which MobileNetV2 does not have"),
        ("Conv2D", {"strides": [2, 2]}, "its layer odd has strides=[2, 2], which MobileNetV2 does not have"),
        ("Dense", {"activation": "sigmoid"}, "its layer odd has activation=sigmoid, which MobileNetV2 does not have"),
        ("Activation", {"activation": "swish"}, "its layer odd has activation=swish, which MobileNetV2 does not have"),
        ("ReLU", {}, "its configuration is damaged (KeyError: 'max_value')"),
        (
            "Rescaling",
            {"scale": 0, "offset": 1},
            "its configuration is damaged (ZeroDivisionError: float division by zero)",
        ),
        ("InputLayer", {"batch_shape": [None, "a", "b", 3]}, "its configuration is damaged (ValueError: "),
        (
            "InputLayer",
            {"batch_shape": [None, 10**9, 64, 3]},
            "its input has 1000000000x64 pixels, must have 1",
        ),
        ("InputLayer", {"batch_shape": [None, float("inf"), 64, 3]}, "its configuration is damaged (OverflowError: "),
        (
            "Rescaling",
            {"scale": float("nan"), "offset": 1},
            "its configuration is damaged (ValueError: rescaling by ",
        ),
        ("InputLayer", {"batch_shape": 7}, "its configuration is damaged (TypeError: "),
    ],
)
def test_other_layers_and_settings_are_rejected(
    writer: ModuleType, tmp_path: Path, kind: str, settings: dict[str, object], text: str
) -> None:
    config = writer.config((kind, {"name": "odd", **settings}))
    whole = writer.write_h5(tmp_path / "model.h5", writer.variables(), config=config)
    members = {"config.json": json.dumps(config), "model.weights.h5": writer.keras3_h5(writer.variables())}
    archive = writer.write_keras(tmp_path / "model.keras", members)
    for path in (whole, archive):
        with pytest.raises(ModelError) as raised:
            load_keras(path)
        assert str(raised.value).startswith(f"{path}: {text}")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("{", "its configuration is damaged (Expecting property name enclosed in double quotes: "),
        ("[1]", "its configuration is damaged (not a JSON object)"),
        ("{}", "its configuration is damaged (KeyError: 'class_name')"),
        ('{"class_name": "Functional", "config": 3}', "its configuration is damaged (TypeError: "),
        ("[" * 100_000, "its configuration is damaged ("),
        ('{"class_name":"Model","config":{"layers":[' * 3000 + "]}}" * 3000, "its configuration is damaged ("),
    ],
)
def test_damaged_configurations(writer: ModuleType, tmp_path: Path, config: str, text: str) -> None:
    members = {"config.json": config, "model.weights.h5": writer.keras3_h5(writer.variables())}
    path = writer.write_keras(tmp_path / "model.keras", members)
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    assert str(raised.value).startswith(f"{path}: {text}")


def test_other_archive_is_rejected(writer: ModuleType, tmp_path: Path) -> None:
    path = writer.write_keras(tmp_path / "model.keras", {"config.json": "{}"})
    with pytest.raises(ModelError) as raised:
        load_keras(path)
    assert str(raised.value) == f"{path}: not a .keras archive: contains no model.weights.h5"
