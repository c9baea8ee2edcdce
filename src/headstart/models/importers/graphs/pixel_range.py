"""Reading from the operations of a graph which pixel values it takes.

The image first passes operations that move, crop, pad or resize it, and then usually an affine map, ``value * scale +
offset``. Its numbers tell what the values are: a scale of 1/255 or a mean of 120 belongs to pixels of 0 to 255, a mean
of 0.5 to values of 0 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PixelRange", "read_pixel_range"]

_KEEP_VALUES = frozenset(
    [
        *("Convert", "ConvertLike", "Identity", "Round", "Broadcast"),
        *("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Reverse", "ReverseSequence", "Roll"),
        *("Split", "VariadicSplit", "Concat", "Gather", "GatherND", "Slice", "StridedSlice", "Crop"),
        *("Interpolate", "Pad"),
    ]
)
_CALCULATIONS: Mapping[str, Callable[..., Any]] = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Divide": np.divide,
    "Power": np.power,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "Sqrt": np.sqrt,
}
_SAME_NUMBERS = frozenset(["Convert", "Reshape", "Squeeze", "Unsqueeze", "Broadcast", "Transpose", "Identity"])
_MAX_STEPS = 1000  # operations before the first one that computes something else; usually fewer than ten
_MIN_UNIT_SCALE = 1 / 50  # values in [0, 1] are not scaled below this; for pixels, 1/255 or 1/127.5 is usual
_MIN_PIXEL_MEAN = 50.0  # a mean of pixel values in [0, 255] is above this; a mean of values in [0, 1] is below 1

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PixelRange:
    """The range of values that a graph takes, by the name that ``--range`` has for it, and why."""

    name: str = ""  # "0:255" or "0:1"; "" where the operations do not tell
    evidence: str = ""


@dataclass(frozen=True)
class _Value:
    """A result that is the image times ``scale`` plus ``offset``, each of one number or of one per channel."""

    output: Any
    scale: Numbers
    offset: Numbers


def read_pixel_range(parameter: Any) -> PixelRange:
    """Read the range of the values of an image input.

    :param parameter: the input, an OpenVINO node.
    """
    if parameter.get_element_type().is_integral():
        return PixelRange("0:255", f"its input has the type {parameter.get_element_type().get_type_name()}")
    found = list(_first_uses(_Value(parameter.output(0), np.ones(1), np.zeros(1))))
    pixels = [each for each in found if each.name == "0:255"]
    if pixels:
        return pixels[0]
    return found[0] if found and all(each.name for each in found) else PixelRange()


def _first_uses(start: _Value) -> Iterator[PixelRange]:
    """What each of the operations tells that is the first to compute something from the values."""
    waiting, seen = [start], 0
    while waiting and seen < _MAX_STEPS:
        value = waiting.pop()
        for use in value.output.get_target_inputs():
            seen += 1
            node = use.get_node()
            kind = node.get_type_name()
            if kind == "ShapeOf":
                continue
            after = _after(value, node, use.get_index())
            if after is not None:
                waiting += after
            elif (limit := _upper_limit(node, use.get_index())) is not None:
                yield _from_limit(value, limit)
            else:
                yield _from_map(value)


def _after(value: _Value, node: Any, index: int) -> list[_Value] | None:
    """The results of an operation that moves values or maps them linearly; None for any other."""
    kind = node.get_type_name()
    if kind in _KEEP_VALUES:
        return (
            [_Value(each, value.scale, value.offset) for each in node.outputs()]
            if index == 0 or kind == "Concat"
            else []
        )
    if kind == "Maximum" and _constant(node.input_value(1 - index)) is not None:  # the lower limit of clipping
        return [_Value(node.output(0), value.scale, value.offset)]
    return _mapped(value, node, index) if kind in ("Add", "Subtract", "Multiply", "Divide") else None


def _mapped(value: _Value, node: Any, index: int) -> list[_Value] | None:
    """The result of an arithmetic operation with constants; ``index`` is the place of the value among its operands."""
    kind, other = node.get_type_name(), _constant(node.input_value(1 - index))
    if other is None or (kind == "Divide" and index == 1):
        return None
    if kind in ("Multiply", "Divide"):
        if other.size not in (1, 3) or not other.all():
            return None
        factor = other if kind == "Multiply" else 1 / other
        return [_Value(node.output(0), value.scale * factor, value.offset * factor)]
    if other.size not in (1, 3):
        other = other.mean(keepdims=True)  # the mean image of a data set
    sign = -1.0 if kind == "Subtract" and index == 1 else 1.0
    shift = -other if kind == "Subtract" and index == 0 else other
    return [_Value(node.output(0), sign * value.scale, sign * value.offset + shift)]


def _from_map(value: _Value) -> PixelRange:
    scale, mean = np.abs(value.scale), -value.offset / value.scale
    if scale.max() < _MIN_UNIT_SCALE:
        return PixelRange("0:255", f"it multiplies them by {scale.max():.3g}")
    if mean.min() > _MIN_PIXEL_MEAN:
        return PixelRange("0:255", f"it subtracts {_listed(mean)}")
    if scale.min() > 1.5 and mean.min() > 0.2 and mean.max() < 0.8:
        return PixelRange("0:1", f"it subtracts {_listed(mean)}")
    return PixelRange()


def _upper_limit(node: Any, index: int) -> float | None:
    """The highest value that an operation lets pass; None if it does not clip."""
    if node.get_type_name() == "Clamp":
        return float(node.get_attributes()["max"])
    limit = _constant(node.input_value(1 - index)) if node.get_type_name() == "Minimum" else None
    return None if limit is None else float(limit.max())


def _from_limit(value: _Value, high: float) -> PixelRange:
    """From the highest value that a network lets pass."""
    limit = float(((high - value.offset) / value.scale).max())
    if limit in (1.0, 255.0):
        return PixelRange("0:1" if limit == 1 else "0:255", f"it clips them at {limit:.0f}")
    return _from_map(value)


def _listed(numbers: Numbers) -> str:
    return ", ".join(f"{each:.4g}" for each in dict.fromkeys(numbers.tolist()))


def _constant(output: Any, depth: int = 0) -> Numbers | None:
    """The values of a result that does not depend on the image, (1,), (3,) or more; None if it is too complicated."""
    node = output.get_node()
    kind = node.get_type_name()
    if kind == "Constant":
        return np.asarray(node.get_data(), np.float64).reshape(-1) if np.size(node.get_data()) else None
    if depth > 20:
        return None
    if kind in _SAME_NUMBERS:
        return _constant(node.input_value(0), depth + 1)
    if kind not in _CALCULATIONS:
        return None
    operands = [_constant(node.input_value(index), depth + 1) for index in range(node.get_input_size())]
    known = [each for each in operands if each is not None]
    if len(known) < len(operands) or len({each.size for each in known} - {1}) > 1:
        return None
    with np.errstate(all="ignore"):
        values = np.asarray(_CALCULATIONS[kind](*known), np.float64)
    return values if np.isfinite(values).all() else None
