"""Learning rates as pure functions of the step."""

from __future__ import annotations

import math

__all__ = ["rate"]


def rate(step: int, *, steps: int, highest: float, schedule: str) -> float:
    """The learning rate of a step, counted from 0.

    "cosine" falls from ``highest`` to nearly 0 over ``steps`` (Loshchilov and Hutter 2017, without restarts).

    >>> [round(rate(step, steps=4, highest=1.0, schedule="cosine"), 2) for step in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    if schedule == "constant":
        return highest
    return highest * 0.5 * (1 + math.cos(math.pi * step / steps))
