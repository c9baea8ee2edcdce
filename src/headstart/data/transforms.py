"""InputSpec -> numbered views of a picture: uint8 pixels that are the same in every process, whatever came before.

View 0 is the evaluation view, the same pixels as timm's evaluation transform; MIRROR is its mirror image. From 1 on
they are training views: a random resized crop, a flip and a change of colour, whose random numbers hang on the
picture's content and the view's number alone. All are of the picture as it is handed over: of a large JPEG that is a
smaller one (:func:`enough`).
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from headstart.data.spec import InputSpec
from headstart.errors import SettingsError

__all__ = ["MIRROR", "TRAINING_VIEWS", "enough", "evaluation_view", "view"]

MIRROR = -1
"""The number of the evaluation view flipped left-right."""

TRAINING_VIEWS = 1
"""The version of the views from 1 on: raised by whoever changes what they show, so that kept ones are not mixed."""

_AREA = 0.4, 1.0  # of the picture: mild, since the frozen part has no chance to get used to small crops
_SHAPE = 3 / 4, 4 / 3  # width to height, relative to the network's input
_TRIES = 10
_COLOUR = 0.2  # brightness, contrast and saturation are each multiplied by 1 ± this at most

# Beyond this, a picture 1 pixel high and 5,000 wide would take gigabytes on its way to a crop of 224×224.
_MOST_PIXELS = 50_000_000


def enough(spec: InputSpec) -> int:
    """How many pixels either side of a picture needs so that its views look as they would of a larger one.

    Three times what it is resized to, at which Pillow too reduces before it resizes ("almost the same" as without, its
    documentation says of ``reducing_gap=3.0``); what that changes is measured in benchmarks/large.py.

    >>> enough(InputSpec(height=224, width=224, crop=0.875))
    768
    """
    return 3 * math.ceil(max(spec.height, spec.width) / spec.crop)


def view(image: Image.Image, spec: InputSpec, number: int, key: str) -> npt.NDArray[np.uint8]:
    """One of the views of an RGB picture by its number: uint8, shape (height, width, 3).

    0 is :func:`evaluation_view`, ``MIRROR`` (-1) the same flipped left-right, and all from 1 on are training views:
    the crops of Szegedy et al. 2015, "Going deeper with convolutions", section 6, though of at least 0.4 of the area;
    one in two is flipped; then brightness, contrast and saturation change by up to a fifth each. Hue stays: to change
    it takes longer than all the rest. Safe to call from many threads.

    :param key: the content hash of the picture. With the number it decides all that is random.
    :raises SettingsError: a crop mode or interpolation that is not known.

    >>> picture = Image.effect_noise((500, 375), 80).convert("RGB")
    >>> first, again, second = (view(picture, InputSpec(), number, "ab" * 16) for number in (1, 1, 2))
    >>> first.shape, np.array_equal(first, again), np.array_equal(first, second)
    ((224, 224, 3), True, False)
    """
    if number > 0:
        return _training_view(image, spec, number, key)
    if number not in (0, MIRROR):
        raise ValueError(f"a view's number must be {MIRROR} (mirrored), 0 (evaluation) or more, got {number}")
    pixels = evaluation_view(image, spec)
    return np.ascontiguousarray(pixels[:, ::-1]) if number == MIRROR else pixels


def evaluation_view(image: Image.Image, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize, then crop the centre of an RGB picture: uint8, shape (height, width, 3).

    ``spec.channels``, ``mean`` and ``std`` are not applied here. SettingsError: a crop mode or interpolation that is
    not known.

    >>> evaluation_view(Image.new("RGB", (500, 375)), InputSpec()).shape
    (224, 224, 3)
    """
    interpolation = _interpolation(spec)
    width, height = _resized(image, spec)
    left, top = _offset(width, spec.width), _offset(height, spec.height)
    if width * height > _MOST_PIXELS:
        return _of_a_sliver(image, spec, (width, height), interpolation)
    if (width, height) != image.size:
        image = image.resize((width, height), interpolation)
    # Outside the picture, crop gives black, as torchvision's padding does.
    return np.array(image.crop((left, top, left + spec.width, top + spec.height)))


def _training_view(image: Image.Image, spec: InputSpec, number: int, key: str) -> npt.NDArray[np.uint8]:
    from torchvision.transforms.v2 import functional

    crops, flip, colours = np.split(_chances(key, number, 2 * _TRIES + 6), (2 * _TRIES + 2, -3))
    box = _box(image, spec, crops)
    # The box alone is resized. Where it is more than six times as large as the input, it is first averaged over whole
    # pixels (reducing_gap): the photo of a camera takes no longer, and a sliver no more memory, than a small picture.
    size = (spec.width, spec.height)
    image = image.resize(size, _interpolation(spec), box=box, reducing_gap=3.0)
    if flip[0] < 0.5:
        image = functional.horizontal_flip(image)
    brightness, contrast, saturation = (1 + _COLOUR * (2 * colours - 1)).tolist()
    # On Pillow's pictures, on which these take as long as on tensors: two copies fewer.
    image = functional.adjust_brightness(image, brightness)
    image = functional.adjust_contrast(image, contrast)
    return np.array(functional.adjust_saturation(image, saturation))


def _chances(key: str, number: int, count: int) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1), of the key and the view's number alone.

    Not torch's: its state is one for all threads. The generator is named, and asked for nothing but its plain numbers,
    since NumPy may change its default and its distributions.
    """
    digest = hashlib.blake2b(f"{key} {number}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little"))).random(count)


def _box(image: Image.Image, spec: InputSpec, chances: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a random crop, from two numbers a try and two for its place.

    A crop that is as wide as it is high looks natural where the network's framing keeps the shape of a picture. Where
    it squashes the picture, the crop is squashed just as much.
    """
    if spec.crop_mode not in ("center", "squash"):
        raise SettingsError(f"crop_mode must be center or squash, got {spec.crop_mode!r}")
    natural = 1.0 if spec.crop_mode == "squash" else spec.width / spec.height * image.height / image.width
    low, high = np.log(_SHAPE)
    areas = _AREA[0] + (_AREA[1] - _AREA[0]) * chances[:_TRIES]
    shapes = natural * np.exp(low + (high - low) * chances[_TRIES:-2])
    widths, heights = np.sqrt(areas * shapes), np.sqrt(areas / shapes)  # as shares of the picture's
    fitting = np.flatnonzero((widths <= 1) & (heights <= 1))
    if len(fitting):
        width, height = float(widths[fitting[0]]), float(heights[fitting[0]])
    else:  # a panorama: the most of it that has a shape allowed
        shape = min(max(1.0, natural * _SHAPE[0]), natural * _SHAPE[1])
        width, height = min(1.0, shape), min(1.0, 1 / shape)
    left, top = (1 - width) * float(chances[-2]), (1 - height) * float(chances[-1])
    right, bottom = min(left + width, 1.0), min(top + height, 1.0)  # rounding must not lead out of the picture
    return left * image.width, top * image.height, right * image.width, bottom * image.height


def _interpolation(spec: InputSpec) -> Image.Resampling:
    found = getattr(Image.Resampling, spec.interpolation.upper(), None)
    if found is None:
        raise SettingsError(f"interpolation must be nearest, bilinear, bicubic or lanczos, got {spec.interpolation!r}")
    return found  # type: ignore[no-any-return]


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
