"""What a machine can do at all: matrix products, copies in memory, JPEGs decoded by Pillow, files read from disk."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from benchmarks.harness import Figures, spread, times_of
from PIL import Image

CORES = len(os.sched_getaffinity(0))


def measure_limits(files: dict[str, list[Path]], times: int) -> Figures:
    """GFLOP/s, GB/s, JPEGs per second on one core and on all, and MB/s from disk.

    :param files: JPEG files by the name of their data set.
    """
    found: Figures = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        seconds = times_of(lambda a=a, b=b: a @ b, times)  # type: ignore[misc]
        found[f"matmul_{name}_gflops"] = spread([round(2 * 2048**3 / each / 1e9, 1) for each in seconds])
    source = torch.ones(1 << 27)  # 512 MB, larger than any cache
    target = torch.empty_like(source)
    seconds = times_of(lambda: target.copy_(source), times)
    found["copy_gb_per_s"] = spread([round(2 * source.nbytes / each / 1e9, 2) for each in seconds])
    for data, paths in files.items():
        contents = [path.read_bytes() for path in paths]
        for cores in sorted({1, CORES}):
            seconds = times_of(lambda c=contents, n=cores: map_over(decode_with_pillow, c, n), times)  # type: ignore[misc]
            found[f"jpeg_{data}_{cores}_cores_per_s"] = spread([round(len(paths) / each, 1) for each in seconds])
        total = sum(map(len, contents))
        found[f"disk_{data}_mb_per_s"] = spread([round(total / each / 1e6, 1) for each in disk_times(paths, times)])
    return found


def disk_times(paths: list[Path], times: int) -> list[float]:
    """Seconds to read all files, with none of them in the page cache."""
    seconds = []
    for _ in range(times):
        drop_from_page_cache(paths)
        start = time.perf_counter()
        map_over(Path.read_bytes, paths, CORES)
        seconds.append(time.perf_counter() - start)
    return seconds


def map_over(work: Callable[[Any], object], items: Sequence[Any], cores: int) -> None:
    """Call ``work`` with each item, on ``cores`` threads."""
    if cores == 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(cores) as pool:
        for _ in pool.map(lambda number: [work(item) for item in items[number::cores]], range(cores)):
            pass


def decode_with_pillow(content: bytes) -> None:
    """The decoder alone."""
    Image.open(io.BytesIO(content)).load()


def drop_from_page_cache(paths: list[Path]) -> None:
    """Ask the system to drop these files from memory."""
    for path in paths:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
