"""Whatever a picture is made of -> 8-bit RGB, upright: colour modes, transparency, 16 bits, arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from headstart.errors import ImageProblem

__all__ = ["array_to_image", "orientation", "to_8_bit", "to_rgb", "upright"]

# What each EXIF orientation asks for. 1 is upright; any other value is no orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or none that can be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF block is no reason to lose the picture
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def upright(image: Image.Image, turn: int) -> Image.Image:
    """Turn by an EXIF orientation, 1 to 8. ``ImageOps.exif_transpose`` does the same, but fails on broken EXIF."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def to_rgb(image: Image.Image) -> Image.Image:
    """A loaded picture of any mode -> RGB. What is transparent lies on white."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(to_8_bit(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None  # it is None only where the image itself is changed
        return converted
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def to_8_bit(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Numbers of any type and range -> 0 to 255.

    Files do not say what their white is, so the smallest usual range that holds all values is taken: [0, 1] for
    floats, 8 bits, 12 bits (cameras, scanners), 16 bits; else the darkest and the brightest value of the picture.

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
    """(H, W) or (H, W, 1, 3 or 4), of uint8, uint16, bool, or float in [0, 1]. ImageProblem: anything else."""
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
        raise ImageProblem(uri, f"an array must hold uint8, uint16, bool, or floats in [0, 1], got {array.dtype}")
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)
