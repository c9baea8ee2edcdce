"""Reading the variables of a network, layer by layer, from Keras files.

Files are read, never run: no pickle, no Keras, and from a saved configuration only numbers and names.

- ``.h5``: HDF5 as Keras 1 to 3 write it (keras/src/legacy/saving/legacy_h5_format.py): the attribute ``layer_names``,
  and for each layer a group with the attribute ``weight_names``. In a whole model, these are under ``model_weights``,
  and its configuration is the attribute ``model_config``.
- ``.weights.h5`` and ``.keras`` of Keras 3 (keras/src/saving/saving_lib.py): a group for each layer, named by its type
  and number, with the variables by position under ``vars``. A ``.keras`` file is a zip archive of such a file and
  ``config.json``.

Error messages raised here do not name the file; the caller adds it.
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
from headstart.models.importers.keras.archives import LIMIT, read_zip
from headstart.models.importers.keras.unsupported import UnsupportedNetwork

__all__ = [
    "BOOKKEEPING",
    "KerasFile",
    "Layers",
    "Variables",
    "add_variable",
    "natural_key",
    "read_hdf5",
    "read_keras",
]

Variables = dict[str, NDArray[np.float32]]
"""The variables of one layer by name: "kernel", "bias", "gamma" and so on."""

Layers = dict[str, Variables]
"""The variables by layer name, in file order."""

Nodes = dict[str, "h5py.Group | h5py.Dataset"]

BOOKKEEPING = re.compile(r"(^|/)(optimizer|keras_api|seed_generator|seed_generator_state|save_counter)(/|$)")
"""Matches the names of variables that do not belong to the network."""

# Names of the variables that Keras 3 stores by position, by layer type.
_BY_POSITION = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "dense": ("kernel", "bias"),
}
_HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True)
class KerasFile:
    """The contents of a file."""

    layers: Layers
    config: Mapping[str, Any] | None = None  # of the whole model, as serialized by Keras; None if only variables


def read_keras(path: Path) -> KerasFile:
    """Read the layers and the configuration from a ``.keras`` archive.

    :raises ModelError: not such an archive, damaged, or unsafe.
    """
    wanted = ("config.json", "model.weights.h5")
    members = read_zip(path, lambda name: name in wanted)
    if missing := [name for name in wanted if name not in members]:
        raise ModelError(f"not a .keras archive: contains no {missing[0]}")
    file = read_hdf5(io.BytesIO(members["model.weights.h5"]))
    return KerasFile(file.layers, _parse_config(members["config.json"]))


def _parse_config(text: str | bytes) -> Mapping[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, TypeError, RecursionError) as failure:
        raise ModelError(f"its configuration is damaged ({failure})") from failure
    if not isinstance(config, Mapping):
        raise ModelError("its configuration is damaged (not a JSON object)")
    return config


def read_hdf5(file: IO[bytes]) -> KerasFile:
    """Read the layers from a ``.h5`` file, and the configuration if it contains a whole model.

    :raises ModelError: not such a file, or damaged.
    """
    try:
        with h5py.File(file, "r") as root:
            nodes = _all_nodes(root)
            folder = "model_weights/" if "model_weights" in nodes else ""
            weights = {name.removeprefix(folder): node for name, node in nodes.items() if name.startswith(folder)}
            names = _read_names(nodes.get("model_weights", root), "layer_names")
            layers = _read_by_name(weights, names) if names else _read_by_position(weights)
            config = root.attrs.get("model_config")
    except _HDF5_ERRORS as failure:  # h5py has no type of its own
        raise ModelError(f"not an HDF5 file, or damaged ({failure})") from failure
    return KerasFile(layers, None if config is None else _parse_config(config))


def _all_nodes(root: h5py.Group) -> Nodes:
    """All nodes of the file by path. ``visititems`` follows no soft or external link, and visits nothing twice."""
    nodes: Nodes = {}
    root.visititems(lambda name, node: nodes.update({name: node}))
    datasets = [each for each in nodes.values() if isinstance(each, h5py.Dataset)]
    if sum(each.size * each.dtype.itemsize for each in datasets) > LIMIT:
        raise UnsupportedNetwork(f"larger than the limit of {LIMIT >> 20} MiB, which is ample for MobileNetV2")
    return nodes


def _read_names(group: h5py.Group, attribute: str) -> list[str]:
    """Read a list of names; a list of more than 64 KiB is stored in numbered parts."""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(f"{attribute}{len(parts)}")
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _read_by_name(nodes: Nodes, names: Sequence[str]) -> Layers:
    layers: Layers = {}
    for group in names:
        if group not in nodes:
            raise ModelError(f"its layer {group} is missing, or a link, which is not followed")
        for name in _read_names(nodes[group], "weight_names"):
            dataset = nodes.get(f"{group}/{name}")
            if not isinstance(dataset, h5py.Dataset):
                raise ModelError(f"its variable {group}/{name} is missing, or a link, which is not followed")
            if not BOOKKEEPING.search(name):
                add_variable(layers, name, _read_values(dataset, name))
    return layers


def _read_by_position(nodes: Nodes) -> Layers:
    layers: Layers = {}
    datasets = [name for name, node in nodes.items() if isinstance(node, h5py.Dataset)]
    for path in sorted(datasets, key=natural_key):
        if BOOKKEEPING.search(path):
            continue
        group, _, position = path.rpartition("/vars/")
        layer = group.rpartition("/")[2]
        names = _BY_POSITION.get(re.sub(r"_\d+$", "", layer), ())
        if not group or not position.isdecimal() or int(position) >= len(names):
            raise UnsupportedNetwork(
                f"its variable {path} is not part of MobileNetV2, the only Keras network that is converted"
            )
        layer_name = nodes[f"{group}/vars"].attrs.get("name", layer)  # the first versions of Keras 3 do not store it
        add_variable(layers, f"{layer_name}/{names[int(position)]}", _read_values(nodes[path], path))
    return layers


def natural_key(path: str) -> str:
    """A sort key that puts conv2d_10 after conv2d_9."""
    return re.sub(r"\d+", lambda number: number[0].zfill(9), path)


def _read_values(dataset: h5py.Dataset, name: str) -> NDArray[np.float32]:
    if dataset.external is not None or dataset.is_virtual:
        raise ModelError(f"its variable {name} is in another file, which is not opened")
    if dataset.dtype.kind != "f":
        raise UnsupportedNetwork(f"its variable {name} has the type {dataset.dtype}, must be floating point")
    return np.asarray(dataset[()], np.float32)


def add_variable(layers: Layers, name: str, values: NDArray[np.float32]) -> None:
    """Add ``values`` under the last two parts of a name such as ``mobilenetv2/bn_Conv1/gamma:0``."""
    layer, _, variable = name.removesuffix(":0").rpartition("/")
    variable = {"depthwise_kernel": "kernel"}.get(variable, variable)
    variables = layers.setdefault(layer.rpartition("/")[2], {})
    if variable in variables:
        raise ModelError(f"it has two variables called {layer.rpartition('/')[2]}/{variable}")
    variables[variable] = values
