"""Images off the disk as arrays of one size, decoded by threads ahead of whoever computes with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.data.decode import content_hash, decode, read_source
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view
from headstart.errors import ImageProblem
from headstart.scale import cores

__all__ = ["Views", "read_views"]

_CHUNK = 8  # images a thread takes at a time: few enough to start soon, enough to make the hand-over cheap


@dataclass
class Views:
    """Some images of a manifest that could be read, and those that could not."""

    rows: list[int] = field(default_factory=list)  # of the manifest
    images: list[NDArray[np.uint8]] = field(default_factory=list)  # (height, width, 3) each
    problems: list[tuple[int, str]] = field(default_factory=list)  # row, reason

    def add(self, other: Views) -> None:
        """Take in what another has."""
        self.rows += other.rows
        self.images += other.images
        self.problems += other.problems

    def split(self, count: int) -> tuple[Views, Views]:
        """The first ``count`` images with all problems, and the rest."""
        return (
            Views(self.rows[:count], self.images[:count], self.problems),
            Views(self.rows[count:], self.images[count:]),
        )


def read_views(
    manifest: Manifest,
    rows: Sequence[int],
    spec: InputSpec,
    *,
    batch: int,
    max_pixels: int,
    workers: int | None = None,
) -> Generator[Views, None, None]:
    """Decode the images in these rows, in order, ``batch`` at a time (the last may be fewer).

    Few more images are in memory than a batch and what the threads work on; close the iterator to stop them early. An
    image whose content is not what the manifest says is a problem too: it changed after it was inspected, and what
    is computed from it must not be kept under the old content's name.
    """
    threads = workers or cores()
    hashes = manifest.hashes

    def read(chunk: Sequence[int]) -> Views:
        views = Views()
        for row in chunk:
            views.add(_read(manifest, row, hashes[row], spec, max_pixels))
        return views

    chunks = (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))
    ahead = threads + 2 * -(-batch // _CHUNK)
    waiting: deque[Future[Views]] = deque()
    gathered = Views()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="headstart-decode")
    try:
        for chunk in chunks:
            waiting.append(pool.submit(read, chunk))
            if len(waiting) < ahead:
                continue
            gathered.add(waiting.popleft().result())
            while len(gathered.rows) >= batch:
                full, gathered = gathered.split(batch)
                yield full
        while waiting or gathered.rows or gathered.problems:
            while waiting and len(gathered.rows) < batch:
                gathered.add(waiting.popleft().result())
            full, gathered = gathered.split(batch)
            yield full
    finally:
        # A consumer that stops early, or Ctrl-C, does not wait for what nobody will use.
        pool.shutdown(wait=True, cancel_futures=True)


def _read(manifest: Manifest, row: int, expected: str | None, spec: InputSpec, max_pixels: int) -> Views:
    source = manifest.source(row)
    try:
        content = source if isinstance(source, np.ndarray) else read_source(source)
        if expected is not None and content_hash(content) != expected:
            return Views(problems=[(row, "it changed after it was inspected")])
        return Views([row], [evaluation_view(decode(content, max_pixels=max_pixels), spec)])
    except ImageProblem as problem:
        return Views(problems=[(row, problem.reason)])
