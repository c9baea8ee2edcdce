"""Pages of a TIFF file, each as a file of its own that any reader opens at this page."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["page_offsets", "starting_at"]

_SUBFILE = 254  # the tag NewSubfileType
_NO_PAGE = 1 | 4  # its bits: a smaller version of another page, as of a pyramid or a thumbnail; a mask


def page_offsets(file: BinaryIO) -> list[int]:
    """Return where the directory of each page begins, without smaller versions and masks of other pages.

    A damaged or unfinished list ends where it cannot be followed.

    :raises ValueError: the file does not begin as a TIFF.
    """
    file.seek(0)
    order, big = _layout(file.read(4))
    if big:
        file.seek(8)
    return list(_walk(file, order, big=big))


def starting_at(content: bytes, offset: int) -> bytes:
    """Return the file with the directory at ``offset`` as its first: all other bytes stay where they are."""
    order, big = _layout(content[:4])
    at, width = (8, "Q") if big else (4, "I")
    first = struct.pack(order + width, offset)
    return content[:at] + first + content[at + len(first) :]


def _layout(start: bytes) -> tuple[str, bool]:
    """The byte order for struct, and whether offsets have 8 bytes (BigTIFF)."""
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None or start[2:] not in (struct.pack(order + "H", 42), struct.pack(order + "H", 43)):
        raise ValueError("not a TIFF")
    return order, start[2:] == struct.pack(order + "H", 43)


def _walk(file: BinaryIO, order: str, *, big: bool) -> Iterator[int]:
    counting, width, entry_size = ("Q", "Q", 20) if big else ("H", "I", 12)
    seen: set[int] = set()
    try:
        offset = _take(file, order + width)
        while offset and offset not in seen:
            seen.add(offset)
            file.seek(offset)
            count = _take(file, order + counting)
            if not 0 < count < 1 << 16:
                return
            entries = file.read(count * entry_size)
            following = _take(file, order + width)
            if not _subfile(entries, entry_size, order) & _NO_PAGE:
                yield offset
            offset = following
    except (struct.error, OSError):
        return


def _subfile(entries: bytes, size: int, order: str) -> int:
    for at in range(0, len(entries), size):
        tag, kind = struct.unpack_from(order + "HH", entries, at)
        if tag == _SUBFILE:
            return int(
                struct.unpack_from(order + ("H" if kind == 3 else "I"), entries, at + size - (8 if size == 20 else 4))[
                    0
                ]
            )
    return 0


def _take(file: BinaryIO, form: str) -> int:
    return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])
