"""The size of a JPEG XL image from its header, which the decoder that is used here does not tell before it decodes.

Fields as in ISO/IEC 18181-1, SizeHeader and ImageMetadata, and boxes as in ISO/IEC 18181-2.
"""

from __future__ import annotations

__all__ = ["stored_size"]

_CONTAINER = b"\x00\x00\x00\x0cJXL "
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # width : height


class _Bits:
    """Bits of a codestream, the least significant of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data[:32], "little"), 8 * len(data[:32])

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("truncated: the file ends before the header of the image does")
        found = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return found


def stored_size(data: bytes) -> tuple[int, int]:
    """Return the upright (width, height) in pixels.

    :raises ValueError: the file has no such header.

    >>> stored_size(bytes.fromhex("ff0a094124080401001c004b"))
    (60, 40)
    """
    bits = _Bits(_codestream(data)[2:])
    small = bits.take(1)
    height = 8 * (bits.take(5) + 1) if small else _long(bits)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        width = height * across // down
    else:
        width = 8 * (bits.take(5) + 1) if small else _long(bits)
    if bits.take(1) or not bits.take(1):  # all fields have their default, or there are no extra fields
        return width, height
    return (height, width) if bits.take(3) >= 4 else (width, height)  # EXIF orientation 5 to 8, which is 1 plus this


def _long(bits: _Bits) -> int:
    return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])


def _codestream(data: bytes) -> bytes:
    """Where the codestream begins, in a container or bare."""
    if not data.startswith(_CONTAINER):
        return data
    at = 0
    while at + 8 <= len(data):
        length, kind, start = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if length == 1:
            length, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        if kind in (b"jxlc", b"jxlp"):
            return data[start + 4 * (kind == b"jxlp") :][:64]
        if length < 8:  # to the end of the file
            break
        at += length
    raise ValueError("truncated: the file ends before its image begins")
