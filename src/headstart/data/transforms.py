"""InputSpec -> the evaluation view of a picture, the same pixels as timm's evaluation transform."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.spec import InputSpec
from headstart.errors import SettingsError

__all__ = ["evaluation_view"]

# Beyond this, a picture 1 pixel high and 5,000 wide would take gigabytes on its way to a crop of 224×224.
_MOST_PIXELS = 50_000_000


def evaluation_view(image: Image.Image, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize, then crop the centre of an RGB picture: uint8, shape (height, width, 3).

    ``spec.channels``, ``mean`` and ``std`` are not applied here. SettingsError: a crop mode or interpolation that is
    not known.

    >>> evaluation_view(Image.new("RGB", (500, 375)), InputSpec()).shape
    (224, 224, 3)
    """
    interpolation = getattr(Image.Resampling, spec.interpolation.upper(), None)
    if interpolation is None:
        raise SettingsError(f"interpolation must be nearest, bilinear, bicubic or lanczos, got {spec.interpolation!r}")
    width, height = _resized(image, spec)
    left, top = _offset(width, spec.width), _offset(height, spec.height)
    if width * height > _MOST_PIXELS:
        return _of_a_sliver(image, spec, (width, height), interpolation)
    if (width, height) != image.size:
        image = image.resize((width, height), interpolation)
    # Outside the picture, crop gives black, as torchvision's padding does.
    return np.array(image.crop((left, top, left + spec.width, top + spec.height)))


def _resized(image: Image.Image, spec: InputSpec) -> tuple[int, int]:
    """(width, height) before the crop, by the rules of timm.data.transforms_factory.transforms_imagenet_eval."""
    target_height, target_width = math.floor(spec.height / spec.crop), math.floor(spec.width / spec.crop)
    if spec.crop_mode == "squash":
        return target_width, target_height
    if spec.crop_mode != "center":
        raise SettingsError(f"crop_mode must be center or squash, got {spec.crop_mode!r}")
    if target_height != target_width:  # timm's ResizeKeepRatio
        ratio = min(image.height / target_height, image.width / target_width)
        return round(image.width / ratio), round(image.height / ratio)
    # torchvision's Resize rounds the longer side down
    short, long = sorted(image.size)
    longer = int(target_height * long / short)
    return (target_width, longer) if image.width <= image.height else (longer, target_height)


def _offset(size: int, crop: int) -> int:
    """Where torchvision's CenterCrop begins; below 0 where it would pad."""
    return -((crop - size) // 2) if crop > size else round((size - crop) / 2)


def _of_a_sliver(
    image: Image.Image, spec: InputSpec, size: tuple[int, int], interpolation: Image.Resampling
) -> npt.NDArray[np.uint8]:
    """Resize only what the crop keeps: nearly the same, as Pillow rounds between its two passes and may swap them."""
    left, top = _offset(size[0], spec.width), _offset(size[1], spec.height)
    x, y = image.width / size[0], image.height / size[1]
    box = (left * x, top * y, (left + spec.width) * x, (top + spec.height) * y)
    return np.array(image.resize((spec.width, spec.height), interpolation, box=box))
