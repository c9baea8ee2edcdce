"""The input of an OpenVINO graph: any layout and type, converted to float32 images (B, 3, H, W).

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.errors import ModelError
from headstart.models.openvino_library import openvino

__all__ = ["DEFAULT_SIZE", "ImageInput", "standardize_input"]

DEFAULT_SIZE = 224
"""Height and width in pixels where the file leaves them open."""

_LAYOUT_ONLY = frozenset(["Convert", "Transpose", "Identity", "Reshape"])  # operations that keep the values
_MIN_UNIT_FACTOR = 1 / 50  # values in [0, 1] are not scaled below this; for pixels, 1/255 or 1/127.5 is usual
_MIN_PIXEL_MEAN = 50.0  # a mean of pixel values in [0, 255] is above this; a mean of values in [0, 1] is below 1


@dataclass(frozen=True)
class ImageInput:
    """The original input of a graph."""

    size: tuple[int, int]  # height and width, pixels
    channels_first: bool
    takes_pixel_values: bool  # 0 to 255


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
    shape = old.get_partial_shape()
    if shape.rank.is_static and shape.rank.get_length() != 4:
        raise ModelError(f"its input must be images with three channels (4 dimensions); it is {described}")
    sides: list[int | None] = (
        [None] * 4 if shape.rank.is_dynamic else [side.get_length() if side.is_static else None for side in shape]
    )
    channels_first = _is_channels_first(sides, channels_first, described)
    height, width = sides[2:] if channels_first else sides[1:3]
    size = height or DEFAULT_SIZE, width or DEFAULT_SIZE
    takes_pixel_values = old.get_element_type().is_integral() or _scales_pixel_values(old)
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
    return ImageInput(size, channels_first, takes_pixel_values)


def _is_channels_first(sides: list[int | None], default: bool, described: str) -> bool:
    first, last = sides[1], sides[3]
    if first == 3 and last == 3:
        return default
    if 3 in (first, last):
        return first == 3
    if (first if default else last) is None:
        return default
    raise ModelError(f"its input must be images with three channels; it is {described}")


def _scales_pixel_values(parameter: Any) -> bool:
    """Whether the first operation on the image is one that is applied to pixel values of 0 to 255."""
    output = parameter.output(0)
    while len(uses := list(output.get_target_inputs())) == 1:
        node = uses[0].get_node()
        kind = node.get_type_name()
        if kind not in _LAYOUT_ONLY:
            constant = _constant_operand(node)
            if constant is None:
                return False
            size = float(np.abs(constant).max())
            return (
                (kind == "Multiply" and 0 < size < _MIN_UNIT_FACTOR)
                or (kind == "Divide" and size > 1 / _MIN_UNIT_FACTOR)
                or (kind in ("Subtract", "Add") and size > _MIN_PIXEL_MEAN)
            )
        output = node.output(0)
    return False


def _constant_operand(node: Any) -> Any | None:
    """The constant among the operands of an operation."""
    for index in range(node.get_input_size()):
        source = node.input_value(index).get_node()
        while source.get_type_name() == "Convert":
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Constant" and np.size(source.get_data()):
            return np.asarray(source.get_data(), np.float64)
    return None
