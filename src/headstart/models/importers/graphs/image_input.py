"""The input of an OpenVINO graph: any layout and type, converted to float32 images (B, 3, H, W).

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.errors import ModelError
from headstart.models.importers.graphs.pixel_range import PixelRange, read_pixel_range
from headstart.models.openvino_library import openvino

__all__ = ["DEFAULT_SIZE", "ImageInput", "standardize_input"]

DEFAULT_SIZE = 224
"""Height and width in pixels where the file leaves them open."""

_MAX_SIZE = 4096  # pixels, as in the settings


@dataclass(frozen=True)
class ImageInput:
    """The original input of a graph."""

    described: str  # its name and shape, as in the file
    size: tuple[int, int]  # height and width, pixels
    has_size: bool  # False: the file leaves it open
    channels_first: bool
    has_layout: bool  # False: the shape fits both layouts
    pixel_range: PixelRange


def standardize_input(model: Any, *, channels_first: bool) -> ImageInput:
    """Replace the input of ``model`` with float32 images (1, 3, H, W), and describe the original one.

    :param channels_first: the layout to assume where the shape is ambiguous.
    :raises ModelError: the model has several inputs, or one that is not an image with three channels.
    """
    ov = openvino()
    parameters = model.get_parameters()
    described = ", ".join(f"{each.get_friendly_name()} {each.get_partial_shape()}" for each in parameters)
    if len(parameters) != 1:
        raise ModelError(f"must have one input, the image; has {len(parameters)}: {described or 'none'}")
    old = parameters[0]
    sides = _sides(old.get_partial_shape(), described)
    has_layout = (sides[1] == 3) != (sides[3] == 3)
    channels_first = _is_channels_first(sides, channels_first, described)
    height, width = sides[2:] if channels_first else sides[1:3]
    size = height or DEFAULT_SIZE, width or DEFAULT_SIZE
    if max(size) > _MAX_SIZE:
        raise ModelError(f"its input {described} is larger than {_MAX_SIZE} pixels, which is not supported")
    pixel_range = read_pixel_range(old)
    new = ov.opset13.parameter([1, 3, *size], np.float32, "image")
    value = new.output(0)
    if not channels_first:
        value = ov.opset13.transpose(value, np.array([0, 2, 3, 1], np.int64)).output(0)
    if old.get_element_type().is_integral():
        value = ov.opset13.round(value, "half_to_even").output(0)
    if old.get_element_type() != ov.Type.f32:
        value = ov.opset13.convert(value, old.get_element_type().get_type_name()).output(0)
    old.output(0).replace(value)
    model.remove_parameter(old)
    model.add_parameters([new])
    model.validate_nodes_and_infer_types()
    return ImageInput(described, size, bool(height and width), channels_first, has_layout, pixel_range)


def _sides(shape: Any, described: str) -> list[int | None]:
    """The four sides of an image input; None where the file leaves one open."""
    if shape.rank.is_dynamic:
        return [None] * 4
    if shape.rank.get_length() != 4:
        raise ModelError(f"its input must be images with three channels (4 dimensions); it is {described}")
    return [side.get_length() if side.is_static else None for side in shape]


def _is_channels_first(sides: list[int | None], default: bool, described: str) -> bool:
    first, last = sides[1], sides[3]
    if first == 3 and last == 3:
        return default
    if 3 in (first, last):
        return first == 3
    if (first if default else last) is None:
        return default
    raise ModelError(f"its input must be images with three channels; it is {described}")
