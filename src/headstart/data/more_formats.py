"""Formats that Pillow does not read itself: HEIC, JPEG XL and DICOM, by packages that only some users have.

They are not registered with Pillow: what else a program opens with Pillow stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from headstart.data.deep import DeepPixels, DeepPixelsFile
from headstart.data.dicom import DicomHeader, read_header, read_pixels
from headstart.data.jpeg_xl import stored_size

__all__ = ["SUFFIXES", "MoreFormat", "format_of"]

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_SHARED_BRANDS = (b"mif1", b"msf1")  # of AVIF, too: what follows tells which
_JXL_CODESTREAM, _JXL_CONTAINER = b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"


class MoreFormat(NamedTuple):
    """A format, the package that reads it, and the extra that installs the package."""

    name: str  # as Pillow would call it
    text: str  # for a person
    suffixes: tuple[str, ...]
    package: str
    extra: str
    begins: Callable[[bytes], bool]  # whether these are the first 256 bytes of such a file
    open: Callable[[BinaryIO], ImageFile.ImageFile]

    @property
    def available(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.package) is not None


def format_of(start: bytes) -> MoreFormat | None:
    """Return the format of a file that begins with these (up to 256) bytes; None: another one.

    >>> found = format_of(bytes(128) + b"DICM")
    >>> found.name, found.extra
    ('DICOM', 'dicom')
    """
    return next((each for each in _FORMATS if each.begins(start)), None)


class _DecodedFile(DeepPixelsFile):
    """A file that another package decodes as a whole, when Pillow would load it."""

    _decoded = False

    def load(self) -> Any:
        """Decode once; pixels of more than 8 bits are in ``deep``, and those that Pillow has are black."""
        if not self._decoded:
            pixels = self._decode()
            if isinstance(pixels, DeepPixels):
                self.deep = pixels
                made = Image.new("L", (pixels.values.shape[1], pixels.values.shape[0]))
            else:
                made = Image.fromarray(pixels)
            self.im, self._mode, self._size, self._decoded = made.im, made.mode, made.size, True
        return super().load()

    def _decode(self) -> npt.NDArray[np.uint8] | DeepPixels:
        raise NotImplementedError


class _JpegXLFile(_DecodedFile):
    format = "JXL"
    format_description = "JPEG XL"

    def _open(self) -> None:
        assert self.fp is not None
        self._data = self.fp.read()
        self._mode, self._size = "RGB", stored_size(self._data)

    def _decode(self) -> npt.NDArray[np.uint8] | DeepPixels:
        import imagecodecs

        # One thread, since images are decoded in many; of an animation, the first frame.
        values = np.asarray(imagecodecs.jpegxl_decode(self._data, index=0, numthreads=1))
        values = values[0] if values.ndim == 4 else values
        values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
        if values.dtype == np.uint8:
            return values
        white = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max)
        name = "float" if values.dtype.kind == "f" else values.dtype.name
        return DeepPixels(values, name, (0.0, white))  # the format states values as shares of white


class _DicomFile(_DecodedFile):
    format = "DICOM"
    format_description = "DICOM"
    _header: DicomHeader

    def _open(self) -> None:
        assert self.fp is not None
        self._header = read_header(self.fp)
        self._mode, self._size = "L", self._header.size
        self.n_frames = self._header.frames

    def _decode(self) -> npt.NDArray[np.uint8] | DeepPixels:
        assert self.fp is not None
        self.fp.seek(0)
        return read_pixels(self.fp)


def _open_heif(file: BinaryIO) -> ImageFile.ImageFile:
    from pi_heif import HeifImageFile

    opened: ImageFile.ImageFile = HeifImageFile(file, "")
    return opened


def _begins_heif(start: bytes) -> bool:
    if start[4:8] != b"ftyp":
        return False
    length = int.from_bytes(start[:4], "big")
    compatible = [start[at : at + 4] for at in range(16, min(length, len(start)), 4)]
    major = start[8:12]
    return major in _HEIC_BRANDS or (major in _SHARED_BRANDS and any(each in _HEIC_BRANDS for each in compatible))


_FORMATS = (
    MoreFormat(
        "HEIF",
        "HEIC, a format of phone cameras",
        (".heic", ".heif", ".heics", ".heifs", ".hif"),
        "pi_heif",
        "formats",
        _begins_heif,
        _open_heif,
    ),
    MoreFormat(
        "JXL",
        "JPEG XL",
        (".jxl",),
        "imagecodecs",
        "formats",
        lambda start: start.startswith((_JXL_CODESTREAM, _JXL_CONTAINER)),
        lambda file: _JpegXLFile(file, ""),
    ),
    MoreFormat(
        "DICOM",
        "DICOM",
        (".dcm", ".dicom"),
        "pydicom",
        "dicom",
        lambda start: start[128:132] == b"DICM",
        lambda file: _DicomFile(file, ""),
    ),
)

SUFFIXES = {suffix: each.name for each in _FORMATS for suffix in each.suffixes}
"""The name of the format by suffix, as ``.heic``."""
