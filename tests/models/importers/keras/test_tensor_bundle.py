from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import ModelError
from headstart.models.importers.keras.tensor_bundle import (
    OBJECT_GRAPH,
    Entry,
    read_index,
    read_string,
    read_tensor,
    variable_names,
)

KEY = "variables/0/.ATTRIBUTES/VARIABLE_VALUE"


def test_round_trip(writer: ModuleType) -> None:
    values = {f"layer_{number}/kernel": np.full((number, 2), number, np.float32) for number in range(90)}
    index, data = writer.bundle(values)
    shards, entries = read_index(index)
    names = variable_names(read_string(entries.pop(OBJECT_GRAPH), data))
    assert shards == 1
    read = {names[key]: read_tensor(entry, data) for key, entry in entries.items()}
    assert read.keys() == values.keys()
    assert all(np.array_equal(read[name], values[name]) for name in values)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_floats_become_float32(writer: ModuleType, kind: str) -> None:
    index, data = writer.bundle({"x": np.array([1.5, -2], kind)})
    read = read_tensor(read_index(index)[1][KEY], data)
    assert read.dtype == np.float32
    assert read.tolist() == [1.5, -2]


def rejected(action: object, *arguments: object) -> str:
    with pytest.raises(ModelError) as raised:
        action(*arguments)  # type: ignore[operator]
    return str(raised.value)


def test_integers_are_rejected(writer: ModuleType) -> None:
    index, data = writer.bundle({"x": np.array([1])})
    text = "has TensorFlow's type 9, which is not supported; must be float16, float32 or float64 in one piece"
    assert rejected(read_tensor, read_index(index)[1][KEY], data) == text


def test_slices_are_rejected(writer: ModuleType) -> None:
    whole = writer.entry(1, (1,), 0, 4, 0) + writer.field(7, b"")
    entry = read_index(writer.table({KEY.encode(): whole}))[1][KEY]
    assert rejected(read_tensor, entry, bytes(4)).startswith("is stored in slices, which is not supported")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (Entry(1, (2, 3), 0, 0, 20, 0, False), "has 20 bytes, which does not fit its shape (2, 3)"),
        (Entry(1, (2, 3), 0, 9, 24, 0, False), "truncated: 33 bytes are needed, there are 32"),
        (Entry(1, (2, 3), 0, 0, 24, 1, False), "damaged: a checksum does not match"),
        (Entry(1, (0, 1 << 63), 0, 0, 0, 0, False), "damaged: its shape is implausible"),
        (Entry(1, (1,) * 70, 0, 0, 4, 0, False), "damaged: its shape is implausible"),
    ],
)
def test_invalid_tensor_entries(entry: Entry, text: str) -> None:
    assert rejected(read_tensor, entry, bytes(32)) == text


def test_invalid_strings(writer: ModuleType) -> None:
    _, data = writer.bundle({})
    assert rejected(read_string, Entry(1, (), 0, 0, 4, 0, False), data) == "is not a single string"
    short = Entry(7, (), 0, 0, 5, 0, False)
    assert rejected(read_string, short, b"\x05\0\0\0\0") == "damaged: the length of a string does not match"
    assert rejected(read_string, short, b"\x00\0\0\0\0") == "damaged: a checksum does not match"


def test_invalid_index(writer: ModuleType) -> None:
    index, _ = writer.bundle({"x": np.zeros(2, np.float32)})
    for data in (b"", b"x" * 100, index[:-1]):
        assert rejected(read_index, data) == "not an index of TensorFlow variables, or truncated"


@pytest.mark.parametrize(("compression", "kind"), [(1, "snappy"), (2, "number 2")])
def test_compressed_blocks_are_rejected(writer: ModuleType, compression: int, kind: str) -> None:
    text = f"its index is compressed ({kind}), which is not supported and not TensorFlow's default"
    assert rejected(read_index, writer.table({b"a": b""}, compression=compression)) == text


def test_big_endian_is_rejected(writer: ModuleType) -> None:
    index, _ = writer.bundle({}, header=b"\x08\x01\x10\x01")
    assert rejected(read_index, index) == "its numbers are big-endian, which is not supported"


def test_every_damaged_byte_is_detected(writer: ModuleType) -> None:
    index, _ = writer.bundle({"layer/kernel": np.zeros(2, np.float32)})
    whole = read_index(index)
    for position in range(len(index) - 48):
        damaged = bytearray(index)
        damaged[position] ^= 0x10
        try:
            read = read_index(bytes(damaged))
        except ModelError:
            continue
        assert read == whole  # the metaindex block is not read


def test_overlapping_blocks_are_rejected(writer: ModuleType) -> None:
    index = writer.table({f"key/{number:04}".encode(): b"" for number in range(20)}, repeats=50)
    assert rejected(read_index, index) == "damaged: its blocks overlap"


@given(st.data())
def test_arbitrary_messages_raise_only_model_errors(writer: ModuleType, data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=200))
    graph = data.draw(st.booleans())
    try:
        if graph:
            variable_names(content)
        else:
            read_index(writer.table({b"": content, b"key": content}))
    except ModelError as failure:
        assert str(failure)  # noqa: PT017 - whether it is raised depends on the bytes


@given(st.binary(max_size=60), st.binary(max_size=40))
def test_arbitrary_footers_raise_only_model_errors(content: bytes, footer: bytes) -> None:
    magic = (0xDB4775248B80FB57).to_bytes(8, "little")
    try:
        assert read_index(content + footer.ljust(40, b"\0") + magic)
    except ModelError as failure:
        assert str(failure)  # noqa: PT017
