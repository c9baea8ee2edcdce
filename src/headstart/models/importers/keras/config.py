"""The configuration of a saved Keras model: its input, and layer settings that the variables do not show.

A configuration is JSON. Nothing in it is run or imported: layers are identified by name, and an unknown layer is
rejected.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from headstart.data.spec import InputSpec
from headstart.description import Guess
from headstart.errors import ModelError

__all__ = ["check_no_lambda", "input_guesses", "input_spec"]

_UNCHECKED_LAYERS = frozenset(
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
_MAX_SIZE = 4096  # pixels, as in the settings
_STRIDE_2 = frozenset(["Conv1", *(f"block_{number}_depthwise" for number in (1, 3, 6, 13))])


def check_no_lambda(config: Mapping[str, Any]) -> None:
    """Check that no layer is a Lambda.

    :raises ModelError: a layer is; the message names it.
    """
    with _damage_as_model_error():
        for kind, name, _ in _layers(config):
            if kind == "Lambda":
                raise ModelError(
                    f"its layer {name} is a Lambda, which is code and is never run; save the model without it"
                )


def input_spec(config: Mapping[str, Any], default: InputSpec) -> InputSpec:
    """Check that all layers of a whole model have the settings of MobileNetV2, and return its input.

    :param default: the values that the configuration does not state.
    :raises ModelError: a layer is not part of MobileNetV2, or has another setting.
    """
    spec = default
    with _damage_as_model_error():
        layers = list(_layers(config))
        for kind, name, settings in layers:
            _check_layer(kind, name, settings)
            if kind == "InputLayer":
                spec = _with_size(spec, settings.get("batch_shape") or settings.get("batch_input_shape"))
            if kind == "Rescaling":
                spec = _with_scale(spec, float(settings["scale"]), float(settings["offset"]))
        if len(scaling := [name for kind, name, _ in layers if kind == "Rescaling"]) > 1:
            raise ModelError(f"its layers {scaling[0]} and {scaling[1]} both rescale the input; only one may")
    return spec


def input_guesses(config: Mapping[str, Any]) -> tuple[Guess, ...]:
    """What the configuration of a whole model leaves open about its input."""
    with _damage_as_model_error():
        if any(kind == "Rescaling" for kind, _, _ in _layers(config)):
            return ()
    return (Guess("pixels are shown as RGB from -1 to 1, as keras.applications does", "--range or --channels"),)


@contextmanager
def _damage_as_model_error() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as failure:
        raise ModelError(f"its configuration is damaged ({type(failure).__name__}: {failure})") from failure


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield type, name and settings of each layer, including those of nested models."""
    kind, settings = config["class_name"], config["config"]
    if kind in _MODELS:
        for layer in settings["layers"]:
            yield from _layers(layer)
    else:
        yield kind, settings.get("name", kind), settings


def _check_layer(kind: str, name: str, settings: Mapping[str, Any]) -> None:
    checks: dict[str, tuple[object, object]] = {}
    if kind == "BatchNormalization":
        checks = {"epsilon": (settings["epsilon"], 1e-3)}
    elif kind == "ReLU":
        checks = {"max_value": (settings["max_value"], 6.0)}
    elif kind in ("Conv2D", "DepthwiseConv2D"):
        checks = {"strides": (list(settings["strides"]), [2, 2] if name in _STRIDE_2 else [1, 1])}
    elif kind in ("Dense", "Activation"):
        checks = {"activation": (settings["activation"] in ("softmax", "linear"), True)}
    elif kind not in _UNCHECKED_LAYERS:
        raise ModelError(
            f"its layer {name} ({kind}) is not part of MobileNetV2, the only Keras network that is converted"
        )
    for setting, (value, expected) in checks.items():
        if value != expected:
            raise ModelError(f"its layer {name} has {setting}={settings[setting]}, which MobileNetV2 does not have")


def _with_size(spec: InputSpec, shape: list[int | None] | None) -> InputSpec:
    height, width = (shape or [None] * 4)[1:3]
    if not (height and width):
        return spec
    if not 1 <= min(int(height), int(width)) <= max(int(height), int(width)) <= _MAX_SIZE:
        raise ModelError(f"its input has {height}x{width} pixels, must have 1 to {_MAX_SIZE} in each direction")
    return replace(spec, height=int(height), width=int(width))


def _with_scale(spec: InputSpec, scale: float, offset: float) -> InputSpec:
    """Express ``value * scale + offset``, which the model applies to pixels of 0 to 255, as mean and std."""
    std = 1 / (255 * scale)
    if not (math.isfinite(std) and math.isfinite(offset * std)):
        raise ValueError(f"rescaling by {scale} and {offset}")
    return replace(spec, mean=(-offset * std,) * 3, std=(std,) * 3)
