"""JPEG files that any decoder reads alike, told by their headers alone.

What a file says in a way that decoders are known to read differently, or that they do not all support, makes it
another kind of file: several scans, more than 8 bits, four colors, an orientation, a color space other than YCbCr.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["JpegLayout", "plain_layout"]

_START, _END = b"\xff\xd8", b"\xff\xd9"
_SOF0, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xC0, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8}  # and arithmetic codes; C4 is a table of the others
_ORIENTATION = 0x0112
_MAX_FIELDS = 512  # of an EXIF directory; those of cameras have a few dozen


class JpegLayout(NamedTuple):
    """How the pixels of a JPEG file are stored."""

    width: int
    height: int
    sampling: tuple[int, ...]
    """Horizontal and vertical factor of each component: (1, 1) for gray, (2, 2, 1, 1, 1, 1) for 4:2:0."""


def plain_layout(data: bytes) -> JpegLayout | None:
    """Return the layout of a plain JPEG file; None for any other file, complete or not.

    Plain are baseline files of 8 bits, gray or YCbCr, with all components in one scan, upright, with one image in the
    file, and with an end marker after the scan. Whether the data of the scan are complete only decoding shows.

    >>> plain_layout(b"GIF89a") is None
    True
    """
    frame, jfif, adobe = b"", False, -1
    for marker, segment in _segments(data):
        if marker == _SOS:
            return _layout(frame, components=segment[0] if segment else 0, jfif=jfif, adobe=adobe)
        if marker == _SOF0 and not frame:
            frame = segment
        elif marker == _APP0:
            jfif = jfif or segment.startswith(b"JFIF\0")
        elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        elif _is_unusual(marker, segment):
            break
    return None


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The markers with what follows them, up to the first scan; nothing where no end marker follows that."""
    at, end = 2, len(data)
    if data[:2] != _START:
        return
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        length = (data[at + 2] << 8) + data[at + 3]
        if length < 2 or at + 2 + length > end or (marker == _SOS and data.rfind(_END, at + 2 + length) < 0):
            return
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _is_unusual(marker: int, segment: bytes) -> bool:
    """Whether a segment says that the file is not plain."""
    if marker == _APP1:
        return segment.startswith(b"Exif\0\0") and not _is_upright(segment[6:])
    return marker in _FRAMES or (marker == _APP2 and segment.startswith(b"MPF\0"))


def _layout(frame: bytes, *, components: int, jfif: bool, adobe: int) -> JpegLayout | None:
    """The layout that a frame header states: bits, height, width, and three bytes per component."""
    if len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3):
        return None
    count = frame[5]
    height, width = (frame[1] << 8) + frame[2], (frame[3] << 8) + frame[4]
    if len(frame) != 6 + 3 * count or components != count or not (width and height):
        return None
    # Decoders agree on YCbCr where the file states it, in either way, or numbers its components as JFIF does.
    stated = adobe == 1 if adobe >= 0 else jfif or frame[6::3] == b"\x01\x02\x03"
    if count == 3 and not stated:
        return None
    factors = tuple(part for each in frame[7::3] for part in (each >> 4, each & 15))
    return JpegLayout(width, height, factors if count == 3 else (1, 1))


def _is_upright(exif: bytes) -> bool:
    """Whether an EXIF block has no orientation or orientation 1; False where it is not plain to read."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return False
    little = order == "little"

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], "little" if little else "big")

    start = number(4, 4)
    count = number(start, 2)
    if start + 2 + 12 * count > len(exif) or count > _MAX_FIELDS:
        return False
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if number(at, 2) == _ORIENTATION:
            return number(at + 2, 2) == 3 and number(at + 4, 4) == 1 and number(at + 8, 2) == 1  # one 16-bit number
    return True
