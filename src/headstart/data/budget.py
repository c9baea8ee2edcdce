"""A bound on the memory of the pixels that this process decodes at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from headstart.execution import available_cores
from headstart.execution.memory import trim_heap

__all__ = ["DECODING", "MemoryBudget"]

_PER_CORE = 320 << 20
"""Bytes; a photograph of 40 megapixels with 4 bytes per pixel, twice: as it was decoded, and converted to RGB."""


_LARGE = 64 << 20
"""Bytes; decoding as much takes so long that a millisecond more does not matter."""


class MemoryBudget:
    """So many bytes that threads share. A thread that asks for more than are free waits until others give theirs back.

    Only large images ever wait. No image has more than three quarters of the budget, however large it is: no other
    large one is decoded beside it, but small ones are.

    >>> budget = MemoryBudget(100)
    >>> with budget.hold(70), budget.hold(30):
    ...     budget.used
    100
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._reset()

    def _reset(self) -> None:
        self._free = threading.Condition()
        # In the order in which they asked, so that small images do not pass large ones.
        self._waiting: list[object] = []
        self.used = 0

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Take ``amount`` bytes for the length of the block. Not to be nested in one thread: it may wait for itself."""
        large, amount, turn = amount >= _LARGE, min(amount, self.limit - self.limit // 4), object()
        with self._free:
            self._waiting.append(turn)
            try:
                self._free.wait_for(lambda: self._waiting[0] is turn and self.used + amount <= self.limit)
                self.used += amount
            finally:
                self._waiting.remove(turn)
                self._free.notify_all()
        if large:
            trim_heap()  # of the large images before, which the allocator keeps for the thread that freed them
        try:
            yield
        finally:
            with self._free:
                self.used -= amount
                self._free.notify_all()


DECODING = MemoryBudget(_PER_CORE * available_cores())
"""The budget of :func:`headstart.data.decode.decoded`."""

if hasattr(os, "register_at_fork"):
    # A process forked while a thread decodes has neither that thread nor its bytes.
    os.register_at_fork(after_in_child=DECODING._reset)
