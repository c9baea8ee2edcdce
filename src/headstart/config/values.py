"""Settings whose values are texts of their own form: how they are parsed, and what is wrong with a value."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = [
    "mistake_in_cluster",
    "mistake_in_feature_store",
    "mistake_in_kernel",
    "mistake_in_mean",
    "mistake_in_pattern",
    "mistake_in_stages",
    "mistake_in_std",
    "mistake_in_value_range",
    "three_numbers",
    "two_numbers",
]

_STAGES = re.compile(r"auto|none|(?:late|all):(\d+(?:\.\d+)?)")
_CLUSTER = re.compile(r"auto|local:[1-9][0-9]{0,3}|(ray://)?(?!local:)[^\s/:]+:[0-9]{1,5}")
_STORE = re.compile(r"(?:s3|gs)://[^/]+/.*[^/].*|(?!.*://).+", re.DOTALL)  # not the whole bucket
_KERNEL = re.compile(r"auto|none|rbf:(\d+(?:\.\d+)?)")


def mistake_in_pattern(text: Any) -> str | None:
    """What is wrong with a regular expression; None if nothing is.

    >>> mistake_in_pattern("patient(")
    "group_pattern must be a regular expression, got 'patient(': missing ), unterminated subpattern at position 7"
    """
    try:
        re.compile(text)
    except (re.error, TypeError) as error:
        return f"group_pattern must be a regular expression, got {text!r}: {error}"
    return None


def three_numbers(text: str) -> tuple[float, float, float]:
    """Parse values of red, green and blue.

    :raises ValueError: the text is not three finite numbers separated by commas.

    >>> three_numbers("0.485, 0.456, 0.406")
    (0.485, 0.456, 0.406)
    """
    red, green, blue = (float(part) for part in text.split(","))
    if not all(map(math.isfinite, (red, green, blue))):
        raise ValueError(text)
    return red, green, blue


def two_numbers(text: str) -> tuple[float, float]:
    """Parse a range.

    :raises ValueError: the text is not two finite numbers separated by a comma, the lower one first.

    >>> two_numbers("0,4095")
    (0.0, 4095.0)
    """
    low, high = (float(part) for part in text.split(","))
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(text)
    return low, high


def mistake_in_mean(value: Any) -> str | None:
    """What is wrong with a value of ``mean``; None if nothing is."""
    try:
        three_numbers(value)
    except (ValueError, AttributeError):
        return f"mean must be three numbers for red, green and blue, for example 0.485,0.456,0.406, got {value!r}"
    return None


def mistake_in_std(value: Any) -> str | None:
    """What is wrong with a value of ``std``; None if nothing is."""
    try:
        positive = min(three_numbers(value)) > 0
    except (ValueError, AttributeError):
        positive = False
    expected = "three numbers above 0 for red, green and blue, for example 0.229,0.224,0.225"
    return None if positive else f"std must be {expected}, got {value!r}"


def mistake_in_value_range(value: Any) -> str | None:
    """What is wrong with a value of ``value_range``; None if nothing is."""
    try:
        two_numbers(value)
    except (ValueError, AttributeError):
        return f"value_range must be two numbers, the lower one first, for example 0,4095, got {value!r}"
    return None


def mistake_in_cluster(value: Any) -> str | None:
    """What is wrong with a value of ``cluster``; None if nothing is."""
    if isinstance(value, str) and _CLUSTER.fullmatch(value):
        return None
    return f"cluster must be auto, local:N, ray://HOST:PORT or HOST:PORT, got {value!r}"


def mistake_in_feature_store(value: Any) -> str | None:
    """What is wrong with a value of ``feature_store``; None if nothing is."""
    if isinstance(value, str) and _STORE.fullmatch(value):
        return None
    return f"feature_store must be a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, got {value!r}"


def mistake_in_stages(value: Any) -> str | None:
    """What is wrong with a value of ``stages``; None if nothing is."""
    found = _STAGES.fullmatch(value) if isinstance(value, str) else None
    if found and (found[1] is None or float(found[1]) > 0):
        return None
    expected = "auto, none, late:WEIGHT or all:WEIGHT with a weight above 0, for example late:0.5"
    return f"stages must be {expected}, got {value!r}"


def mistake_in_kernel(value: Any) -> str | None:
    """What is wrong with a value of ``kernel``; None if nothing is."""
    found = _KERNEL.fullmatch(value) if isinstance(value, str) else None
    if found and (found[1] is None or float(found[1]) > 0):
        return None
    return f"kernel must be auto, none or rbf:GAMMA with a gamma above 0, for example rbf:0.2, got {value!r}"
