"""Random numbers of torch that depend on a seed only, not on what other threads do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from headstart.execution.forks import new_lock

__all__ = ["seeded"]

_RANDOM = new_lock()  # torch has one generator for all threads


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """Within the block, the random numbers of torch are those of the seed; afterwards, what they were before.

    Other threads wait: two fits at the same time give the results that each gives alone.

    >>> with seeded(0):
    ...     torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    with _RANDOM, torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        yield
