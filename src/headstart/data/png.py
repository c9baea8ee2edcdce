"""The chunks of PNG files that Pillow does not report, and those that keep it from reading the pixels."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["significant_bits", "without_text"]

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
