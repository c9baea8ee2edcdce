"""Large arrays that are needed for a while, in temporary files."""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["LARGE", "scratch_array"]

LARGE = 1 << 26
"""Bytes from which on an array is in a file."""


def scratch_array(shape: tuple[int, ...], dtype: DTypeLike, folder: Path) -> NDArray[Any]:
    """Make an array whose values are still to be written: in memory, or a large one in a temporary file in a folder.

    Where memory gets short, the system writes the pages of a file to disk and reads them again, as it does with every
    file that it caches; the heap of a process stays in memory, or without swap space ends the process. The file has no
    name, and is gone with the array. Where the disk has no space for it, the array is in memory.

    >>> scratch_array((2, 3), np.float16, Path()).shape
    (2, 3)
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > LARGE and hasattr(os, "posix_fallocate"):
        with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
            # Now, since a write to a mapped page for which there is no space ends the process.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, dtype, "r+", shape=shape)
    return np.empty(shape, dtype)
