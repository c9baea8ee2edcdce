"""The configuration of a whole network in a Keras file (``.keras``, ``.h5``), which is checked before Keras loads it.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.importers.keras.archives import read_zip

__all__ = ["check_no_code", "input_spec", "read_config"]

_MAX_UNPACKED = 8 << 30  # bytes
_NOT_LOADED = "compile_config"  # of the whole model: loss and optimizer; Keras does load those of nested models
_SAFE_MODULE = re.compile(
    r"keras(\.src)?(\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies|ops|backend|"
    r"legacy|applications)(\..*)?)?"
)
_SAFE_FUNCTION_MODULE = re.compile(r"keras(\.src)?\.(activations|ops)(\..*)?")

# The input of the models in keras.applications, by model name; models not listed here scale the pixels themselves.
_BGR = InputSpec(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3, channels="BGR")
_MINUS_ONE_TO_ONE = InputSpec(mean=(0.5,) * 3, std=(0.5,) * 3)
_APPLICATIONS: tuple[tuple[str, InputSpec], ...] = (
    (r"resnet(50|101|152)v2|inception_v3|inception_resnet_v2|xception|mobilenet(v2)?_\d.*|nasnet.*", _MINUS_ONE_TO_ONE),
    (r"resnet(50|101|152)|vgg(16|19)", _BGR),
    (r"densenet(121|169|201)", InputSpec()),
)


def read_config(path: Path) -> Mapping[str, Any]:
    """Read the configuration of a whole model, and check that it names no code.

    :raises ModelError: the file is damaged, has only weights, or contains code.
    """
    try:
        text = _config_from_zip(path) if not h5py.is_hdf5(path) else _config_from_hdf5(path)
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as failure:
        raise ModelError(f"not a Keras file, or damaged ({failure})") from failure
    if not isinstance(config, Mapping):
        raise ModelError("its configuration is damaged (not a JSON object)")
    try:
        check_no_code({key: each for key, each in config.items() if key != _NOT_LOADED})
    except RecursionError as failure:
        raise ModelError("its configuration is damaged (nested too deeply)") from failure
    return config


def _config_from_zip(path: Path) -> bytes:
    members = read_zip(path, lambda name: name == "config.json", limit=_MAX_UNPACKED)
    if "config.json" not in members:
        raise ModelError("not a .keras archive: contains no config.json")
    return members["config.json"]


def _config_from_hdf5(path: Path) -> str | bytes:
    with h5py.File(path, "r") as root:
        text: str | bytes | None = root.attrs.get("model_config")
    if text is None:
        raise ModelError(
            "contains only weights, and not those of MobileNetV2: the network cannot be built from them; "
            "save the whole model, model.save('FILE.keras')"
        )
    return text


def check_no_code(config: object) -> None:
    """Check that a configuration refers to no code: no Lambda, and only classes and functions of Keras.

    :raises ModelError: it does; the message names the layer.

    >>> check_no_code({"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}})
    >>> check_no_code({"class_name": "Lambda", "module": "keras.layers", "config": {"name": "half"}})
    Traceback (most recent call last):
    headstart.errors.ModelError: its layer half is a Lambda, which is code and is never run; save the model without it
    """
    if isinstance(config, list):
        for each in config:
            check_no_code(each)
    if not isinstance(config, Mapping):
        return
    kind, module = config.get("class_name"), config.get("module")
    if kind in ("Lambda", "__lambda__"):
        inner = config.get("config")
        name = inner.get("name", kind) if isinstance(inner, Mapping) else kind
        raise ModelError(f"its layer {name} is a Lambda, which is code and is never run; save the model without it")
    safe = _SAFE_FUNCTION_MODULE if kind == "function" else _SAFE_MODULE
    if isinstance(module, str) and not safe.fullmatch(module):
        name = config.get("config") if kind == "function" else kind
        raise ModelError(
            f"it refers to {module}.{name}, which is not part of Keras, and custom code is never run; export the model "
            "as ONNX (model.export('FILE.onnx', format='onnx')) and use that file"
        )
    for each in config.values():
        check_no_code(each)


def input_spec(config: Mapping[str, Any]) -> tuple[InputSpec, str] | None:
    """The input of a network that is or contains a model of ``keras.applications``, by its name, and what it is."""
    for name in _model_names(config):
        for pattern, spec in _APPLICATIONS:
            if re.fullmatch(pattern, name):
                usual = f"keras.applications shows them to {name}, after which a model in the file is named"
                return replace(spec, crop=0.875, interpolation="bilinear"), usual
    return None


def _model_names(config: object) -> Iterator[str]:
    if isinstance(config, list):
        for each in config:
            yield from _model_names(each)
    if isinstance(config, Mapping):
        inner = config.get("config")
        if isinstance(inner, Mapping) and "layers" in inner:
            yield str(inner.get("name", ""))
        for each in config.values():
            yield from _model_names(each)
