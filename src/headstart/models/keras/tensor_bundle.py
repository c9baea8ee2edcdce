"""Reads TensorFlow's tensor bundles: the ``variables.index`` and ``variables.data-*`` of a SavedModel.

The index is a table as LevelDB writes it (leveldb/doc/table_format.md): blocks of sorted keys, each key sharing a
prefix with the one before it, then an index of the blocks, then 48 bytes that say where that index lies. Its values are
protocol buffers (tensorflow/core/protobuf/tensor_bundle.proto): where in which data file a tensor lies, its type,
shape and checksum (tensorflow/core/util/tensor_bundle/tensor_bundle.cc). The names of the variables are in one
more entry, the graph of the objects that were saved (tensorflow/core/protobuf/trackable_object_graph.proto).

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ModelError
from headstart.models.keras.crc32c import masked
from headstart.models.keras.wire import cut, fields, number, submessages, varint

__all__ = ["OBJECT_GRAPH", "Entry", "object_names", "read_index", "read_tensor", "read_text"]

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""Key of the entry that holds the graph of objects."""

_MAGIC = 0xDB4775248B80FB57  # the last 8 bytes of every LevelDB table
_FOOTER = 48  # bytes
_STRING = 7
_MOST_DIMENSIONS = 8
_FLOATS: Mapping[int, str] = {1: "<f4", 2: "<f8", 19: "<f2"}  # tensorflow/core/framework/types.proto


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: BundleEntryProto."""

    dtype: int  # number in TensorFlow's types.proto
    shape: tuple[int, ...]
    shard: int  # number of the data file
    offset: int  # bytes
    size: int  # bytes
    crc32c: int  # masked
    sliced: bool  # kept in parts, under other keys


def read_index(data: bytes) -> tuple[int, dict[str, Entry]]:
    """The number of data files, and the entries by key.

    :param data: a whole ``variables.index``.
    :raises ModelError: not such a file, or damaged.
    """
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ModelError("not an index of TensorFlow variables, or truncated")
    _, position = _handle(data, len(data) - _FOOTER)  # that of a block which TensorFlow leaves empty
    (offset, size), _ = _handle(data, position)
    entries: dict[str, Entry] = {}
    shards = total = 0
    for _, handle in _block(data, offset, size):
        (offset, size), _ = _handle(handle, 0)
        total += size
        if total > len(data):
            raise ModelError("damaged: its blocks overlap")
        for key, value in _block(data, offset, size):
            if key:
                entries[key.decode(errors="replace")] = _entry(value)
            else:
                shards = _header(value)
    return shards, entries


def read_tensor(entry: Entry, shard: bytes) -> NDArray[np.float32]:
    """A tensor of floating point numbers, as float32, with its checksum verified.

    :param shard: the whole data file.
    """
    kind = _FLOATS.get(entry.dtype)
    if kind is None or entry.sliced:
        what = "is kept in slices" if entry.sliced else f"has TensorFlow's type {entry.dtype}"
        raise ModelError(f"{what}, which is not read; float16, float32 and float64 in one piece are")
    if len(entry.shape) > _MOST_DIMENSIONS or any(side >= 1 << 31 for side in entry.shape):
        raise ModelError("damaged: its shape is absurd")
    if entry.size != math.prod(entry.shape) * np.dtype(kind).itemsize:
        raise ModelError(f"takes {entry.size} bytes, which its shape {entry.shape} does not")
    data = cut(shard, entry.offset, entry.size)
    _verify(data, entry.crc32c)
    return np.frombuffer(data, kind).reshape(entry.shape).astype(np.float32)


def read_text(entry: Entry, shard: bytes) -> bytes:
    """A single string: its length as a varint, a checksum of the length, the bytes."""
    if entry.dtype != _STRING or entry.shape:
        raise ModelError("is not a single string")
    data = cut(shard, entry.offset, entry.size)
    length, start = varint(data, 0)
    checksum, text = data[start : start + 4], data[start + 4 :]
    if len(text) != length or length >= 1 << 32:
        raise ModelError("damaged: a string's length does not fit")
    _verify(struct.pack("<I", length) + checksum + text, entry.crc32c)
    return text


def object_names(graph: bytes) -> dict[str, str]:
    """Names of the variables by their key in the bundle, out of a TrackableObjectGraph.

    Messages: graph.nodes = 1; node.attributes = 2; attribute.full_name = 2, attribute.checkpoint_key = 3.
    """
    names: dict[str, str] = {}
    for node in submessages(graph, 1):
        for attribute in submessages(node, 2):
            values = {field: value for field, value in fields(attribute) if isinstance(value, bytes)}
            names[values.get(3, b"").decode(errors="replace")] = values.get(2, b"").decode(errors="replace")
    return names


# -- the table --------------------------------------------------------------------------------------------------------


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A BlockHandle, (offset, size), and where it ends."""
    offset, position = varint(data, position)
    size, position = varint(data, position)
    return (offset, size), position


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; after it stand a byte for its compression and its checksum."""
    block = cut(data, offset, size + 5)
    content, compression = block[:size], block[size]
    if compression:
        kind = "snappy" if compression == 1 else f"number {compression}"
        raise ModelError(f"its index is compressed ({kind}), which TensorFlow does not do by itself and is not read")
    _verify(block[: size + 1], int.from_bytes(block[size + 1 :], "little"))
    restarts = int.from_bytes(content[-4:], "little")
    end = size - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = varint(content, position)
        fresh, position = varint(content, position)
        length, position = varint(content, position)
        key = key[:shared] + cut(content, position, fresh)
        yield key, cut(content, position + fresh, length)
        position += fresh + length


def _verify(data: bytes, checksum: int) -> None:
    if masked(data) != checksum:
        raise ModelError("damaged: a checksum does not fit")


def _header(message: bytes) -> int:
    """The number of data files: BundleHeaderProto (num_shards = 1, endianness = 2)."""
    values = dict(fields(message))
    if values.get(2, 0) != 0:
        raise ModelError("its numbers are big-endian, which is not read")
    return number(values.get(1, 0))


def _entry(message: bytes) -> Entry:
    """BundleEntryProto: dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6, slices = 7."""
    values = dict(fields(message))
    shape = tuple(
        number(dict(fields(side)).get(1, 0)) for shape in submessages(message, 2) for side in submessages(shape, 2)
    )
    dtype, shard, offset, size, checksum = (number(values.get(field, 0)) for field in (1, 3, 4, 5, 6))
    return Entry(dtype, shape, shard, offset, size, checksum, sliced=7 in values)
