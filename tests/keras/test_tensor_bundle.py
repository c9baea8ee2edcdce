from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.errors import ModelError
from headstart.models.keras.tensor_bundle import OBJECT_GRAPH, Entry, object_names, read_index, read_tensor, read_text

KEY = "variables/0/.ATTRIBUTES/VARIABLE_VALUE"


def test_what_was_written_is_read(made: ModuleType) -> None:
    values = {f"layer_{number}/kernel": np.full((number, 2), number, np.float32) for number in range(90)}
    index, data = made.bundle(values)
    shards, entries = read_index(index)
    names = object_names(read_text(entries.pop(OBJECT_GRAPH), data))
    assert shards == 1
    read = {names[key]: read_tensor(entry, data) for key, entry in entries.items()}
    assert read.keys() == values.keys()
    assert all(np.array_equal(read[name], values[name]) for name in values)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_floats_become_float32(made: ModuleType, kind: str) -> None:
    index, data = made.bundle({"x": np.array([1.5, -2], kind)})
    read = read_tensor(read_index(index)[1][KEY], data)
    assert read.dtype == np.float32
    assert read.tolist() == [1.5, -2]


def refused(action: object, *arguments: object) -> str:
    with pytest.raises(ModelError) as raised:
        action(*arguments)  # type: ignore[operator]
    return str(raised.value)


def test_integers_are_not_read(made: ModuleType) -> None:
    index, data = made.bundle({"x": np.array([1])})
    text = "has TensorFlow's type 9, which is not read; float16, float32 and float64 in one piece are"
    assert refused(read_tensor, read_index(index)[1][KEY], data) == text


def test_slices_are_not_read(made: ModuleType) -> None:
    whole = made.entry(1, (1,), 0, 4, 0) + made.field(7, b"")
    entry = read_index(made.table({KEY.encode(): whole}))[1][KEY]
    assert refused(read_tensor, entry, bytes(4)).startswith("is kept in slices, which is not read")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (Entry(1, (2, 3), 0, 0, 20, 0, False), "takes 20 bytes, which its shape (2, 3) does not"),
        (Entry(1, (2, 3), 0, 9, 24, 0, False), "truncated: 33 bytes are needed, there are 32"),
        (Entry(1, (2, 3), 0, 0, 24, 1, False), "damaged: a checksum does not fit"),
        (Entry(1, (0, 1 << 63), 0, 0, 0, 0, False), "damaged: its shape is absurd"),
        (Entry(1, (1,) * 70, 0, 0, 4, 0, False), "damaged: its shape is absurd"),
    ],
)
def test_a_tensor_that_is_not_there(entry: Entry, text: str) -> None:
    assert refused(read_tensor, entry, bytes(32)) == text


def test_text_that_is_none(made: ModuleType) -> None:
    _, data = made.bundle({})
    assert refused(read_text, Entry(1, (), 0, 0, 4, 0, False), data) == "is not a single string"
    short = Entry(7, (), 0, 0, 5, 0, False)
    assert refused(read_text, short, b"\x05\0\0\0\0") == "damaged: a string's length does not fit"
    assert refused(read_text, short, b"\x00\0\0\0\0") == "damaged: a checksum does not fit"


def test_an_index_of_something_else(made: ModuleType) -> None:
    index, _ = made.bundle({"x": np.zeros(2, np.float32)})
    for data in (b"", b"x" * 100, index[:-1]):
        assert refused(read_index, data) == "not an index of TensorFlow variables, or truncated"


@pytest.mark.parametrize(("compression", "kind"), [(1, "snappy"), (2, "number 2")])
def test_compressed_blocks_are_refused(made: ModuleType, compression: int, kind: str) -> None:
    text = f"its index is compressed ({kind}), which TensorFlow does not do by itself and is not read"
    assert refused(read_index, made.table({b"a": b""}, compression=compression)) == text


def test_big_endian_is_refused(made: ModuleType) -> None:
    index, _ = made.bundle({}, header=b"\x08\x01\x10\x01")
    assert refused(read_index, index) == "its numbers are big-endian, which is not read"


def test_every_damaged_byte_of_a_block_is_noticed(made: ModuleType) -> None:
    index, _ = made.bundle({"layer/kernel": np.zeros(2, np.float32)})
    whole = read_index(index)
    for position in range(len(index) - 48):
        damaged = bytearray(index)
        damaged[position] ^= 0x10
        try:
            read = read_index(bytes(damaged))
        except ModelError:
            continue
        assert read == whole  # the one block that is not looked at


def test_blocks_that_overlap_are_a_bomb(made: ModuleType) -> None:
    index = made.table({f"key/{number:04}".encode(): b"" for number in range(20)}, repeats=50)
    assert refused(read_index, index) == "damaged: its blocks overlap"


@given(st.data())
def test_no_bytes_lead_to_another_error(made: ModuleType, data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=200))
    graph = data.draw(st.booleans())
    try:
        if graph:
            object_names(content)
        else:
            read_index(made.table({b"": content, b"key": content}))
    except ModelError as failure:
        assert str(failure)  # noqa: PT017 - whether it is raised depends on the bytes


@given(st.binary(max_size=60), st.binary(max_size=40))
def test_no_footer_leads_to_another_error(content: bytes, footer: bytes) -> None:
    magic = (0xDB4775248B80FB57).to_bytes(8, "little")
    try:
        assert read_index(content + footer.ljust(40, b"\0") + magic)
    except ModelError as failure:
        assert str(failure)  # noqa: PT017
