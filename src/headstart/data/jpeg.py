"""Truncated JPEG files that Pillow decodes without an error.

- The end of the file is zeros, as after a broken download or a crash: zeros are valid data, and only the end marker is
  missing.
- The data end early, but an end marker follows: libjpeg fills missing blocks with mid-gray and only warns, which Pillow
  does not pass on. Tools write this when they close a file that they could not finish; so do errors in the data.
"""

from __future__ import annotations

import hashlib
import io
import re

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

__all__ = ["END", "first_scan", "is_truncated", "lacks_data", "with_end"]

END = b"\xff\xd9"
# A marker that ends a scan: not a stuffed zero, a restart, or a fill byte.
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
_TAIL = 3  # bytes at the end of a scan, at least one of which no decoder can do without
_BITS = b"\x01", b"\xfe", b"\xaa", b"\x55"  # ways in which data may go on; libjpeg itself goes on with zeros
# Data of which something can be decoded wherever a scan ends, even just before a restart marker.
_MORE = b"".join(bytes(range(1, 255)) + bytes((0xFF, restart)) for restart in range(0xD0, 0xD8)) + bytes(range(1, 255))


def is_truncated(data: bytes, image: Image.Image) -> bool:
    """Whether pixels are missing from a JPEG that Pillow decoded to ``image`` (at any scale) without an error."""
    scan = first_scan(data)
    if scan is None:
        return False
    return data.find(END, scan) < 0 or (_ends_gray(image) and _ran_out(data, scan))


def lacks_data(data: bytes) -> bool:
    """Whether pixels are missing from a JPEG whose header is valid, told without the pixels of any decoder.

    It takes about a third of the time of decoding; also true for files that cannot be decoded at all.
    """
    scan = first_scan(data)
    if scan is None or data.find(END, scan) < 0:
        return True
    try:
        return _ran_out(data, scan)
    except Exception:  # decoders raise anything on damaged files
        return True


def with_end(data: bytes) -> bytes | None:
    """Return a JPEG file that lacks only its end marker with that marker; None if any pixel may be missing.

    All pixels are there if the decoder needs no more data than there are, and needs the last ones. Zeros at the end are
    those of a download that broke off. Only files with one scan are judged: of several, the last ones may be missing.
    """
    scan = first_scan(data)
    if scan is None or not _has_one_scan(data, scan) or data.endswith(b"\0") or _MARKER.search(data, scan):
        return None
    data = data.rstrip(b"\xff")
    if _needs_more(data) or not _needs_more(data[:-_TAIL].rstrip(b"\xff")):
        return None
    return data + END


def _needs_more(data: bytes) -> bool:
    """Whether the pixels depend on what follows the data of a scan; also if there are no pixels."""
    pixels = _digest(data + END)
    return pixels is None or any(_digest(data + bits + _MORE + END) != pixels for bits in _BITS)


def _has_one_scan(data: bytes, scan: int) -> bool:
    """Whether a file is sequential, and its first scan has all components."""
    at, components = 2, 0
    while at + 10 <= scan:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (0xC0, 0xC1):  # sequential, with Huffman codes
            components = data[at + 9]
        elif marker == 0xDA:
            return components > 0 and data[at + 4] == components
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _digest(data: bytes) -> bytes | None:
    """A digest of all pixels, so that two images need not be in memory at once; None if they cannot be decoded."""
    try:
        image = JpegImageFile(io.BytesIO(data), "")
        image.load()
    except Exception:  # decoders raise anything on damaged files
        return None
    return hashlib.blake2b(image.tobytes()).digest()


def first_scan(data: bytes) -> int | None:
    """Where the data of the first scan begin. A thumbnail before it may contain another complete JPEG."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:  # start of scan
            return at
    return None


def _ends_gray(image: Image.Image) -> bool:
    """Whether the last pixel has the brightness of a missing block, as it has in 1 to 3 of 100 complete images as well.

    Only the brightness is compared, since color is interpolated from the neighboring block.
    """
    last = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    values = (last if image.mode == "CMYK" else last.convert("L")).tobytes()
    return all(126 <= value <= 130 for value in values)


def _ran_out(data: bytes, scan: int) -> bool:
    """Whether the scan needs more data than it has.

    More data are inserted at its end. A complete scan ends before them and is decoded to the same pixels; one that ran
    out of data changes. In a progressive file this is the scan with the brightness of all blocks.
    """
    marker = _MARKER.search(data, scan)
    end = marker.start() if marker else len(data)
    short = _eighth(data)
    last = short.tobytes()[-len(short.getbands()) :]
    # Stricter than _ends_gray, so that what is refused here is also checked at any other scale.
    gray = all(127 <= value <= 128 for value in last)
    return gray and short.tobytes() != _eighth(data[:end] + _MORE + data[end:]).tobytes()


def _eighth(data: bytes) -> Image.Image:
    image = JpegImageFile(io.BytesIO(data), "")
    image.draft("L", (1, 1))
    image.load()
    return image
