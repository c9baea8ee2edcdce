"""What the configuration of a saved Keras model says that its variables do not: input, and how layers are set.

A configuration is JSON. Nothing in it is run or imported: layers are known by name, and one that is not known is
refused.

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from headstart.data.spec import InputSpec
from headstart.errors import ModelError

__all__ = ["input_spec", "refuse_code"]

_WITHOUT_SETTINGS = frozenset(
    [
        "Conv2D",
        "DepthwiseConv2D",
        "ZeroPadding2D",
        "Add",
        "GlobalAveragePooling2D",
        "Dropout",
        "InputLayer",
        "Rescaling",
    ]
)
_MODELS = frozenset(["Functional", "Model", "Sequential"])
_STRIDE_2 = frozenset(["Conv1", *(f"block_{number}_depthwise" for number in (1, 3, 6, 13))])


def refuse_code(config: Mapping[str, Any]) -> None:
    """Raise ModelError where a layer is a program of its own."""
    with _damage_told():
        for kind, name, _ in _layers(config):
            if kind == "Lambda":
                raise ModelError(
                    f"its layer {name} is a Lambda, which is code; it is never run. Save the model without it"
                )


def input_spec(config: Mapping[str, Any], usual: InputSpec) -> InputSpec:
    """The input of a whole model, once all its layers are seen to be set as MobileNetV2's are.

    :param usual: what holds where the configuration says nothing else.
    :raises ModelError: a layer that MobileNetV2 does not have, or that is set otherwise.
    """
    spec = usual
    with _damage_told():
        layers = list(_layers(config))
        for kind, name, settings in layers:
            _check(kind, name, settings)
            if kind == "InputLayer":
                spec = _with_size(spec, settings.get("batch_shape") or settings.get("batch_input_shape"))
            if kind == "Rescaling":
                spec = _with_scale(spec, float(settings["scale"]), float(settings["offset"]))
        if len(scaling := [name for kind, name, _ in layers if kind == "Rescaling"]) > 1:
            raise ModelError(f"its layers {scaling[0]} and {scaling[1]} both scale the input; one may")
    return spec


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError, RecursionError) as failure:
        raise ModelError(f"its configuration is damaged ({type(failure).__name__}: {failure})") from failure


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Type, name and settings of each layer, those of models within models too."""
    kind, settings = config["class_name"], config["config"]
    if kind in _MODELS:
        for layer in settings["layers"]:
            yield from _layers(layer)
    else:
        yield kind, settings.get("name", kind), settings


def _check(kind: str, name: str, settings: Mapping[str, Any]) -> None:
    asked: dict[str, tuple[object, object]] = {}
    if kind == "BatchNormalization":
        asked = {"epsilon": (settings["epsilon"], 1e-3)}
    elif kind == "ReLU":
        asked = {"max_value": (settings["max_value"], 6.0)}
    elif kind in ("Conv2D", "DepthwiseConv2D"):
        asked = {"strides": (list(settings["strides"]), [2, 2] if name in _STRIDE_2 else [1, 1])}
    elif kind in ("Dense", "Activation"):
        asked = {"activation": (settings["activation"] in ("softmax", "linear"), True)}
    elif kind not in _WITHOUT_SETTINGS:
        raise ModelError(f"its layer {name} ({kind}) is none of MobileNetV2, the only Keras network converted today")
    for setting, (value, expected) in asked.items():
        if value != expected:
            raise ModelError(f"its layer {name} has the {setting} {settings[setting]}, which MobileNetV2 does not")


def _with_size(spec: InputSpec, shape: list[int | None] | None) -> InputSpec:
    height, width = (shape or [None] * 4)[1:3]
    return replace(spec, height=int(height), width=int(width)) if height and width else spec


def _with_scale(spec: InputSpec, scale: float, offset: float) -> InputSpec:
    """The model is shown 0 to 255 and computes ``value * scale + offset`` by itself; here the InputSpec does."""
    std = 1 / (255 * scale)
    return replace(spec, mean=(-offset * std,) * 3, std=(std,) * 3)
