"""Numbers as unevaluated sums of two float32: about 48 bits, in runtimes that compute float64 as float32.

Each function is a handful of float32 operations whose errors are computed exactly and carried on (Dekker, A
floating-point technique for extending the available precision, Numerische Mathematik 18, 1971). They need arithmetic
that rounds as IEEE 754 says; magnitudes here stay far from the limits of float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Pair", "add", "divide", "multiply", "pair", "quotient", "total"]

Pair = tuple[Tensor, Tensor]
"""High and low part, float32 of one shape; the low part is at most half a unit in the last place of the high one."""

_SPLIT = 4097.0  # 2**12 + 1: the upper half of a float32's 24 bits
_LIMB = 11  # bits: sums of up to 4,096 numbers of so many bits are exact in float32


def pair(value: float, like: Tensor) -> Pair:
    """A constant that float32 holds exactly, in the shape of a tensor."""
    return torch.full_like(like, value), torch.zeros_like(like)


def add(x: Pair, y: Pair) -> Pair:
    """The sum of two pairs."""
    high, error = _two_sum(x[0], y[0])
    return _two_sum(high, error + x[1] + y[1])


def multiply(x: Pair, y: Pair) -> Pair:
    """The product of two pairs."""
    high, error = _two_product(x[0], y[0])
    return _two_sum(high, error + x[0] * y[1] + x[1] * y[0])


def divide(x: Pair, y: Pair) -> Pair:
    """The quotient of two pairs."""
    first = x[0] / y[0]
    product, error = _two_product(first, y[0])
    rest = ((x[0] - product) - error) + x[1] - first * y[1]
    return _two_sum(first, rest / y[0])


def quotient(numerator: Tensor, denominator: Tensor) -> Pair:
    """The quotient of two float32.

    >>> high, low = quotient(torch.tensor(1.0), torch.tensor(3.0))
    >>> abs(float(high.double() + low.double()) - 1 / 3) < 1e-14
    True
    """
    return divide((numerator, torch.zeros_like(numerator)), (denominator, torch.zeros_like(denominator)))


def total(x: Pair, axis: int) -> Pair:
    """The sum along an axis of at most 4,096 numbers other than zero, none above 1; the axis is kept.

    High parts are divided into limbs of 11 bits, whose sums are exact in any order of the additions.
    """
    first = torch.round(x[0] * 2**_LIMB) / 2**_LIMB
    rest = x[0] - first
    second = torch.round(rest * 2 ** (2 * _LIMB)) / 2 ** (2 * _LIMB)
    third = (rest - second) + x[1]
    sums = [limb.sum(axis, keepdim=True) for limb in (first, second, third)]
    high, error = _two_sum(sums[0], sums[1])
    return _two_sum(high, error + sums[2])


def _two_sum(a: Tensor, b: Tensor) -> Pair:
    """The rounded sum, and its error (Knuth)."""
    rounded = a + b
    of_b = rounded - a
    return rounded, (a - (rounded - of_b)) + (b - of_b)


def _two_product(a: Tensor, b: Tensor) -> Pair:
    """The rounded product, and its error (Dekker)."""
    rounded = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return rounded, ((a_high * b_high - rounded) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Tensor) -> Pair:
    scaled = _SPLIT * a
    high = scaled - (scaled - a)
    return high, a - high
