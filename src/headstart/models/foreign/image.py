"""The input of an OpenVINO graph: whatever layout and type it has, brought to float32 images (B, 3, H, W).

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.errors import ModelError
from headstart.models.openvino_library import openvino

__all__ = ["USUAL_SIZE", "take_image"]

USUAL_SIZE = 224
"""Pixels a side, where the file leaves them open."""

_PASSED_OVER = frozenset(["Convert", "Transpose", "Identity", "Reshape"])
_SMALLEST_FACTOR = 1 / 50  # of values in [0, 1] nobody takes a fiftieth; of pixels, 1/255 or 1/127.5 is usual
_LEAST_MEAN = 50.0  # what is taken off pixels in 0 to 255; what is taken off values in [0, 1] is below 1


def take_image(model: Any, *, channels_first: bool) -> tuple[tuple[int, int], bool, bool]:
    """Give ``model`` another input, and say what it is.

    :param channels_first: which layout is meant where the shape does not tell.
    :returns: (height, width) in pixels; whether it was channels first; whether it wants pixels as 0 to 255.
    :raises ModelError: it has not one input, or one that is no picture in three colours.
    """
    ov = openvino()
    parameters = model.get_parameters()
    told = ", ".join(f"{each.get_friendly_name()} {each.get_partial_shape()}" for each in parameters)
    if len(parameters) != 1:
        raise ModelError(f"one input, the picture, is needed; it has {len(parameters)}: {told or 'none'}")
    old = parameters[0]
    shape = old.get_partial_shape()
    if shape.rank.is_static and shape.rank.get_length() != 4:
        raise ModelError(f"its input must be pictures in three colours, 4 dimensions; it is {told}")
    sides: list[int | None] = (
        [None] * 4 if shape.rank.is_dynamic else [side.get_length() if side.is_static else None for side in shape]
    )
    channels_first = _is_channels_first(sides, channels_first, told)
    height, width = sides[2:] if channels_first else sides[1:3]
    size = height or USUAL_SIZE, width or USUAL_SIZE
    wants_bytes = old.get_element_type().is_integral() or _scales_down(old)
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
    return size, channels_first, wants_bytes


def _is_channels_first(sides: list[int | None], otherwise: bool, told: str) -> bool:
    first, last = sides[1], sides[3]
    if first == 3 and last == 3:
        return otherwise
    if 3 in (first, last):
        return first == 3
    if (first if otherwise else last) is None:
        return otherwise
    raise ModelError(f"its input must be pictures in three colours; it is {told}")


def _scales_down(parameter: Any) -> bool:
    """Whether the first thing done to the image is what is done to pixels of 0 to 255."""
    output = parameter.output(0)
    while len(uses := list(output.get_target_inputs())) == 1:
        node = uses[0].get_node()
        kind = node.get_type_name()
        if kind not in _PASSED_OVER:
            constant = _constant(node)
            if constant is None:
                return False
            size = float(np.abs(constant).max())
            return (
                (kind == "Multiply" and 0 < size < _SMALLEST_FACTOR)
                or (kind == "Divide" and size > 1 / _SMALLEST_FACTOR)
                or (kind in ("Subtract", "Add") and size > _LEAST_MEAN)
            )
        output = node.output(0)
    return False


def _constant(node: Any) -> Any | None:
    """The constant that an operation has beside the image."""
    for index in range(node.get_input_size()):
        source = node.input_value(index).get_node()
        while source.get_type_name() == "Convert":
            source = source.input_value(0).get_node()
        if source.get_type_name() == "Constant" and np.size(source.get_data()):
            return np.asarray(source.get_data(), np.float64)
    return None
