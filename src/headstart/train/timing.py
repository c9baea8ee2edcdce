"""How long a step takes, for forecasts."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

__all__ = ["fastest"]

_REPEATS = 3


def fastest(step: Callable[[], None], device: str) -> float:
    """Run ``step`` once to warm up and then a few times; return the seconds of the fastest run.

    >>> fastest(lambda: None, "cpu") < 1
    True
    """
    durations = []
    for _ in range(1 + _REPEATS):
        start = time.monotonic()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        durations.append(time.monotonic() - start)
    return min(durations[1:])
