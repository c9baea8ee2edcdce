"""The wire format of protocol buffers (protobuf.dev/programming-guides/encoding): fields by number, and nothing more.

Whatever the bytes are, reading them ends, and either gives something or raises ModelError.
"""

from __future__ import annotations

from collections.abc import Iterator

from headstart.errors import ModelError

__all__ = ["cut", "fields", "number", "submessages", "varint"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def submessages(message: bytes, wanted: int) -> Iterator[bytes]:
    """The messages, strings or bytes that a message holds as its field ``wanted``."""
    return (value for each, value in fields(message) if each == wanted and isinstance(value, bytes))


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields; numbers of fixed size as if they had no sign.

    >>> list(fields(bytes([0x08, 0x96, 0x01, 0x12, 0x02, 0x68, 0x69])))
    [(1, 150), (2, b'hi')]
    """
    position = 0
    while position < len(message):
        tag, position = varint(message, position)
        field, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, position = varint(message, position)
            yield field, value
            continue
        if kind == _BYTES:
            size, position = varint(message, position)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ModelError("damaged: not a protocol buffer")
        raw = cut(message, position, size)
        yield field, raw if kind == _BYTES else int.from_bytes(raw, "little")
        position += size


def varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
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


def number(value: int | bytes) -> int:
    """A field that must be a number."""
    if not isinstance(value, int):
        raise ModelError("damaged: a number is expected in a message")
    return value


def cut(data: bytes, offset: int, size: int) -> bytes:
    """``size`` bytes from ``offset`` on, which must be there."""
    if offset + size > len(data):
        raise ModelError(f"truncated: {offset + size} bytes are needed, there are {len(data)}")
    return data[offset : offset + size]
