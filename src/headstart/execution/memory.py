"""Whether the C library keeps freed memory for the next step, and when it returns it to the system.

A training step allocates and frees the same tens of megabytes again and again. glibc returns freed memory to the system
at once where a block is large or lies at the end of the heap, and the system fills each page with zeros when it is
requested again: in the tutorial's last 20 layers that took a seventh of each step (benchmarks/speed/heap_reuse.py). On
the other hand, glibc never returns small gaps, and 2.36 hardly uses a freed aligned block, as torch's are, for another
one of its size. So within :func:`retain_heap` nothing is returned, and :func:`trim_heap` returns everything,
also what Arrow keeps in its own heap. Besides, glibc gives threads heaps of their own, of which each keeps what it once
needed: hundreds of megabytes in a fit from nothing (benchmarks/scale/growth.py; with ``MALLOC_ARENA_MAX`` set to 16 as
without :func:`share_heaps`).

Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["retain_heap", "share_heaps", "trim_heap"]

# Parameters of mallopt(3). glibc accepts no mmap threshold above 32 MiB, and its dynamic thresholds end there (mmap)
# and at twice as much (trim).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE, _NEVER = 32 << 20, (1 << 31) - 1
_HEAPS = 2


@contextmanager
def retain_heap() -> Iterator[None]:
    """Keep freed memory in the process within the block.

    After the block, glibc's thresholds are those that its dynamic rule would have reached after long use.

    >>> with retain_heap():
    ...     bytearray(1 << 20).count(0)
    1048576
    """
    _set(_NEVER)
    try:
        yield
    finally:
        _set(2 * _LARGE)
        trim_heap()


def trim_heap() -> None:
    """Return freed memory to the system: between stages that need different amounts. It takes milliseconds."""
    if (arrow := sys.modules.get("pyarrow")) is not None:  # which takes a while to import
        arrow.default_memory_pool().release_unused()
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def share_heaps() -> None:
    """Let all threads of this process allocate from two heaps, unless a person has set how many there may be.

    For the beginning of a process: glibc looks at it once, when there are more threads than heaps.
    """
    library = _glibc()
    if library is not None and "MALLOC_ARENA_MAX" not in os.environ:
        library.mallopt(_ARENA_MAX, _HEAPS)


def _set(trim_threshold: int) -> None:
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, trim_threshold)


@cache
def _glibc() -> Any | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
