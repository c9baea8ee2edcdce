"""Reading the variables of a network, layer by layer, from a TensorFlow SavedModel of TF Hub or Kaggle Models.

Only the variables of a SavedModel (a folder, or its ``.tar.gz``) are read. Its graph, ``saved_model.pb``, is a program
and is ignored.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from headstart.errors import ModelError
from headstart.models.importers.keras import tensor_bundle
from headstart.models.importers.keras.archives import read_folder, read_tar
from headstart.models.importers.keras.hdf5 import BOOKKEEPING, Layers, add_variable, natural_key

__all__ = ["read_saved_model"]

_SLIM_VARIABLES = {"weights": "kernel", "depthwise_weights": "kernel", "biases": "bias"}
_SLIM_LAYERS = {"Conv": ("Conv1", "bn_Conv1"), "Conv_1": ("Conv_1", "Conv_1_bn")}  # convolution, BatchNorm


def read_saved_model(path: Path) -> Layers:
    """Read the layers from a SavedModel: a folder, or a ``.tar`` or ``.tar.gz`` archive.

    :raises ModelError: not a SavedModel, damaged, or unsafe.
    """
    if not path.is_dir():
        return _read_layers(read_tar(path, lambda name: "/variables/" in f"/{name}" and _is_bundle_file(name)))
    folder = path / "variables"
    return _read_layers(read_folder(folder, _is_bundle_file) if folder.is_dir() else {})


def _is_bundle_file(name: str) -> bool:
    return name.rpartition("/")[2].startswith(("variables.index", "variables.data-"))


def _read_layers(members: Mapping[str, bytes]) -> Layers:
    files = {name.rpartition("/")[2]: data for name, data in members.items()}
    if "variables.index" not in files:
        raise ModelError("not a TensorFlow SavedModel: contains no variables/variables.index")
    shards, entries = tensor_bundle.read_index(files["variables.index"])
    graph = entries.pop(tensor_bundle.OBJECT_GRAPH, None)
    if graph is None:
        raise ModelError("contains no object graph, so it was saved by TensorFlow 1; only TensorFlow 2 is supported")
    names = tensor_bundle.variable_names(tensor_bundle.read_string(graph, _shard(files, graph.shard, shards)))
    if sum(entry.size for entry in entries.values()) > sum(map(len, files.values())):
        raise ModelError("damaged: its variables overlap")
    layers: Layers = {}
    seen: dict[str, tuple[int, tuple[int, ...], int]] = {}
    for key, entry in sorted(entries.items(), key=lambda each: natural_key(each[0])):
        name = names.get(key) or key
        content = (entry.dtype, entry.shape, entry.crc32c)
        # Keras's export stores each variable twice.
        if BOOKKEEPING.search(f"{key}/{name}") or seen.get(name) == content:
            continue
        seen[name] = content
        _add_variable(layers, name, entry, _shard(files, entry.shard, shards))
    return layers


def _add_variable(layers: Layers, name: str, entry: tensor_bundle.Entry, shard: bytes) -> None:
    try:
        values = tensor_bundle.read_tensor(entry, shard)
    except ModelError as failure:
        raise ModelError(f"its variable {name}: {failure}") from failure
    name = _slim_to_keras(name)
    if name == "Logits/kernel" and values.shape[:2] == (1, 1):  # the head of Slim is a convolution, (1, 1, in, out)
        values = values[0, 0]
    add_variable(layers, name, values)


def _shard(files: Mapping[str, bytes], number: int, shards: int) -> bytes:
    name = f"variables.data-{number:05d}-of-{shards:05d}"
    if name not in files:
        raise ModelError(f"its file variables/{name} is missing")
    return files[name]


def _slim_to_keras(name: str) -> str:
    """Convert a variable name of TensorFlow-Slim's MobileNetV2, which Google's modules are made from, to Keras's name.

    >>> _slim_to_keras("MobilenetV2/expanded_conv_3/depthwise/BatchNorm/gamma")
    'block_3_depthwise_BN/gamma'
    >>> _slim_to_keras("MobilenetV2/Conv/weights"), _slim_to_keras("MobilenetV2/Conv_1/BatchNorm/beta")
    ('Conv1/kernel', 'Conv_1_bn/beta')
    """
    slim = re.fullmatch(r"(?:.*/)?MobilenetV2/(.+?)(/BatchNorm)?/(\w+)(:0)?", name)
    if slim is None:
        return name
    norm, variable = slim[2], slim[3]
    block = re.fullmatch(r"expanded_conv(?:_(\d+))?/(\w+)", slim[1])
    if block:
        layer = f"block_{block[1]}_{block[2]}" if block[1] else f"expanded_conv_{block[2]}"
        layer += "_BN" if norm else ""
    else:
        convolution, batch_norm = _SLIM_LAYERS.get(slim[1], (slim[1], slim[1]))
        layer = "Logits" if slim[1].startswith("Logits/") else batch_norm if norm else convolution
    return f"{layer}/{_SLIM_VARIABLES.get(variable, variable)}"
