"""What readers do with each image before a device decodes it: they read it, compare its hash, and look at its header.

What the device's decoder does not take (other formats, progressive or rotated files, training views) is decoded here,
by Pillow. Readers may be other processes, so this module does not import torch, which takes seconds there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.data import jpeg
from headstart.data.jpeg_header import JpegLayout, plain_layout
from headstart.data.sources.base import Content
from headstart.data.spec import InputSpec
from headstart.data.transforms import MAX_RESIZED_PIXELS, resized_size
from headstart.data.views import ViewItem, read_item, views_of
from headstart.data.zeros import MIN_TAIL, zero_runs
from headstart.errors import ImageProblem

__all__ = ["FileReader", "ReadImage", "can_resize"]

MIN_SIDE = 16
"""Pixels of the largest block of a JPEG; smaller images are not worth their own kind of work."""

_FILTERS = ("bilinear", "bicubic", "lanczos")


class ReadImage(NamedTuple):
    """An image that was read: its views that were made on the host, the file for the device, or a problem."""

    item: ViewItem
    arrays: Mapping[int, NDArray[np.uint8]]  # by the number of the view
    problem: str | None = None
    content: bytes | None = None  # for the device
    pixels: int = 0  # of the content


@dataclass(frozen=True)
class FileReader:
    """Reads images; a task of an executor."""

    spec: InputSpec
    samplings: frozenset[tuple[int, ...]]  # of JPEG files that the device decodes; see JpegLayout
    max_pixels: int
    max_device_pixels: int

    def __call__(self, items: Sequence[ViewItem]) -> list[ReadImage]:
        """Read some images."""
        return [self._read(item) for item in items]

    def _read(self, item: ViewItem) -> ReadImage:
        try:
            content, key = read_item(item)
        except ImageProblem as problem:
            return ReadImage(item, {}, problem.reason)
        augmented = tuple(number for number in item.numbers if number > 0)
        layout = None
        if isinstance(content, bytes) and len(augmented) < len(item.numbers):
            layout = self._layout(content)
        # An inspected file is complete. Any other may lack data, and go to Pillow, which says so.
        inspected = item.expected is not None
        if layout is None or not isinstance(content, bytes) or not (inspected or _is_complete(content)):
            return self.decoded(item, content, key)
        arrays: Mapping[int, NDArray[np.uint8]] = {}
        if augmented:
            made = self.decoded(item._replace(numbers=augmented), content, key)
            if made.problem is not None:
                return made
            arrays = made.arrays
        return ReadImage(item, arrays, None, content, layout.width * layout.height)

    def decoded(self, item: ViewItem, content: Content, key: str) -> ReadImage:
        """An image with all of its views, by Pillow."""
        try:
            made = views_of(item, content, key, self.spec, self.max_pixels)
        except ImageProblem as problem:
            return ReadImage(item, {}, problem.reason)
        return ReadImage(item, dict(zip(item.numbers, made, strict=True)))

    def _layout(self, content: bytes) -> JpegLayout | None:
        """The layout of a file that the device's decoder takes; None for any other."""
        found = plain_layout(content)
        if found is None or found.sampling not in self.samplings:
            return None
        size = found.width, found.height
        if math.prod(size) > min(self.max_pixels, self.max_device_pixels):
            return None
        return found if min(size) >= MIN_SIDE and can_resize(size, self.spec) else None


def _is_complete(content: bytes) -> bool:
    """Whether no data are missing for sure, told in a third of the time of decoding.

    What a device's decoder writes where data are missing is not known.
    """
    return not any(zero_runs(content, 0, len(content), MIN_TAIL)) and not jpeg.lacks_data(content)


def can_resize(size: tuple[int, int], spec: InputSpec) -> bool:
    """Whether a device resizes an image (width, height) as Pillow does: by a filter, and whole before the crop."""
    return spec.interpolation in _FILTERS and math.prod(resized_size(size, spec)) <= MAX_RESIZED_PIXELS
