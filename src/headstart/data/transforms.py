"""Numbered views of an image: uint8 pixels that are the same in every process, in whatever order they are made.

View 0 is the evaluation view, with the same pixels as timm's evaluation transform; FLIPPED_VIEW is the same, flipped.
Views from 1 on are training views: a random resized crop, a flip and a color change, whose random numbers depend on the
image's content and the view's number alone. All are made from the image as it was decoded, which for a large JPEG may
be at reduced size (:func:`min_source_side`).
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.spec import InputSpec
from headstart.errors import SettingsError

__all__ = [
    "FLIPPED_VIEW",
    "MAX_RESIZED_PIXELS",
    "TRAINING_VIEWS_VERSION",
    "crop_offset",
    "evaluation_view",
    "make_view",
    "min_source_side",
    "resized_size",
]

FLIPPED_VIEW = -1
"""The number of the evaluation view flipped left-right."""

TRAINING_VIEWS_VERSION = 1
"""The version of the views from 1 on: increase it with every change of their pixels, so that stored ones do not mix."""

_AREA = 0.4, 1.0  # share of the image: mild, since the frozen part cannot adapt to small crops
_ASPECT = 3 / 4, 4 / 3  # width to height, relative to the network's input
_TRIES = 10
_COLOR = 0.2  # brightness, contrast and saturation are each multiplied by 1 ± this at most

MAX_RESIZED_PIXELS = 50_000_000
"""Without this limit, resizing an image 1 pixel high and 5,000 wide before a crop of 224×224 would take gigabytes."""


def min_source_side(spec: InputSpec) -> int:
    """Return the pixels that either side of an image needs so that its views look like those of a larger image.

    Three times the size that it is resized to, from which on Pillow reduces before it resizes as well ("almost the
    same" result, says its documentation of ``reducing_gap=3.0``); benchmarks/speed/large_images.py measures the effect.

    >>> min_source_side(InputSpec(height=224, width=224, crop=0.875))
    768
    """
    return 3 * math.ceil(max(spec.height, spec.width) / spec.crop)


def make_view(image: Image.Image, spec: InputSpec, number: int, key: str) -> npt.NDArray[np.uint8]:
    """Make a view of an RGB image by its number: uint8, shape (height, width, 3).

    0 is :func:`evaluation_view`, ``FLIPPED_VIEW`` (-1) the same flipped left-right, and all from 1 on are training
    views: the crops of Szegedy et al. 2015, "Going deeper with convolutions", section 6, but of at least 0.4 of the
    area; half of them are flipped; then brightness, contrast and saturation change by up to 20 % each. Hue is kept:
    changing it takes longer than everything else together. Safe to call from several threads.

    :param key: the content hash of the image. With the number it determines everything random.
    :raises SettingsError: an unknown crop mode or interpolation.

    >>> image = Image.effect_noise((500, 375), 80).convert("RGB")
    >>> first, again, second = (make_view(image, InputSpec(), number, "ab" * 16) for number in (1, 1, 2))
    >>> first.shape, np.array_equal(first, again), np.array_equal(first, second)
    ((224, 224, 3), True, False)
    """
    if number > 0:
        return _training_view(image, spec, number, key)
    if number not in (0, FLIPPED_VIEW):
        raise ValueError(f"number of a view must be {FLIPPED_VIEW} (flipped), 0 (evaluation) or positive, got {number}")
    pixels = evaluation_view(image, spec)
    return np.ascontiguousarray(pixels[:, ::-1]) if number == FLIPPED_VIEW else pixels


def evaluation_view(image: Image.Image, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize an RGB image, then crop its center: uint8, shape (height, width, 3).

    ``spec.channels``, ``mean`` and ``std`` are not applied here.

    :raises SettingsError: an unknown crop mode or interpolation.

    >>> evaluation_view(Image.new("RGB", (500, 375)), InputSpec()).shape
    (224, 224, 3)
    """
    interpolation = _interpolation(spec)
    width, height = resized_size(image.size, spec)
    left, top = crop_offset(width, spec.width), crop_offset(height, spec.height)
    if width * height > MAX_RESIZED_PIXELS:
        return _resize_crop_only(image, spec, (width, height), interpolation)
    if (width, height) != image.size:
        image = image.resize((width, height), interpolation)
    # Outside the image, crop gives black, as torchvision's padding does.
    return np.array(image.crop((left, top, left + spec.width, top + spec.height)))


def _training_view(image: Image.Image, spec: InputSpec, number: int, key: str) -> npt.NDArray[np.uint8]:
    from torchvision.transforms.v2 import functional

    crops, flip, colors = np.split(_random_numbers(key, number, 2 * _TRIES + 6), (2 * _TRIES + 2, -3))
    box = _box(image, spec, crops)
    # Only the box is resized. If it is more than six times as large as the input, whole pixels are averaged first
    # (reducing_gap): a camera's photo takes no longer, and a very narrow image no more memory, than a small image.
    size = (spec.width, spec.height)
    image = image.resize(size, _interpolation(spec), box=box, reducing_gap=3.0)
    if flip[0] < 0.5:
        image = functional.horizontal_flip(image)
    brightness, contrast, saturation = (1 + _COLOR * (2 * colors - 1)).tolist()
    # On Pillow images these take as long as on tensors, without two copies.
    image = functional.adjust_brightness(image, brightness)
    image = functional.adjust_contrast(image, contrast)
    return np.array(functional.adjust_saturation(image, saturation))


def _random_numbers(key: str, number: int, count: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) that depend on the key and the view's number alone.

    Not torch's, whose state is shared by all threads. The generator is named, and only its uniform numbers are used,
    since NumPy may change its default generator and its distributions.
    """
    digest = hashlib.blake2b(f"{key} {number}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little"))).random(count)


def _box(image: Image.Image, spec: InputSpec, numbers: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a random crop, from two numbers per try and two for its position.

    Where the network's framing keeps the aspect ratio of images, so does the crop, up to its random change. Where
    framing squashes the image, the crop is squashed equally.
    """
    if spec.crop_mode not in ("center", "squash"):
        raise SettingsError(f"crop_mode must be center or squash, got {spec.crop_mode!r}")
    neutral = 1.0 if spec.crop_mode == "squash" else spec.width / spec.height * image.height / image.width
    low, high = np.log(_ASPECT)
    areas = _AREA[0] + (_AREA[1] - _AREA[0]) * numbers[:_TRIES]
    shapes = neutral * np.exp(low + (high - low) * numbers[_TRIES:-2])
    widths, heights = np.sqrt(areas * shapes), np.sqrt(areas / shapes)  # as shares of the image's
    fitting = np.flatnonzero((widths <= 1) & (heights <= 1))
    if len(fitting):
        width, height = float(widths[fitting[0]]), float(heights[fitting[0]])
    else:  # a panorama: its largest part with an allowed aspect ratio
        shape = min(max(1.0, neutral * _ASPECT[0]), neutral * _ASPECT[1])
        width, height = min(1.0, shape), min(1.0, 1 / shape)
    left, top = (1 - width) * float(numbers[-2]), (1 - height) * float(numbers[-1])
    right, bottom = min(left + width, 1.0), min(top + height, 1.0)  # rounding must not lead outside the image
    return left * image.width, top * image.height, right * image.width, bottom * image.height


def _interpolation(spec: InputSpec) -> Image.Resampling:
    found = getattr(Image.Resampling, spec.interpolation.upper(), None)
    if found is None:
        raise SettingsError(f"interpolation must be nearest, bilinear, bicubic or lanczos, got {spec.interpolation!r}")
    return found  # type: ignore[no-any-return]


def resized_size(size: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """Return (width, height) before the crop, as in timm.data.transforms_factory.transforms_imagenet_eval.

    :param size: (width, height) of the image.
    :raises SettingsError: an unknown crop mode.
    """
    width, height = size
    target_height, target_width = math.floor(spec.height / spec.crop), math.floor(spec.width / spec.crop)
    if spec.crop_mode == "squash":
        return target_width, target_height
    if spec.crop_mode != "center":
        raise SettingsError(f"crop_mode must be center or squash, got {spec.crop_mode!r}")
    if target_height != target_width:  # timm's ResizeKeepRatio
        ratio = min(height / target_height, width / target_width)
        return round(width / ratio), round(height / ratio)
    # torchvision's Resize rounds the longer side down
    short, long = sorted(size)
    longer = int(target_height * long / short)
    return (target_width, longer) if width <= height else (longer, target_height)


def crop_offset(size: int, crop: int) -> int:
    """Return where torchvision's CenterCrop begins; negative where it would pad."""
    return -((crop - size) // 2) if crop > size else round((size - crop) / 2)


def _resize_crop_only(
    image: Image.Image, spec: InputSpec, size: tuple[int, int], interpolation: Image.Resampling
) -> npt.NDArray[np.uint8]:
    """Resize only what the crop keeps. Pixels may differ slightly: Pillow rounds between two passes, or swaps them."""
    left, top = crop_offset(size[0], spec.width), crop_offset(size[1], spec.height)
    x, y = image.width / size[0], image.height / size[1]
    box = (left * x, top * y, (left + spec.width) * x, (top + spec.height) * y)
    return np.array(image.resize((spec.width, spec.height), interpolation, box=box))
