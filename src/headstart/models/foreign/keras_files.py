"""Whole networks in Keras's files (``.keras``, ``.h5``): looked at before anything is loaded, then read by Keras.

Keras runs in a process of its own, on its OpenVINO backend: which backend it has is settled for good when it is first
imported, and a program that uses headstart may have settled it otherwise.

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models.keras.archives import read_zip

__all__ = ["converted", "described", "refuse_foreign_code", "spec_of"]

_LIMIT = 8 << 30  # bytes that a .keras archive may hold unpacked
_OLDEST = (3, 12)  # of Keras, that writes OpenVINO's graphs
_NOT_LOADED = frozenset(["compile_config", "build_config"])  # loss and optimizer, which are left out
_KNOWN_MODULE = re.compile(
    r"keras(\.src)?(\.(layers|models|initializers|regularizers|constraints|activations|dtype_policies|ops|backend|"
    r"legacy|applications)(\..*)?)?"
)
_KNOWN_FUNCTIONS = re.compile(r"keras(\.src)?\.(activations|ops)(\..*)?")

# What keras.applications wants, by the name of its models; those that are not here scale pixels themselves.
_BGR = InputSpec(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3, channels="BGR")
_AROUND_ZERO = InputSpec(mean=(0.5,) * 3, std=(0.5,) * 3)
_APPLICATIONS: tuple[tuple[str, InputSpec], ...] = (
    (r"resnet(50|101|152)v2|inception_v3|inception_resnet_v2|xception|mobilenet(v2)?_\d.*|nasnet.*", _AROUND_ZERO),
    (r"resnet(50|101|152)|vgg(16|19)", _BGR),
    (r"densenet(121|169|201)", InputSpec()),
)

_WORKER = Path(__file__).with_name("keras_worker.py")


def described(path: Path) -> Mapping[str, Any]:
    """The configuration of the whole model in a file, once it is seen to name no code.

    :raises ModelError: damaged, weights alone, or with code in it.
    """
    try:
        text = _archived(path) if not h5py.is_hdf5(path) else _attribute(path)
        config = json.loads(text)
    except (OSError, ValueError, RecursionError) as failure:
        raise ModelError(f"not a file of Keras, or damaged ({failure})") from failure
    if not isinstance(config, Mapping):
        raise ModelError("its configuration is damaged (not a JSON object)")
    try:
        refuse_foreign_code(config)
    except RecursionError as failure:
        raise ModelError("its configuration is damaged (nested too deeply)") from failure
    return config


def _archived(path: Path) -> bytes:
    members = read_zip(path, lambda name: name == "config.json", limit=_LIMIT)
    if "config.json" not in members:
        raise ModelError("not a .keras archive: config.json is not in it")
    return members["config.json"]


def _attribute(path: Path) -> str | bytes:
    with h5py.File(path, "r") as root:
        text: str | bytes | None = root.attrs.get("model_config")
    if text is None:
        raise ModelError(
            "holds weights alone, of a network other than MobileNetV2, which no one can build from them: "
            "save the whole model, model.save('FILE.keras')"
        )
    return text


def refuse_foreign_code(config: object) -> None:
    """Raise ModelError where a configuration names a program: a Lambda, or a class or function that is not Keras's.

    >>> refuse_foreign_code({"class_name": "Dense", "module": "keras.layers", "config": {"units": 3}})
    >>> refuse_foreign_code({"class_name": "Lambda", "module": "keras.layers", "config": {"name": "half"}})
    Traceback (most recent call last):
    headstart.errors.ModelError: its layer half is a Lambda, which is code; it is never run. Save the model without it
    """
    if isinstance(config, list):
        for each in config:
            refuse_foreign_code(each)
    if not isinstance(config, Mapping):
        return
    kind, module = config.get("class_name"), config.get("module")
    if kind in ("Lambda", "__lambda__"):
        inside = config.get("config")
        name = inside.get("name", kind) if isinstance(inside, Mapping) else kind
        raise ModelError(f"its layer {name} is a Lambda, which is code; it is never run. Save the model without it")
    if isinstance(module, str) and not (_KNOWN_FUNCTIONS if kind == "function" else _KNOWN_MODULE).fullmatch(module):
        named = config.get("config") if kind == "function" else kind
        raise ModelError(
            f"it names {module}.{named}, which is no layer of Keras: code is not run. Export the model as ONNX "
            "(model.export('FILE.onnx', format='onnx')) and give that"
        )
    for key, each in config.items():
        if key not in _NOT_LOADED:
            refuse_foreign_code(each)


def spec_of(config: Mapping[str, Any], otherwise: InputSpec) -> InputSpec:
    """What the network wants to see, where it is or holds one of ``keras.applications``."""
    for name in _model_names(config):
        for pattern, spec in _APPLICATIONS:
            if re.fullmatch(pattern, name):
                return replace(spec, crop=0.875, interpolation="bilinear")
    return otherwise


def _model_names(config: object) -> Iterator[str]:
    if isinstance(config, list):
        for each in config:
            yield from _model_names(each)
    if isinstance(config, Mapping):
        inside = config.get("config")
        if isinstance(inside, Mapping) and "layers" in inside:
            yield str(inside.get("name", ""))
        for each in config.values():
            yield from _model_names(each)


def converted(path: Path, folder: Path) -> Path:
    """Have Keras write the network into ``folder`` as OpenVINO's graph.

    :raises ModelError: Keras is not installed, or cannot read or write it.
    """
    _need_keras()
    target = folder / "graph.xml"
    environment = {
        **os.environ,
        "KERAS_BACKEND": "openvino",
        "KERAS_HOME": str(folder),  # where it would write settings of its own
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, str(_WORKER), str(path.resolve()), str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or not target.is_file():
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no reason"]
        raise ModelError(
            f"Keras cannot load it or write it as OpenVINO's graph ({lines[-1][:300]}); "
            "export it as ONNX (model.export('FILE.onnx', format='onnx')) and give that"
        )
    return target


def _need_keras() -> None:
    try:
        there = version("keras")
    except PackageNotFoundError as failure:
        raise ModelError(
            "a network other than MobileNetV2, which Keras is needed for, and it is not installed; run "
            '"pip install headstart[keras]"'
        ) from failure
    if tuple(int(part) for part in re.findall(r"\d+", there)[:2]) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise ModelError(
            f"a network other than MobileNetV2 needs Keras {wanted} or later, this is {there}; run "
            '"pip install --upgrade headstart[keras]"'
        )
