"""Pillow's resizing as products of matrices, so that a device computes it, of many images at once.

The weights are those of Pillow's filters, rounded to multiples of 2**-15, and pixels are rounded to 8 bits after each
of the two passes, as Pillow does. With pixels of 8 bits every sum is then a multiple of 2**-15 below 2**9, which
float32 holds exactly: the result does not depend on the order of the additions, and so neither on the device nor on
which images are resized together. It differs from Pillow's, whose weights have 22 bits, by 1 in one or two pixels of a
hundred, for noise; in photographs in fewer than one of a thousand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.spec import InputSpec
from headstart.data.transforms import crop_offset, resized_size

__all__ = ["copied", "evaluation_views", "filter_weights"]

_ONE = 1 << 15
_STEP = 64  # pixels; images whose sides agree when rounded up to this are resized together
_MAX_CACHED = 1024  # pixels of a side whose weights are kept, a megabyte at most

Filter = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _bilinear(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 1, 1 - np.abs(x), 0.0)


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys 1981, "Cubic convolution interpolation for digital image processing", with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


_FILTERS: dict[str, tuple[Filter, float]] = {
    "bilinear": (_bilinear, 1),
    "bicubic": (_bicubic, 2),
    "lanczos": (_lanczos, 3),
}
"""Each with the distance beyond which it is 0."""


def filter_weights(size: int, resized: int, first: int, count: int, interpolation: str) -> NDArray[np.float32]:
    """Weights (count, size) that turn ``size`` pixels into pixels ``first`` to ``first + count`` of ``resized``.

    Each row sums to 1; rows outside the resized image are 0, as pixels there are black.

    >>> filter_weights(4, 2, 0, 2, "bilinear").astype(float).round(3).tolist()
    [[0.429, 0.429, 0.143, 0.0], [0.0, 0.143, 0.429, 0.429]]
    """
    function, reach = _FILTERS[interpolation]
    scale = size / resized
    stretch = max(scale, 1.0)
    numbers = np.arange(first, first + count)
    centers = (numbers + 0.5) * scale
    lows = np.trunc(np.maximum(centers - reach * stretch + 0.5, 0)).astype(int)
    highs = np.minimum(np.trunc(centers + reach * stretch + 0.5), size)
    pixels = lows[:, None] + np.arange(2 * math.ceil(reach * stretch) + 1)  # those that may have a weight
    exists = ((numbers >= 0) & (numbers < resized))[:, None]
    inside = (pixels < highs[:, None]) & exists
    weights = np.where(inside, function((pixels - centers[:, None] + 0.5) / stretch), 0.0)
    parts = np.rint(weights / np.where(exists, weights.sum(1, keepdims=True), 1) * _ONE)
    rows = np.arange(count)
    parts[rows, weights.argmax(1)] += np.where(exists[:, 0], _ONE - parts.sum(1), 0)
    made = np.zeros((count, size), np.float32)
    made[np.broadcast_to(rows[:, None], inside.shape)[inside], pixels[inside]] = parts[inside] / _ONE
    return made


def evaluation_views(images: Sequence[Tensor], spec: InputSpec) -> Tensor:
    """Resize and crop images as :func:`headstart.data.transforms.evaluation_view` does.

    :param images: uint8 (3, H, W) each, all on one device, of any sizes.
    :returns: uint8 (N, height, width, 3), on the same device.

    >>> evaluation_views([torch.zeros((3, 375, 500), dtype=torch.uint8)], InputSpec()).shape
    torch.Size([1, 224, 224, 3])
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for number, image in enumerate(images):
        height, width = image.shape[1:]
        groups.setdefault((-(-height // _STEP), -(-width // _STEP)), []).append(number)
    made = [_resize([images[number] for number in numbers], spec) for numbers in groups.values()]
    if len(made) == 1:
        return made[0]
    order = torch.tensor([number for numbers in groups.values() for number in numbers])
    return torch.cat(made)[copied(torch.argsort(order), images[0].device)]


def copied(values: Tensor, device: torch.device) -> Tensor:
    """Copy to a device, without waiting for what it computes."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values


def _resize(images: Sequence[Tensor], spec: InputSpec) -> Tensor:
    """Resize images that are padded to one size if they have several."""
    sizes = [(image.shape[2], image.shape[1]) for image in images]  # (width, height)
    device = images[0].device
    if len(set(sizes)) == 1:
        padded, pixels = sizes[0], torch.stack(list(images))
    else:
        padded = (_rounded_up(max(width for width, _ in sizes)), _rounded_up(max(height for _, height in sizes)))
        # What is left in the padding does not matter: its weights are 0.
        pixels = images[0].new_empty((len(images), 3, padded[1], padded[0]))
        for place, image in zip(pixels, images, strict=True):
            place[:, : image.shape[1], : image.shape[2]] = image
    distinct = sizes[:1] if len(set(sizes)) == 1 else sizes
    exact = torch.float64 if device.type == "cuda" and _rounds_products() else torch.float32
    across, down = (
        torch.stack([_axis_weights(size, axis, padded[axis], spec, device) for size in distinct]).to(exact)
        for axis in (0, 1)
    )
    count, rows = len(images), padded[1]
    # Rows of one color follow each other within a row of pixels, so that each pass is one product per image.
    values = (
        pixels.permute(0, 2, 1, 3).to(exact, memory_format=torch.contiguous_format).view(count, rows * 3, padded[0])
    )
    values = _round(values @ across.transpose(1, 2)).view(count, rows, 3 * spec.width)
    values = _round(torch.bmm(down.expand(count, -1, -1), values)).view(count, spec.height, 3, spec.width)
    return values.permute(0, 1, 3, 2).to(torch.uint8, memory_format=torch.contiguous_format)


def _rounds_products() -> bool:
    """Whether the program has turned on TensorFloat-32, which would round the weights."""
    products = torch.backends.cuda.matmul
    precision = getattr(products, "fp32_precision", None)  # since torch 2.9
    return bool(products.allow_tf32 if precision is None else precision == "tf32")


def _round(values: Tensor) -> Tensor:
    """Round to 8 bits as Pillow does: halves upwards."""
    return values.add_(0.5).floor_().clamp_(0, 255)


def _rounded_up(pixels: int) -> int:
    return -(-pixels // _STEP) * _STEP


def _axis_weights(size: tuple[int, int], axis: int, padded: int, spec: InputSpec, device: torch.device) -> Tensor:
    """The weights of the evaluation view along one axis, 0 for width: (crop, padded)."""
    resized, crop = resized_size(size, spec)[axis], (spec.width, spec.height)[axis]
    make = _cached_weights if padded <= _MAX_CACHED else _weights
    weights = make(size[axis], resized, crop, padded, spec.interpolation, str(device))
    if device.type == "cuda":  # their memory is that of the stream that made them, which may be another
        weights.record_stream(torch.cuda.current_stream())
    return weights


def _weights(size: int, resized: int, crop: int, padded: int, interpolation: str, device: str) -> Tensor:
    weights = filter_weights(size, resized, crop_offset(resized, crop), crop, interpolation)
    found = torch.zeros((crop, padded))
    found[:, :size] = torch.from_numpy(weights)
    return found.to(device)  # which waits for the copy: other streams and threads may use it next


_cached_weights = lru_cache(maxsize=512)(_weights)
