"""Pixels of any kind -> upright 8-bit RGB: color modes, transparency, arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from headstart.data.deep import DeepPixels, dtype_of
from headstart.data.value_range import ANY, ValueRange
from headstart.errors import ImageProblem

__all__ = ["apply_orientation", "array_to_image", "deep_array", "exif_orientation", "to_rgb"]

_BAND = 4_000_000  # pixels of a large image that are converted at once, so that no step in between is as large

# What makes an image of each EXIF orientation upright. 1 is upright already; other values are invalid.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def exif_orientation(image: Image.Image, *, header_only: bool = False) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none, or none that can be read.

    :param header_only: decode nothing. Pillow decodes a PNG file to find EXIF behind the pixels, however many they are.
    """
    try:
        exif = Image.Image.getexif(image) if header_only else image.getexif()
        value = exif.get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF block is no reason to lose the image
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def apply_orientation(image: Image.Image, turn: int) -> Image.Image:
    """Make an image of an EXIF orientation upright, as ``ImageOps.exif_transpose``, which fails on broken EXIF."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of 8 bits in any mode to RGB, with white behind transparent parts."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.width * image.height <= _BAND:
        return _converted(image)
    made = Image.new("RGB", image.size)
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        made.paste(_converted(image.crop((0, top, image.width, min(top + rows, image.height)))), (0, top))
    return made


def _converted(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None  # it is None only if the image is changed in place
        return converted
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image.convert("RGB")


def array_to_image(array: npt.NDArray[Any], uri: str, ranges: Sequence[ValueRange] = ()) -> Image.Image:
    """Convert an array (H, W) or (H, W, 1, 3 or 4) of uint8, uint16, bool, or float to an image.

    :param ranges: black and white of uint16 and float. Without one, these are 0 and 65535, or 0 and 1.
    :raises ImageProblem: another shape or type, or floats outside [0, 1] without a range.
    """
    deep = deep_array(array, uri, ranges)
    pixels = _8_bits(array) if deep is None else deep.to_8_bit(ranges)
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def deep_array(array: npt.NDArray[Any], uri: str, ranges: Sequence[ValueRange] = ()) -> DeepPixels | None:
    """Return the values of an array that is an image; None if they are of 8 bits.

    :raises ImageProblem: as :func:`array_to_image`.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        wanted = "(height, width) or (height, width, channels) with 1, 3 or 4 channels"
        raise ImageProblem(uri, f"the shape of an array must be {wanted}, got {array.shape}")
    if array.dtype in (np.uint8, np.bool_):
        return None
    if array.dtype != np.uint16 and array.dtype.kind != "f":
        raise ImageProblem(uri, f"an array must be of uint8, uint16, bool, or float in [0, 1], got {array.dtype}")
    known = array.dtype.kind != "f" or any(each.dtype in (ANY, "float") for each in ranges)
    if not (known or (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1)):
        got = f"got {array.min():g} to {array.max():g}"
        raise ImageProblem(uri, f"an array of floats must lie in [0, 1], {got}: divide by the value of white")
    return DeepPixels(array, dtype_of(array))


def _8_bits(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return array.astype(np.uint8) * (255 if array.dtype == np.bool_ else 1)
