"""What the C library does with memory that is freed: kept for the next step, and given back after the last.

A step of training allocates and frees the same tens of megabytes again and again. glibc hands freed memory back to the
system at once where a block is large or lies at the end of the heap, and the system fills each page with zeros when it
is asked for again: of a step of the tutorial's last 20 layers that was a seventh (benchmarks/allocating.py). On the
other hand glibc keeps small gaps for ever. So within :func:`held` nothing is handed back, and :func:`give_back` hands
back all. Other C libraries are left alone.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

__all__ = ["give_back", "held"]

# Of mallopt(3). Beyond 32 MiB glibc takes no threshold, and what it learns by itself ends there and at twice as much.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE, _NEVER = 32 << 20, (1 << 31) - 1


@contextmanager
def held() -> Iterator[None]:
    """Within, what is freed stays with the process; after it, glibc's rule is what long use would have made of it.

    >>> with held():
    ...     bytearray(1 << 20).count(0)
    1048576
    """
    _set(_NEVER)
    try:
        yield
    finally:
        _set(2 * _LARGE)
        give_back()


def give_back() -> None:
    """Hand freed memory back to the system: between stages that need unlike amounts; it takes milliseconds."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _set(trim: int) -> None:
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, trim)


@cache
def _glibc() -> Any | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
