"""Writes MobileNetV2 in the file formats of Keras and TensorFlow, byte by byte where tests need damaged files.

Names and shapes are those of Keras, following the paper (https://arxiv.org/abs/1801.04381, table 2).
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from headstart.models.importers.keras.crc32c import masked_crc32c

Variables = dict[str, np.ndarray]

_STAGES = ((24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1))  # channels, blocks; after the first block's 16


def shapes(alpha: float = 0.35, classes: int = 7) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in the order of Keras; without head if ``classes`` is 0."""

    def width(channels: float) -> int:
        rounded = max(8, int(channels * alpha + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * channels * alpha else rounded + 8

    def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from ((f"{name}/{each}", (channels,)) for each in ("gamma", "beta", "moving_mean", "moving_variance"))

    def block(name: str, expanded: int, out: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}_depthwise/kernel", (3, 3, expanded, 1)
        yield from norm(f"{name}_depthwise_BN", expanded)
        yield f"{name}_project/kernel", (1, 1, expanded, out)
        yield from norm(f"{name}_project_BN", out)

    yield "Conv1/kernel", (3, 3, 3, width(32))
    yield from norm("bn_Conv1", width(32))
    yield from block("expanded_conv", width(32), width(16))
    channels = width(16)
    for number, out in enumerate((width(out) for out, count in _STAGES for _ in range(count)), start=1):
        yield f"block_{number}_expand/kernel", (1, 1, channels, 6 * channels)
        yield from norm(f"block_{number}_expand_BN", 6 * channels)
        yield from block(f"block_{number}", 6 * channels, out)
        channels = out
    last = width(1280) if alpha > 1 else 1280
    yield "Conv_1/kernel", (1, 1, channels, last)
    yield from norm("Conv_1_bn", last)
    if classes:
        yield from [("predictions/kernel", (last, classes)), ("predictions/bias", (classes,))]


def variables(alpha: float = 0.35, classes: int = 7) -> Variables:
    """Random values above 0, as variances must be; with a different mean in each variable, to detect mix-ups."""
    noise = np.random.default_rng(0)
    return {
        name: noise.uniform(0.1, 1 + number / 100, shape).astype(np.float32)
        for number, (name, shape) in enumerate(shapes(alpha, classes))
    }


def renamed(values: Variables, **names: str) -> Variables:
    """Rename layers: renamed(values, predictions="dense")."""
    parts = {name: name.split("/") for name in values}
    return {f"{names.get(layer, layer)}/{name}": values[key] for key, (layer, name) in parts.items()}


# -- HDF5 -------------------------------------------------------------------------------------------------------------


def write_h5(path: Path, values: Mapping[str, np.ndarray], *, suffix: str = "", config: object = None) -> Path:
    """Write Keras's legacy format; with ``suffix`` ":0" as TensorFlow 1 does, with ``config`` as a whole model."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if config else file
        if config:
            file.attrs["model_config"] = json.dumps(config)
        layers = list(dict.fromkeys(name.split("/")[0] for name in values))
        root.attrs["layer_names"] = [layer.encode() for layer in ["input_1", *layers]]
        root.create_group("input_1").attrs["weight_names"] = []
        for layer in layers:
            names = [name for name in values if name.split("/")[0] == layer]
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{name}{suffix}".encode() for name in names]
            for name in names:
                group[f"{name}{suffix}"] = values[name]
    return path


def keras3_h5(values: Mapping[str, np.ndarray], *, named: bool = True) -> bytes:
    """``model.weights.h5`` of Keras 3; without ``named``, of its first versions."""
    file = io.BytesIO()
    numbers: dict[str, int] = {}
    groups: dict[str, str] = {}
    with h5py.File(file, "w") as root:
        for name, array in values.items():
            layer = name.split("/")[0]
            if layer not in groups:
                kind = _kind(name, array)
                count = numbers[kind] = numbers.get(kind, -1) + 1
                groups[layer] = f"layers/{kind}_{count}/vars" if count else f"layers/{kind}/vars"
                group = root.create_group(groups[layer])
                if named:
                    group.attrs["name"] = layer
            group = root[groups[layer]]
            group[str(len(group))] = array
        root["optimizer/vars/0"] = 3
    return file.getvalue()


def _kind(name: str, array: np.ndarray) -> str:
    if name.endswith("gamma"):
        return "batch_normalization"
    if array.ndim == 2:
        return "dense"
    return "depthwise_conv2d" if array.shape[-1] == 1 else "conv2d"


def config(*more: tuple[str, dict[str, object]]) -> dict[str, object]:
    """A configuration with some layers, then ``more``: ("ReLU", {"name": "r", "max_value": 6.0})."""
    layers: list[tuple[str, dict[str, object]]] = [
        ("InputLayer", {"name": "input", "batch_shape": [None, 96, 128, 3]}),
        ("Conv2D", {"name": "Conv1", "strides": [2, 2]}),
        ("BatchNormalization", {"name": "bn_Conv1", "epsilon": 0.001}),
        ("Dense", {"name": "predictions", "activation": "softmax"}),
        *more,
    ]
    serialized = [{"class_name": kind, "config": settings} for kind, settings in layers]
    return {"class_name": "Functional", "config": {"name": "model", "layers": serialized}}


def write_keras(path: Path, members: Mapping[str, bytes | str]) -> Path:
    """Write a zip archive of ``members``."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# -- TensorFlow -------------------------------------------------------------------------------------------------------


def write_saved_model(folder: Path, values: Mapping[str, np.ndarray]) -> Path:
    """Write a SavedModel folder with these variables."""
    index, data = bundle(values)
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"never read")
    (folder / "variables" / "variables.index").write_bytes(index)
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    return folder


def write_tar(path: Path, folder: Path, *members: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    """Write an archive of ``folder``, followed by ``members``, whose content is zeros."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, "./")
        for member in members:
            archive.addfile(member, io.BytesIO(b"\0" * member.size))
    return path


def slim(values: Variables) -> Variables:
    """The same with the names of TensorFlow-Slim, which Google's modules on TF Hub are made from."""
    return {_slim(name): array[None, None] if name == "predictions/kernel" else array for name, array in values.items()}


def _slim(name: str) -> str:
    layer, variable = name.split("/")
    if layer == "predictions":
        return f"MobilenetV2/Logits/Conv2d_1c_1x1/{'weights' if variable == 'kernel' else 'biases'}"
    norm = "/BatchNorm" if variable != "kernel" else ""
    layer = {"Conv1": "Conv", "bn_Conv1": "Conv", "Conv_1_bn": "Conv_1"}.get(layer, layer.removesuffix("_BN"))
    if layer.startswith(("block_", "expanded_conv_")):
        block, _, part = layer.rpartition("_")
        layer = f"{block.replace('block', 'expanded_conv')}/{part}"
    kernel = "depthwise_weights" if layer.endswith("/depthwise") else "weights"
    return f"MobilenetV2/{layer}{norm}/{kernel if variable == 'kernel' else variable}"


def bundle(values: Mapping[str, np.ndarray], *, header: bytes = b"\x08\x01") -> tuple[bytes, bytes]:
    """``variables.index`` and ``variables.data-00000-of-00001``, with the keys variables/0, variables/1, ..."""
    data = b""
    entries = {b"": header}
    nodes = b""
    for number, (name, array) in enumerate(values.items()):
        key = f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE"
        attribute = field(1, b"VARIABLE_VALUE") + field(2, name.encode()) + field(3, key.encode())
        nodes += field(1, field(2, attribute))
        kind = {"float32": 1, "float64": 2, "int64": 9, "float16": 19}[str(array.dtype)]
        content = array.tobytes()
        entries[key.encode()] = entry(kind, array.shape, len(data), len(content), masked_crc32c(content))
        data += content
    entries[b"_CHECKPOINTABLE_OBJECT_GRAPH"], content = text(nodes, len(data))
    return table(entries), data + content


def text(content: bytes, offset: int) -> tuple[bytes, bytes]:
    """The entry of a string, and its stored bytes."""
    length = struct.pack("<I", len(content))
    checksum = struct.pack("<I", masked_crc32c(length))
    stored = varint(len(content)) + checksum + content
    return entry(7, (), offset, len(stored), masked_crc32c(length + checksum + content)), stored


def entry(kind: int, shape: tuple[int, ...], offset: int, size: int, checksum: int) -> bytes:
    """A BundleEntryProto."""
    sides = b"".join(field(2, field(1, side)) for side in shape)
    numbers = field(1, kind) + field(2, sides) + field(4, offset) + field(5, size)
    return numbers + varint(6 << 3 | 5) + struct.pack("<I", checksum)


def table(entries: Mapping[bytes, bytes], *, compression: int = 0, repeats: int = 1) -> bytes:
    """A LevelDB table with blocks of 20 entries, each listed ``repeats`` times in the index."""
    out = b""

    def put(block: bytes) -> bytes:
        nonlocal out
        handle = varint(len(out)) + varint(len(block))
        block += bytes([compression])
        out += block + struct.pack("<I", masked_crc32c(block))
        return handle

    items = sorted(entries.items())
    parts = [items[start : start + 20] for start in range(0, len(items), 20)]
    handles = [(part[-1][0], put(_block(part))) for part in parts] * repeats
    footer = put(_block([])) + put(_block(handles))
    return out + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _block(items: list[tuple[bytes, bytes]]) -> bytes:
    out, before, restarts = b"", b"", [0]
    for number, (key, value) in enumerate(items):
        shared = 0
        if number % 16:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        elif number:
            restarts.append(len(out))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    """Seven bits per byte, lowest bits first."""
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
