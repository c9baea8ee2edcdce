"""The chunks of PNG files that Pillow does not report or verify, and those that keep it from reading the pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["damaged_chunk", "significant_bits", "without_text"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
# Texts in which a program may have written the orientation of the image.
_ORIENTATION = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
_SMALL = 1 << 20


def significant_bits(data: bytes) -> int | None:
    """Return the bits per sample of the original, which the chunk sBIT states; None if there is none."""
    for kind, start, end in _chunks(data):
        if kind == b"sBIT" and end > start:
            return data[start]
        if kind == b"IDAT":
            break
    return None


def damaged_chunk(data: bytes) -> str | None:
    """Which critical chunk, and where, differs from its checksum; None if none does, or the file is none.

    Pillow verifies the chunks before the pixels, but not those of the pixels. With these checksums right, that of the
    decompressed pixels says nothing more about damage to a file, and would take as long as decoding it.
    """
    view = memoryview(data)
    for kind, start, end in _chunks(data):
        if end + 4 > len(data):  # cut off; whether pixels are missing is known when they are decoded
            return None
        is_critical = not kind[0] & 0x20  # the first letter is in upper case
        if is_critical and zlib.crc32(view[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"chunk {kind.decode('latin-1')!r} at offset {start - 8:,} differs from its checksum"
        if kind == b"IEND":
            return None
    return None


def without_text(data: bytes) -> bytes | None:
    """Return a PNG file without texts and color profile, on the size of which Pillow sets limits; the pixels are equal.

    None if the file is none, or has neither. Short texts that may state the orientation are kept.
    """
    kept, last = [], 0
    for kind, start, end in _chunks(data):
        if kind in _TEXT and not (data.startswith(_ORIENTATION, start) and end - start < _SMALL):
            kept.append(data[last : start - 8])
            last = end + 4
    return b"".join([*kept, data[last:]]) if kept else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The type of each chunk, and where its content begins and ends."""
    at = len(_SIGNATURE)
    while data.startswith(_SIGNATURE) and at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at + 8, at + 8 + size
        at += size + 12
