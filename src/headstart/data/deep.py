"""Pixels of more than 8 bits: what their values mean, and their reduction to 8 bits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin

from headstart.data import png
from headstart.data.value_range import ANY, PixelValues, ValueRange, range_of

__all__ = [
    "DeepPixels",
    "DeepPixelsFile",
    "dtype_of",
    "is_deep_color",
    "load_low_bytes",
    "read_deep",
    "tiff_layout",
    "to_8_bit",
    "wrong_layout",
]

_SAMPLE = 1 << 16  # values of an image of which the quantiles are computed
_QUANTILES = 0.001, 0.999
_BAND = 1 << 20  # values that are converted at once: floats in between take eight times the memory of the result
_LOWEST_FLOAT = float(np.finfo(np.float32).min)
# What programs write where a sensor saw nothing, even without a tag that says so; far from any real value.
_NOTHING = {"float": (-9999.0, -99999.0, -32768.0, _LOWEST_FLOAT), "int16": (-9999, -32768), "int32": (-9999, -32768)}
_NODATA_TAG = 42113  # of GDAL: the value of missing pixels, as text
_TIFF_KINDS = {1: "uint", 2: "int", 3: "float"}
_WHITE_IS_ZERO = 0
_SEPARATE_PLANES = 2


@dataclass(frozen=True)
class DeepPixels:
    """Values (H, W) or (H, W, C) as a file has them, and what it says about them."""

    values: npt.NDArray[Any]
    dtype: str  # as in ValueRange
    stated: tuple[float, float] | None = None  # black and white
    nodata: float | None = None
    inverted: bool = False  # whether the lowest value is white
    shown: npt.NDArray[np.uint8] | None = None  # what the file's own window shows of them, upright in brightness

    def summary(self) -> PixelValues | None:
        """Return the range that the file states, or quantiles of its valid values; None if it has its own window."""
        if self.shown is not None:
            return None
        if self.stated is not None:
            return PixelValues(self.dtype, *self.stated, stated=True)
        colors = self.values[..., :3] if self.values.ndim == 3 else self.values  # without the opacity
        flat = colors.reshape(-1)
        some = flat[:: flat.size // _SAMPLE | 1]  # an odd step, so that not the same columns are taken in each row
        valid = some[~self.missing(some)]
        if not valid.size:
            return PixelValues(self.dtype, None, None)
        low = np.quantile(valid, _QUANTILES[0], method="higher")
        return PixelValues(self.dtype, float(low), float(np.quantile(valid, _QUANTILES[1], method="lower")))

    def missing(self, values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return where values are no measurements: not finite, or those that stand for nothing."""
        gone = np.zeros(values.shape, bool)
        if values.dtype.kind == "f":
            gone = ~np.isfinite(values)
        nothing = [*_NOTHING.get(self.dtype, ()), *([] if self.nodata is None else [self.nodata])]
        for each in nothing:
            gone |= values == np.float64(each)  # a plain number would become one of the array's type, and overflow
        return gone

    def to_8_bit(self, ranges: Sequence[ValueRange]) -> npt.NDArray[np.uint8]:
        """Scale the values by the range of their type to 0 to 255, with black where nothing was measured.

        The file's own window, if it has one, is used unless a person gave a range for all types.
        """
        if self.shown is not None and not any(each.dtype == ANY for each in ranges):
            return self.shown
        scale = range_of(self.dtype, ranges)
        made = np.empty(self.values.shape, np.uint8)
        for rows in _bands(self.values.shape):
            values = self.values[rows]
            band = to_8_bit(values, scale)
            if self.inverted:
                band = 255 - band
            band[self.missing(values)] = 0
            made[rows] = band
        return made


class DeepPixelsFile(ImageFile.ImageFile):
    """A file whose reader, which is not Pillow's, gives values of more than 8 bits."""

    deep: DeepPixels | None = None  # of a loaded image; None: it has 8 bits


def to_8_bit(values: npt.NDArray[Any], scale: ValueRange) -> npt.NDArray[np.uint8]:
    """Scale numbers so that the ends of a range become 0 and 255; those outside are clipped, and NaN is black.

    >>> to_8_bit(np.array([0, 2048, 4095, 9999], dtype=np.uint16), ValueRange("uint16", 0, 4095))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    floats = np.nan_to_num(values.astype(np.float64), nan=scale.low, posinf=scale.low, neginf=scale.low)
    scaled = (floats - scale.low) * (255 / max(scale.high - scale.low, 1e-300))
    return np.floor(scaled.clip(0, 255) + 0.5).astype(np.uint8)


def dtype_of(values: npt.NDArray[Any]) -> str:
    """Return the name of the type of an array, as in :class:`ValueRange`."""
    return "float" if values.dtype.kind == "f" else values.dtype.name


def is_deep_color(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded has 16 bits per color, of which Pillow keeps the upper 8 alone."""
    if image.format not in ("PNG", "TIFF") or "transparency" in image.info:
        return False
    return any(_other_order(tile) for tile in image.tile)


def load_low_bytes(image: ImageFile.ImageFile, reopen: Callable[[], ImageFile.ImageFile]) -> Image.Image | None:
    """Load the lower 8 bits of a color image of 16 bits per channel, of which Pillow keeps the upper 8 alone.

    Pillow takes the upper byte of each value, so that it takes the lower one if told that their order is the other.

    :param image: opened, not loaded.
    :param reopen: opens it again.
    :returns: None for all other images.
    """
    if not is_deep_color(image):
        return None
    low = reopen()
    low.tile = [_other_order(tile) or tile for tile in low.tile]
    low.load()
    return low


def _other_order(tile: Any) -> Any | None:
    """The same part of the file with the bytes of each value in the other order; None if they are not color values."""
    rawmode = tile.args[0] if isinstance(tile.args, tuple) else tile.args
    mode, _, order = rawmode.partition(";16") if isinstance(rawmode, str) else ("", "", "")
    if mode not in ("RGB", "RGBX", "RGBA") or order not in ("L", "B", "N"):
        return None
    little = sys.byteorder == "little" if order == "N" else order == "L"
    other = f"{mode};16{'B' if little else 'L'}"
    return tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)


def read_deep(image: Image.Image, data: bytes, low: Image.Image | None = None) -> DeepPixels | None:
    """Return the values of a loaded image; None if they are of 8 bits.

    :param data: the file, in which chunks are looked up that Pillow does not report.
    :param low: its lower bytes, of :func:`load_low_bytes`.
    """
    if low is not None:
        values = np.asarray(image).astype(np.uint16)
        values <<= 8
        values |= np.asarray(low)
        bits = png.significant_bits(data) if image.format == "PNG" else None
        return DeepPixels(values, "uint16", _stated_by_png(values, bits))
    if isinstance(image, DeepPixelsFile | TiffImagePlugin.TiffImageFile):
        return image.deep if isinstance(image, DeepPixelsFile) else _read_tiff(image)
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    values = np.asarray(image)
    if image.format in ("PPM", "JPEG2000"):  # Pillow scales these to 16 bits
        return DeepPixels(values, "uint16", (0.0, 65535.0))
    if image.format == "PNG":
        return DeepPixels(values, "uint16", _stated_by_png(values, png.significant_bits(data)))
    return DeepPixels(values, "uint16" if image.mode.startswith("I;16") else dtype_of(values))


def _stated_by_png(values: npt.NDArray[Any], bits: int | None) -> tuple[float, float] | None:
    """Black and white by the chunk sBIT: the standard asks for values scaled to 16 bits, which not all programs do."""
    if bits is None or not 8 < bits <= 16:
        return None
    white = (1 << bits) - 1
    return 0.0, float(white if int(values.max()) <= white else 65535)


def _read_tiff(image: TiffImagePlugin.TiffImageFile) -> DeepPixels | None:
    tags = image.tag_v2
    bits, kind = _first(tags.get(258, 1)), _kind(tags)
    if image.mode == "L" and bits == 8 and kind == "int":
        return DeepPixels(np.asarray(image).view(np.int8), "int8", (-128.0, 127.0))  # Pillow takes them as unsigned
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    values, dtype = np.asarray(image), "float" if kind == "float" else f"{kind}{bits}"
    if dtype == "uint32":
        values = values.view(np.uint32)  # as which Pillow has no mode
    stated = (0.0, 4095.0) if dtype == "uint12" else None
    with suppress(KeyError, TypeError, ValueError):
        low, high = float(_first(tags[340])), float(_first(tags[341]))  # SMinSampleValue, SMaxSampleValue
        stated = (low, high) if low < high else stated
    nodata = None
    with suppress(KeyError, TypeError, ValueError):
        nodata = float(str(tags[_NODATA_TAG]).strip("\0 "))
    return DeepPixels(values, dtype, stated, nodata, inverted=tags.get(262) == _WHITE_IS_ZERO)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _bands(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = max(1, _BAND // max(1, int(np.prod(shape[1:]))))
    return (slice(start, start + rows) for start in range(0, shape[0], rows))


def wrong_layout(image: ImageFile.ImageFile) -> str | None:
    """Say what is wrong with an opened image whose pixels Pillow would read wrongly, without an error; else None."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.tag_v2.get(284) != _SEPARATE_PLANES:
        return None
    if image.use_load_libtiff or _first(image.tag_v2.get(258, 1)) <= 8 or len(image.tile) <= 1:
        return None
    return "a TIFF of 16 bits whose channels are stored apart, which Pillow does not read: save them interleaved"


def tiff_layout(file: BinaryIO) -> str | None:
    """Say why Pillow does not read the pixels of a TIFF file with a sound header; None if the header is not sound."""
    with suppress(Exception):  # Pillow's reader raises anything on damaged headers
        file.seek(0)
        header = file.read(8)
        directory = TiffImagePlugin.ImageFileDirectory_v2(header + (file.read(8) if header[2] == 43 else b""))
        file.seek(directory.next)
        directory.load(file)
        bits, channels = directory[258], int(directory.get(277, 1))
        kind = {"uint": "-bit integers", "int": "-bit signed integers", "float": "-bit floats"}[_kind(directory)]
        values = "/".join(sorted({str(each) for each in (bits if isinstance(bits, tuple) else (bits,))}))
        of = f"{channels} channel{'s' * (channels > 1)} of {values}{kind}"
        return f"a TIFF of {of}, which Pillow does not read: save it with 1 or 3 channels of 8 or 16 bits"
    return None


def _kind(tags: Mapping[int, Any]) -> str:
    return _TIFF_KINDS.get(_first(tags.get(339, 1)), "uint")
