"""Pillow's resizing as a part of the network, for images of any size.

Each of Pillow's two passes is a product with a matrix of weights. Their size and values are computed from the height
and width of the images, inside the graph, so that one file serves all sizes. Pillow rounds its weights to multiples of
2**-22, and pixels to 8 bits after each pass; so does this. A weight is split into two parts of 11 bits each, whose sums
float32 holds exactly: the result is Pillow's bit for bit, in any order of the additions. Pillow computes weights in
float64, which OpenVINO on a CPU computes as float32; pairs of float32 (:mod:`headstart.export.pairs`) are exact enough
everywhere. With lanczos, whose sine is computed in float64, OpenVINO gets some weights wrong by one or two multiples:
about one pixel in ten thousand then differs by 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.errors import SettingsError
from headstart.export.pairs import Pair, add, divide, multiply, pair, quotient, total

__all__ = ["PillowResize"]

_MAY_SWAP = int(version("pillow").partition(".")[0]) >= 13
_BITS = 22  # Pillow's PRECISION_BITS
_LOW_BITS = 11


def _bilinear(x: Pair) -> Pair:
    """1 - x for x in [0, 1]."""
    return _where(x[0] < 1, add(pair(1.0, x[0]), (-x[0], -x[1])))


def _bicubic(x: Pair) -> Pair:
    """Keys 1981, "Cubic convolution interpolation for digital image processing", with a = -0.5."""
    near = _polynomial(x, 1.5, -2.5, 0.0, 1.0)
    far = _polynomial(x, -0.5, 2.5, -4.0, 2.0)
    inside = x[0] < 1
    return _where(x[0] < 2, (torch.where(inside, near[0], far[0]), torch.where(inside, near[1], far[1])))


def _lanczos(x: Pair) -> Pair:
    """In float64: there is no sine of a pair."""
    exact = x[0].double() + x[1].double()
    pi_x = torch.where(exact == 0, torch.ones_like(exact), exact) * math.pi
    values = torch.sin(pi_x) / pi_x * torch.sin(pi_x / 3) / (pi_x / 3)
    values = torch.where(exact == 0, torch.ones_like(exact), values)
    high = values.float()
    return _where(x[0] < 3, (high, (values - high.double()).float()))


def _polynomial(x: Pair, *coefficients: float) -> Pair:
    """The coefficient of the highest power first."""
    value = pair(coefficients[0], x[0])
    for coefficient in coefficients[1:]:
        value = multiply(value, x)
        if coefficient:
            value = add(value, pair(coefficient, x[0]))
    return value


def _where(inside: Tensor, x: Pair) -> Pair:
    """The pair inside, else zero."""
    return torch.where(inside, x[0], torch.zeros_like(x[0])), torch.where(inside, x[1], torch.zeros_like(x[1]))


_FILTERS: dict[str, Callable[[Pair], Pair]] = {"bilinear": _bilinear, "bicubic": _bicubic, "lanczos": _lanczos}


class PillowResize(nn.Module):
    """Resizes and crops images as :func:`headstart.data.transforms.evaluation_view` does.

    :param branches: whether the order of the passes is a branch of the graph. Otherwise both orders are computed, which
        takes longer, but OpenVINO 2026.4 returns wrong values after a branch when the number of images grows, and torch
        2.14 takes seconds for a branch.
    :raises SettingsError: an unknown crop mode or interpolation.

    >>> PillowResize(InputSpec())(torch.zeros((2, 375, 500, 3), dtype=torch.uint8)).shape
    torch.Size([2, 3, 224, 224])
    """

    def __init__(self, spec: InputSpec, *, branches: bool = True) -> None:
        super().__init__()
        if spec.interpolation not in _FILTERS:
            raise SettingsError(
                f"an export resizes with {', '.join(sorted(_FILTERS))}, but the classifier with {spec.interpolation!r}"
            )
        if spec.crop_mode not in ("center", "squash"):
            raise SettingsError(f"crop_mode must be center or squash, got {spec.crop_mode!r}")
        self.spec, self.branches = spec, branches

    def forward(self, images: Tensor) -> Tensor:
        """Turn images, uint8 (N, H, W, 3), into whole numbers from 0 to 255, float32 (N, 3, height, width)."""
        spec = self.spec
        _, height, width, _ = images.shape
        # Sides as tensors, so that everything which depends on them is an operation of the graph.
        tall, wide = torch.scalar_tensor(height, dtype=torch.int64), torch.scalar_tensor(width, dtype=torch.int64)
        resized_width, resized_height = self._resized(wide, tall)
        rows, columns = torch.arange(height), torch.arange(width)
        across = self._weights(columns, wide, resized_width, spec.width)  # (2, spec.width, W)
        down = self._weights(rows, tall, resized_height, spec.height)  # (2, spec.height, H)
        # Colors become rows, so that a pass is one product.
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)  # (N, 3, H, W)
        # Pillow 13 begins with the vertical pass where that leaves much less to the other one.
        fewer_rows, fewer_columns = tall - resized_height, wide - resized_width
        vertical_first = (fewer_rows > 0) & (fewer_rows > 2 * fewer_columns) & _MAY_SWAP
        parts = pixels, across, down
        if self.branches:
            chosen: Tensor = torch.cond(vertical_first, _vertical_first, _horizontal_first, parts)
            return chosen
        return torch.where(vertical_first, _vertical_first(*parts), _horizontal_first(*parts))

    def _resized(self, width: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
        """:func:`headstart.data.transforms.resized_size` of tensors: (width, height)."""
        spec = self.spec
        target_height, target_width = math.floor(spec.height / spec.crop), math.floor(spec.width / spec.crop)
        if spec.crop_mode == "squash":
            return torch.full_like(width, target_width), torch.full_like(height, target_height)
        if target_height != target_width:
            ratio = torch.minimum(height.double() / target_height, width.double() / target_width)
            return torch.round(width.double() / ratio).long(), torch.round(height.double() / ratio).long()
        longer = torch.maximum(width, height) * target_width // torch.minimum(width, height)
        short = torch.full_like(longer, target_width)
        return torch.where(width <= height, short, longer), torch.where(width <= height, longer, short)

    def _weights(self, pixels: Tensor, size: Tensor, resized: Tensor, crop: int) -> Tensor:
        """Both parts of the weights of one pass, float32 (2, crop, size), as multiples of 1 and of 2**-11.

        :param pixels: their numbers, (size,).
        :param size: of the image along the axis.
        :param resized: the size before the crop.
        """
        first = _crop_offset(resized, crop)
        numbers = (torch.arange(crop) + first).unsqueeze(1)  # of the resized image's pixels
        exists = (numbers >= 0) & (numbers < resized)
        # The distance from the center as a fraction of whole numbers, which is exact however large the image is.
        distance = ((2 * pixels.unsqueeze(0) + 1) * resized - (2 * numbers + 1) * size).abs()
        unit = 2 * torch.maximum(size, resized)
        distance = torch.minimum(distance, 4 * unit)  # float32 holds it; beyond, all weights are 0
        weights = _FILTERS[self.spec.interpolation](quotient(distance.float(), unit.float()))
        of_pixel = total(weights, axis=1)
        nonzero = torch.where(of_pixel[0] == 0, torch.ones_like(of_pixel[0]), of_pixel[0])
        share_high, share_low = _where(exists, divide(weights, (nonzero, of_pixel[1])))
        sign = torch.sign(share_high)
        scaled = share_high * sign * 2**_BITS
        whole = torch.floor(scaled)
        parts = (whole + torch.floor((scaled - whole) + share_low * sign * 2**_BITS + 0.5)) * sign
        high = torch.floor(parts / 2**_LOW_BITS + 0.5)
        low = parts - high * 2**_LOW_BITS
        return torch.stack([high / 2 ** (_BITS - _LOW_BITS), low / 2**_LOW_BITS])


def _horizontal_first(pixels: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _vertical(_horizontal(pixels, across), down)


def _vertical_first(pixels: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return _horizontal(_vertical(pixels, down), across)


def _horizontal(pixels: Tensor, across: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 3, H, width)."""
    values = pixels @ across.flatten(0, 1).t()
    width = across.shape[1]
    return _rounded(values[..., :width], values[..., width:])


def _vertical(pixels: Tensor, down: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 3, height, W)."""
    values = down.flatten(0, 1) @ pixels
    height = down.shape[1]
    return _rounded(values[..., :height, :], values[..., height:, :])


def _crop_offset(size: Tensor, crop: int) -> Tensor:
    """:func:`headstart.data.transforms.crop_offset` of a tensor; halves are rounded to even numbers."""
    left = torch.clamp(size - crop, min=0)
    cut = left // 2 + (left % 4 == 3).long()
    return torch.where(size < crop, -(torch.clamp(crop - size, min=0) // 2), cut)


def _rounded(high: Tensor, low: Tensor) -> Tensor:
    """Round ``high + low * 2**-11`` to 8 bits, halves upwards, without a sum that float32 does not hold exactly."""
    shifted = high + 0.5
    whole = torch.floor(shifted)
    return torch.clamp(whole + torch.floor(shifted - whole + low / 2**_LOW_BITS), 0, 255)
