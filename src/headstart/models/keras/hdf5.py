"""Reads the variables of a network, layer by layer, out of Keras's files.

They are read, never run: no pickle, no Keras, and of a saved configuration nothing but numbers and names.

- ``.h5``: HDF5 as Keras 1 to 3 write it (keras/src/legacy/saving/legacy_h5_format.py): the attribute ``layer_names``,
  and for each layer a group with the attribute ``weight_names``. A whole model has these below ``model_weights``,
  and its configuration as the attribute ``model_config``.
- ``.weights.h5`` and ``.keras`` of Keras 3 (keras/src/saving/saving_lib.py): a group for each layer, named by its type
  and number, with the variables by position below ``vars``. A ``.keras`` is a zip archive of these and ``config.json``.

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.errors import ModelError
from headstart.models.keras.archives import LIMIT, read_zip
from headstart.models.keras.other import OtherNetwork

__all__ = ["NOT_OF_THE_NETWORK", "Layers", "Stored", "Variables", "add", "by_number", "read_hdf5", "read_keras"]

Variables = dict[str, NDArray[np.float32]]
"""Of one layer, by name: "kernel", "bias", "gamma" and so on."""

Layers = dict[str, Variables]
"""By the layer's name, in the order of the file."""

Nodes = dict[str, "h5py.Group | h5py.Dataset"]

# Names of the variables that Keras 3 stores by position, by type of layer.
_BY_POSITION = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}
NOT_OF_THE_NETWORK = re.compile(r"(^|/)(optimizer|keras_api|seed_generator|seed_generator_state|save_counter)(/|$)")
_HDF5_FAILURES = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True)
class Stored:
    """What a file holds."""

    layers: Layers
    config: Mapping[str, Any] | None = None  # of the whole model, as Keras serialises it; None: variables alone


def read_keras(path: Path) -> Stored:
    """The layers and the configuration in a ``.keras`` archive.

    :raises ModelError: not such an archive, damaged, or unsafe.
    """
    wanted = ("config.json", "model.weights.h5")
    members = read_zip(path, lambda name: name in wanted)
    if missing := [name for name in wanted if name not in members]:
        raise ModelError(f"not a .keras archive: {missing[0]} is not in it")
    stored = read_hdf5(io.BytesIO(members["model.weights.h5"]))
    return Stored(stored.layers, _config(members["config.json"]))


def _config(text: str | bytes) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, TypeError, RecursionError) as failure:
        raise ModelError(f"its configuration is damaged ({failure})") from failure
    if not isinstance(config, Mapping):
        raise ModelError("its configuration is damaged (not a JSON object)")
    return config


def read_hdf5(file: IO[bytes]) -> Stored:
    """The layers in a ``.h5`` file, and the configuration if it holds a whole model.

    :raises ModelError: not such a file, or damaged.
    """
    try:
        with h5py.File(file, "r") as root:
            nodes = _nodes(root)
            below = "model_weights/" if "model_weights" in nodes else ""
            weights = {name.removeprefix(below): node for name, node in nodes.items() if name.startswith(below)}
            names = _names(nodes.get("model_weights", root), "layer_names")
            layers = _by_name(weights, names) if names else _by_position(weights)
            config = root.attrs.get("model_config")
    except _HDF5_FAILURES as failure:  # h5py has no type of its own
        raise ModelError(f"not an HDF5 file, or damaged ({failure})") from failure
    return Stored(layers, None if config is None else _config(config))


def _nodes(root: h5py.Group) -> Nodes:
    """All that is in the file, by path. ``visititems`` follows no soft or external link, and visits nothing twice."""
    found: Nodes = {}
    root.visititems(lambda name, node: found.update({name: node}))
    datasets = [each for each in found.values() if isinstance(each, h5py.Dataset)]
    if sum(each.size * each.dtype.itemsize for each in datasets) > LIMIT:
        raise OtherNetwork(f"holds more than the {LIMIT >> 20} MiB that are read, which no MobileNetV2 needs")
    return found


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; one longer than 64 KiB is kept in numbered parts."""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(f"{attribute}{len(parts)}")
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _by_name(nodes: Nodes, names: Sequence[str]) -> Layers:
    layers: Layers = {}
    for group in names:
        if group not in nodes:
            raise ModelError(f"its layer {group} is missing, or a link, which is not followed")
        for name in _names(nodes[group], "weight_names"):
            dataset = nodes.get(f"{group}/{name}")
            if not isinstance(dataset, h5py.Dataset):
                raise ModelError(f"its variable {group}/{name} is missing, or a link, which is not followed")
            if not NOT_OF_THE_NETWORK.search(name):
                add(layers, name, _values(dataset, name))
    return layers


def _by_position(nodes: Nodes) -> Layers:
    layers: Layers = {}
    datasets = [name for name, node in nodes.items() if isinstance(node, h5py.Dataset)]
    for path in sorted(datasets, key=by_number):
        if NOT_OF_THE_NETWORK.search(path):
            continue
        group, _, position = path.rpartition("/vars/")
        layer = group.rpartition("/")[2]
        names = _BY_POSITION.get(re.sub(r"_\d+$", "", layer), ())
        if not group or not position.isdecimal() or int(position) >= len(names):
            raise OtherNetwork(
                f"its variable {path} is of no layer of MobileNetV2, the only Keras network converted today"
            )
        own_name = nodes[f"{group}/vars"].attrs.get("name", layer)  # which the first versions of Keras 3 do not keep
        add(layers, f"{own_name}/{names[int(position)]}", _values(nodes[path], path))
    return layers


def by_number(path: str) -> str:
    """A key to sort by, so that conv2d_10 comes after conv2d_9."""
    return re.sub(r"\d+", lambda number: number[0].zfill(9), path)


def _values(dataset: h5py.Dataset, name: str) -> NDArray[np.float32]:
    if dataset.external is not None or dataset.is_virtual:
        raise ModelError(f"its variable {name} lies in another file, which is not opened")
    if dataset.dtype.kind != "f":
        raise ModelError(f"its variable {name} is of type {dataset.dtype}, not floating point")
    return np.asarray(dataset[()], np.float32)


def add(layers: Layers, name: str, values: NDArray[np.float32]) -> None:
    """Put ``values`` under the last two parts of a name such as ``mobilenetv2/bn_Conv1/gamma:0``."""
    layer, _, weight = name.removesuffix(":0").rpartition("/")
    weight = {"depthwise_kernel": "kernel"}.get(weight, weight)
    variables = layers.setdefault(layer.rpartition("/")[2], {})
    if weight in variables:
        raise ModelError(f"it has two variables called {layer.rpartition('/')[2]}/{weight}")
    variables[weight] = values
