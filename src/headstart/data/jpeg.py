"""The ways in which a JPEG file loses pixels without an error from Pillow.

- The tail of the file is zeros, as after a broken download or a crash: zeros are valid data, and only the end marker is
  gone.
- The data end early, yet an end marker follows: libjpeg takes every missing block as mid-grey and merely warns, which
  Pillow does not pass on. Tools that close a file which they could not finish write this, and so do errors in the data.
"""

from __future__ import annotations

import io
import re

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

__all__ = ["is_cut"]

_END = b"\xff\xd9"
# A marker that ends a scan: not a stuffed zero, a restart, or a fill byte.
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
# Data of which something can be decoded wherever a scan breaks off, be it just before a restart marker.
_MORE = b"".join(bytes(range(1, 255)) + bytes((0xFF, restart)) for restart in range(0xD0, 0xD8)) + bytes(range(1, 255))


def is_cut(data: bytes, image: Image.Image) -> bool:
    """Whether pixels of a JPEG are missing, which Pillow decoded without error to ``image`` (at any scale)."""
    scan = _first_scan(data)
    if scan is None:
        return False
    return data.find(_END, scan) < 0 or (_ends_grey(image) and _ran_dry(data, scan))


def _first_scan(data: bytes) -> int | None:
    """Where the data of the first scan begin. Before it, in a thumbnail, there may be whole other JPEGs."""
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


def _ends_grey(image: Image.Image) -> bool:
    """Whether the last pixel has the brightness of a missing block; so it has in 1 to 3 of 100 whole pictures too.

    Brightness alone, since colour is interpolated from the neighbouring block.
    """
    last = image.crop((image.width - 1, image.height - 1, image.width, image.height))
    values = (last if image.mode == "CMYK" else last.convert("L")).tobytes()
    return all(126 <= value <= 130 for value in values)


def _ran_dry(data: bytes, scan: int) -> bool:
    """Whether the scan needs more data than it has.

    More data are put at its end. A whole scan is over before it gets there, and looks the same; one that ran dry
    changes. For a progressive file this is the scan that carries the brightness of all blocks.
    """
    marker = _MARKER.search(data, scan)
    end = marker.start() if marker else len(data)
    short = _eighth(data)
    last = short.tobytes()[-len(short.getbands()) :]
    # Stricter than _ends_grey, so that what is refused here is asked about at whatever scale it was decoded.
    grey = all(127 <= value <= 128 for value in last)
    return grey and short.tobytes() != _eighth(data[:end] + _MORE + data[end:]).tobytes()


def _eighth(data: bytes) -> Image.Image:
    image = JpegImageFile(io.BytesIO(data), "")
    image.draft("L", (1, 1))
    image.load()
    return image
