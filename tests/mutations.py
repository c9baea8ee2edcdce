"""Damage to documents: single bits, cut ends, and single fields of JSON changed by their type."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def bytes_of(path: Path, count: int, *, seed: int = 0) -> Iterator[bytes]:
    """The content of a file with one bit flipped, ``count`` times; then cut, zeroed at the end, and with more bytes."""
    data = path.read_bytes()
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, 8 * len(data), count).tolist():
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        yield bytes(changed)
    for length in sorted({0, 1, len(data) // 2, len(data) - 1}):
        yield data[:length]
        yield data[:length] + bytes(len(data) - length)
    yield data + data[-7:]


def texts_of(path: Path) -> Iterator[tuple[str, str]]:
    """(dotted name of a field, the JSON document with that field changed)."""
    document = json.loads(path.read_text(encoding="utf-8"))
    for place, value in _fields(document, ()):
        for other in _others(value):
            changed = copy.deepcopy(document)
            _put(changed, place, other)
            yield ".".join(map(str, place)), json.dumps(changed)
        removed = copy.deepcopy(document)
        _put(removed, place, None, remove=True)
        yield ".".join(map(str, place)), json.dumps(removed)


def _fields(value: Any, place: tuple[Any, ...], depth: int = 3) -> Iterator[tuple[tuple[Any, ...], Any]]:
    children = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    if place:
        yield place, value
    if len(place) < depth:
        for key, child in children[:4] if isinstance(value, list) else children:
            yield from _fields(child, (*place, key), depth)


def _others(value: Any) -> list[Any]:
    common = [None, {}, [], "", "no", True, 0, -1, 1e-9, 10**9, math.nan, math.inf, [value], {"a": value}, str(value)]
    if isinstance(value, bool):
        common += [not value, int(value)]
    elif isinstance(value, int | float):
        common += [value + 1, value * 2, -value, float(value) + 0.5]
    elif isinstance(value, str):
        common += [value + " ", value.upper(), value[1:]]
    elif isinstance(value, list):
        common += [value[::-1], value + value, value[1:], list(range(len(value))), [None] * len(value)]
    elif isinstance(value, dict):
        common += [{**value, "another": 1}]
    return [other for other in common if type(other) is not type(value) or other != value]


def _put(document: Any, place: tuple[Any, ...], value: Any, *, remove: bool = False) -> None:
    for key in place[:-1]:
        document = document[key]
    if remove:
        del document[place[-1]]
    else:
        document[place[-1]] = value
