"""Pixels of any kind -> upright 8-bit RGB: color modes, transparency, 16 bits, arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from headstart.errors import ImageProblem

__all__ = ["apply_orientation", "array_to_image", "exif_orientation", "to_8_bit", "to_rgb"]

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


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none, or none that can be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF block is no reason to lose the image
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def apply_orientation(image: Image.Image, turn: int) -> Image.Image:
    """Make an image of an EXIF orientation upright, as ``ImageOps.exif_transpose``, which fails on broken EXIF."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB, with white behind transparent parts."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(to_8_bit(np.asarray(image))).convert("RGB")
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
    return image if image.mode == "RGB" else image.convert("RGB")


def to_8_bit(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Scale numbers of any type and range to 0 to 255.

    Files do not state which value is white, so the smallest common range that contains all values is assumed: [0, 1]
    for floats, 8 bits, 12 bits (cameras, scanners), 16 bits; otherwise the range of the values themselves.

    >>> to_8_bit(np.array([0, 2048, 4095], dtype=np.uint16))
    array([  0, 128, 255], dtype=uint8)
    >>> to_8_bit(np.array([-10.0, 0.0, 10.0]))
    array([  0, 128, 255], dtype=uint8)
    """
    floats = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(floats.min()), float(floats.max())
    white = [1.0] if values.dtype.kind == "f" else []
    fitting = [limit for limit in (*white, 255.0, 4095.0, 65535.0) if low >= 0 and high <= limit]
    low, high = (0.0, fitting[0]) if fitting else (low, high)
    scaled = (floats - low) * (255 / max(high - low, 1e-300))
    return np.floor(scaled.clip(0, 255) + 0.5).astype(np.uint8)


def array_to_image(array: npt.NDArray[Any], uri: str) -> Image.Image:
    """Convert an array (H, W) or (H, W, 1, 3 or 4) of uint8, uint16, bool, or float in [0, 1] to an image.

    :raises ImageProblem: another shape or type, or floats outside [0, 1].
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        wanted = "(height, width) or (height, width, channels) with 1, 3 or 4 channels"
        raise ImageProblem(uri, f"the shape of an array must be {wanted}, got {array.shape}")
    if array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            got = f"got {array.min():g} to {array.max():g}"
            raise ImageProblem(uri, f"an array of floats must lie in [0, 1], {got}: divide by the value of white")
        pixels = to_8_bit(array)
    elif array.dtype == np.uint16:
        pixels = to_8_bit(array)
    elif array.dtype in (np.uint8, np.bool_):
        pixels = array.astype(np.uint8) * (255 if array.dtype == np.bool_ else 1)
    else:
        raise ImageProblem(uri, f"an array must be of uint8, uint16, bool, or float in [0, 1], got {array.dtype}")
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
