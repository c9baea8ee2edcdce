"""Thumbnails by the hash of an image's content, each made once and kept in the project's folder."""

from __future__ import annotations

import io
import os
import threading
from contextlib import suppress
from pathlib import Path

from PIL import Image

from headstart.data.decode import decoded
from headstart.data.projects import ProjectImage
from headstart.data.sources import reference
from headstart.data.value_range import ValueRange

__all__ = ["SIDE", "Thumbnails"]

SIDE = 256  # pixels of the long side
_QUALITY = 82


class Thumbnails:
    """Makes thumbnails in the threads that ask for them; two that ask for the same one wait for each other.

    :param folder: where they are kept; it may be removed at any time.
    :param value_ranges: black and white of pixels that are not 8-bit.
    """

    def __init__(self, folder: Path, *, max_pixels: int, value_ranges: tuple[ValueRange, ...] = ()) -> None:
        self._folder, self._max_pixels, self._value_ranges = folder, max_pixels, value_ranges
        self._suffix = "-".join(["", *(f"{each.low:.10g}-{each.high:.10g}" for each in value_ranges)])

    def jpeg(self, image: ProjectImage) -> bytes:
        """The thumbnail of an image as a JPEG.

        :raises ImageProblem: it cannot be read.
        """
        path = None if image.hash is None else self._folder / image.hash[:2] / f"{image.hash}{self._suffix}.jpg"
        if path is not None:
            with suppress(OSError):
                return path.read_bytes()
        data = self._make(image)
        if path is not None:
            with suppress(OSError):  # the disk may be full: it is made again the next time
                _write(path, data)
        return data

    def _make(self, image: ProjectImage) -> bytes:
        # A JPEG of twice the size, from which the result is almost the same, is decoded several times as fast.
        with decoded(
            reference(image.uri), max_pixels=self._max_pixels, min_side=2 * SIDE, value_ranges=self._value_ranges
        ) as whole:
            small = whole.copy()
        small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)  # noqa: PTH105 - as Path.replace, but its name says that it overwrites
    finally:
        temporary.unlink(missing_ok=True)
