"""A minimal reader of the protocol buffer wire format (protobuf.dev/programming-guides/encoding): fields by number.

For any input bytes, reading terminates and either succeeds or raises ModelError.
"""

from __future__ import annotations

from collections.abc import Iterator

from headstart.errors import ModelError

__all__ = ["read_bytes", "read_fields", "read_submessages", "read_varint", "to_integer"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_submessages(message: bytes, number: int) -> Iterator[bytes]:
    """Yield the messages, strings or bytes in the field ``number`` of a message."""
    return (value for field, value in read_fields(message) if field == number and isinstance(value, bytes))


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield numbers and values of the fields of a message; fixed-size numbers are read as unsigned.

    >>> list(read_fields(bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69])))
    [(1, 150), (2, b'hi')]
    """
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = read_varint(message, position)
            yield field, value
            continue
        if kind == _BYTES:
            size, position = read_varint(message, position)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ModelError("damaged: not a protocol buffer")
        raw = read_bytes(message, position, size)
        yield field, raw if kind == _BYTES else int.from_bytes(raw, "little")
        position += size


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Read a number of seven bits per byte, lowest bits first; return it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ModelError("truncated within a number")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
    raise ModelError("damaged: a number of more than ten bytes")


def to_integer(value: int | bytes) -> int:
    """Return a field that must be a number."""
    if not isinstance(value, int):
        raise ModelError("damaged: expected a number in a message")
    return value


def read_bytes(data: bytes, offset: int, size: int) -> bytes:
    """Return ``size`` bytes from ``offset`` on; raise ModelError if there are fewer."""
    if offset + size > len(data):
        raise ModelError(f"truncated: {offset + size} bytes are needed, there are {len(data)}")
    return data[offset : offset + size]
