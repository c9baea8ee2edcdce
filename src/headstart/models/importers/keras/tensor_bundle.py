"""Reading TensorFlow tensor bundles: ``variables.index`` and ``variables.data-*`` of a SavedModel.

The index is a LevelDB table (leveldb/doc/table_format.md): blocks of sorted keys, in which each key shares a prefix
with the previous one, then an index of the blocks, then 48 bytes that locate that index. Its values are protocol
buffers (tensorflow/core/protobuf/tensor_bundle.proto): data file, position, type, shape and checksum of a tensor
(tensorflow/core/util/tensor_bundle/tensor_bundle.cc). The variable names are in one more entry, the graph of the saved
objects (tensorflow/core/protobuf/trackable_object_graph.proto).

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ModelError
from headstart.models.importers.keras.crc32c import masked_crc32c
from headstart.models.importers.keras.protobuf import (
    read_bytes,
    read_fields,
    read_submessages,
    read_varint,
    to_integer,
)

__all__ = ["OBJECT_GRAPH", "Entry", "read_index", "read_string", "read_tensor", "variable_names"]

OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""Key of the entry with the object graph."""

_MAGIC = 0xDB4775248B80FB57  # the last 8 bytes of every LevelDB table
_FOOTER = 48  # bytes
_STRING = 7
_MAX_DIMENSIONS = 8
_FLOATS: Mapping[int, str] = {1: "<f4", 2: "<f8", 19: "<f2"}  # tensorflow/core/framework/types.proto


@dataclass(frozen=True)
class Entry:
    """The location of a tensor (BundleEntryProto)."""

    dtype: int  # number in TensorFlow's types.proto
    shape: tuple[int, ...]
    shard: int  # number of the data file
    offset: int  # bytes
    size: int  # bytes
    crc32c: int  # masked
    sliced: bool  # stored in parts, under other keys


def read_index(data: bytes) -> tuple[int, dict[str, Entry]]:
    """Return the number of data files, and the entries by key.

    :param data: a whole ``variables.index``.
    :raises ModelError: not such a file, or damaged.
    """
    if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ModelError("not an index of TensorFlow variables, or truncated")
    _, position = _read_handle(data, len(data) - _FOOTER)  # the metaindex block, which TensorFlow leaves empty
    (offset, size), _ = _read_handle(data, position)
    entries: dict[str, Entry] = {}
    shards = total = 0
    for _, handle in _read_block(data, offset, size):
        (offset, size), _ = _read_handle(handle, 0)
        total += size
        if total > len(data):
            raise ModelError("damaged: its blocks overlap")
        for key, value in _read_block(data, offset, size):
            if key:
                entries[key.decode(errors="replace")] = _parse_entry(value)
            else:
                shards = _parse_header(value)
    return shards, entries


def read_tensor(entry: Entry, shard: bytes) -> NDArray[np.float32]:
    """Read a floating-point tensor as float32, and verify its checksum.

    :param shard: the whole data file.
    """
    kind = _FLOATS.get(entry.dtype)
    if kind is None or entry.sliced:
        what = "is stored in slices" if entry.sliced else f"has TensorFlow's type {entry.dtype}"
        raise ModelError(f"{what}, which is not supported; must be float16, float32 or float64 in one piece")
    if len(entry.shape) > _MAX_DIMENSIONS or any(side >= 1 << 31 for side in entry.shape):
        raise ModelError("damaged: its shape is implausible")
    if entry.size != math.prod(entry.shape) * np.dtype(kind).itemsize:
        raise ModelError(f"has {entry.size} bytes, which does not fit its shape {entry.shape}")
    data = read_bytes(shard, entry.offset, entry.size)
    _verify_checksum(data, entry.crc32c)
    return np.frombuffer(data, kind).reshape(entry.shape).astype(np.float32)


def read_string(entry: Entry, shard: bytes) -> bytes:
    """Read a single string: its length as a varint, a checksum of the length, the bytes."""
    if entry.dtype != _STRING or entry.shape:
        raise ModelError("is not a single string")
    data = read_bytes(shard, entry.offset, entry.size)
    length, start = read_varint(data, 0)
    checksum, text = data[start : start + 4], data[start + 4 :]
    if len(text) != length or length >= 1 << 32:
        raise ModelError("damaged: the length of a string does not match")
    _verify_checksum(struct.pack("<I", length) + checksum + text, entry.crc32c)
    return text


def variable_names(graph: bytes) -> dict[str, str]:
    """Return the variable names by their key in the bundle, from a TrackableObjectGraph.

    Messages: graph.nodes = 1; node.attributes = 2; attribute.full_name = 2, attribute.checkpoint_key = 3.
    """
    names: dict[str, str] = {}
    for node in read_submessages(graph, 1):
        for attribute in read_submessages(node, 2):
            values = {field: value for field, value in read_fields(attribute) if isinstance(value, bytes)}
            names[values.get(3, b"").decode(errors="replace")] = values.get(2, b"").decode(errors="replace")
    return names


# -- the table --------------------------------------------------------------------------------------------------------


def _read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Read a BlockHandle, (offset, size); return it and the position after it."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _read_block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block, which is followed by a byte for its compression and a checksum."""
    block = read_bytes(data, offset, size + 5)
    content, compression = block[:size], block[size]
    if compression:
        kind = "snappy" if compression == 1 else f"number {compression}"
        raise ModelError(f"its index is compressed ({kind}), which is not supported and not TensorFlow's default")
    _verify_checksum(block[: size + 1], int.from_bytes(block[size + 1 :], "little"))
    restarts = int.from_bytes(content[-4:], "little")
    end = size - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = read_varint(content, position)
        unshared, position = read_varint(content, position)
        length, position = read_varint(content, position)
        key = key[:shared] + read_bytes(content, position, unshared)
        yield key, read_bytes(content, position + unshared, length)
        position += unshared + length


def _verify_checksum(data: bytes, checksum: int) -> None:
    if masked_crc32c(data) != checksum:
        raise ModelError("damaged: a checksum does not match")


def _parse_header(message: bytes) -> int:
    """The number of data files: BundleHeaderProto (num_shards = 1, endianness = 2)."""
    values = dict(read_fields(message))
    if values.get(2, 0) != 0:
        raise ModelError("its numbers are big-endian, which is not supported")
    return to_integer(values.get(1, 0))


def _parse_entry(message: bytes) -> Entry:
    """BundleEntryProto: dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6, slices = 7."""
    values = dict(read_fields(message))
    shape = tuple(
        to_integer(dict(read_fields(side)).get(1, 0))
        for dimensions in read_submessages(message, 2)
        for side in read_submessages(dimensions, 2)
    )
    dtype, shard, offset, size, checksum = (to_integer(values.get(field, 0)) for field in (1, 3, 4, 5, 6))
    return Entry(dtype, shape, shard, offset, size, checksum, sliced=7 in values)
