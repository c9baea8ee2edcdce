"""Black and white of pixels that are not 8-bit: one scale per type of values for a whole set of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headstart.description import Guess

__all__ = ["ANY", "PixelValues", "RangeChoice", "ValueRange", "choose_ranges", "full_range", "range_of"]

ANY = "any"
"""The type of a range that a person gave: of all pixels that are not 8-bit."""

OPTION = "--value-range"

_FULL = {
    "int8": (-128.0, 127.0),
    "uint12": (0.0, 4095.0),
    "uint16": (0.0, 65535.0),
    "int16": (-32768.0, 32767.0),
    # Programs write 16-bit values in this form; at the full range nearly all of them would be black.
    "uint32": (0.0, 65535.0),
    "int32": (0.0, 65535.0),
}
_WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)  # 8, 10, 12, 14 and 16 bits
_OVERSHOOT = 0.02  # of white, by which floats pass it after resampling or sharpening
_SHARE = 0.01  # of the images, which may be brighter (or darker) than the range: the defects of a set
_APART = 3.5  # ratio of two brightest values between which bit depths differ; 12 and 14 bits differ by 4


@dataclass(frozen=True)
class ValueRange:
    """The values that are black and white in images of one type; those outside are clipped.

    ``dtype`` is "int8", "uint12" (packed TIFF), "uint16", "int16", "uint32", "int32", "float" (of any precision), or
    "any". Pixels of 8 bits have no range: they are taken as they are.
    """

    dtype: str
    low: float
    high: float

    def __str__(self) -> str:
        """The line that a person reads."""
        kind = "" if self.dtype == ANY else f"{self.dtype}, "
        return f"pixel values: {kind}{self.low:.10g} to {self.high:.10g} is black to white"


@dataclass(frozen=True)
class PixelValues:
    """What is known of the values of one image that is not 8-bit.

    ``low`` and ``high`` are black and white if the file states them; otherwise the 0.1 and 99.9 % quantiles of the
    values, so that a few defective pixels do not count, or None if no value is valid.
    """

    dtype: str
    low: float | None
    high: float | None
    stated: bool = False


@dataclass(frozen=True)
class RangeChoice:
    """The ranges of a set of images, and how sure they are."""

    ranges: tuple[ValueRange, ...]
    guessed: frozenset[str] = frozenset()  # types whose range another reading fits as well
    warnings: tuple[str, ...] = ()

    @property
    def guesses(self) -> tuple[Guess, ...]:
        """The ranges that were guessed."""
        return tuple(Guess(str(each), OPTION) for each in self.ranges if each.dtype in self.guessed)

    def lines(self) -> list[str]:
        """One line per range, for a person.

        >>> RangeChoice((ValueRange("uint16", 0, 4095),), frozenset({"uint16"})).lines()
        ['pixel values: uint16, 0 to 4095 is black to white (guessed; --value-range settles it)']
        """
        return [str(Guess(str(each), OPTION) if each.dtype in self.guessed else each) for each in self.ranges]


def full_range(dtype: str) -> ValueRange:
    """Return the range where nothing is known of the set: [0, 1] for floats, else all values that the type has.

    Of 32-bit integers, those of 16 bits.

    >>> full_range("uint16").high, full_range("float").high
    (65535.0, 1.0)
    """
    return ValueRange(dtype, *_FULL.get(dtype, (0.0, 1.0)))


def range_of(dtype: str, ranges: Sequence[ValueRange]) -> ValueRange:
    """Return the range of a type: the one that is given, else the full one."""
    return next((each for each in ranges if each.dtype in (dtype, ANY)), full_range(dtype))


def choose_ranges(images: Iterable[PixelValues | None]) -> RangeChoice:
    """Choose one range per type of values.

    What all files state settles it. Otherwise the range is that of the set, without its darkest and brightest images
    (1 % each): the white of 8, 10, 12, 14 or 16 bits (for floats also 1) that is the next one above it, where the set
    fills a fair part of that range; else the range of the values themselves.

    :param images: the values of each image; None for images of 8 bits.

    >>> choose_ranges([PixelValues("uint16", 20, 3900), PixelValues("uint16", 0, 4091), None]).ranges
    (ValueRange(dtype='uint16', low=0.0, high=4095.0),)
    """
    by_dtype: dict[str, list[PixelValues]] = {}
    for each in images:
        if each is not None and each.low is not None and each.high is not None:
            by_dtype.setdefault(each.dtype, []).append(each)
    ranges, guessed, warnings = [], set(), []
    for dtype, found in sorted(by_dtype.items()):
        bounds = np.array([(each.low, each.high) for each in found], np.float64)
        if all(each.stated for each in found):
            ranges.append(ValueRange(dtype, float(bounds[:, 0].min()), float(bounds[:, 1].max())))
            continue
        low = float(np.quantile(bounds[:, 0], _SHARE, method="lower"))
        high = float(np.quantile(bounds[:, 1], 1 - _SHARE, method="higher"))
        chosen = _fitting(dtype, low, high)
        ranges.append(chosen)
        if not _is_evident(chosen, high):
            guessed.add(dtype)
        warnings += _doubts(chosen, bounds[:, 1])
    return RangeChoice(tuple(ranges), frozenset(guessed), tuple(warnings))


def _fitting(dtype: str, low: float, high: float) -> ValueRange:
    floats = dtype == "float"
    tolerance = _OVERSHOOT if floats else 0.0
    largest = _FULL.get(dtype, (0.0, np.inf))[1]
    for white in (1.0, *_WHITES) if floats else _WHITES:
        if high > white * (1 + tolerance) or white > largest:
            continue
        spread = high - max(low, 0.0)
        if low >= -white * tolerance and high >= white / 16 and spread >= high / 8:
            return ValueRange(dtype, 0.0, white)
        break  # the next white is even farther from these values
    if 0 <= low < high / 8:
        low = 0.0
    return ValueRange(dtype, low, high) if high > low else full_range(dtype)


def _is_evident(chosen: ValueRange, high: float) -> bool:
    """Whether the brightest values are so close to the largest of their type that no other white is likely."""
    return chosen == full_range(chosen.dtype) and chosen.dtype in ("uint16", "int16") and high > chosen.high / 2


def _doubts(chosen: ValueRange, brightest: npt.NDArray[np.float64]) -> list[str]:
    ordered = np.sort(brightest[brightest > 0])
    above = int((brightest > chosen.high * (1 + _OVERSHOOT)).sum())
    doubts = []
    if above:
        more = f"{above:,} of {len(brightest):,} {chosen.dtype} images go above {chosen.high:.10g}"
        doubts.append(f"{more} and are clipped there; {OPTION} sets another range")
    some = max(2, len(ordered) // 20)  # on either side of the gap: a single image is no second kind
    steps = [row for row in range(some, len(ordered) - some + 1) if ordered[row] > _APART * ordered[row - 1]]
    if steps:
        dim, bright = steps[-1], len(ordered) - steps[-1]
        doubts.append(
            f"the {chosen.dtype} images have two ranges: {dim:,} end at {ordered[dim - 1]:.10g} or below, {bright:,} "
            f"at {ordered[dim]:.10g} or above. All are read as {chosen.low:.10g} to {chosen.high:.10g}: if they were "
            "recorded with different bit depths, convert them to one"
        )
    return doubts
