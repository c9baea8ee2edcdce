"""Images off the disk as arrays of one size, decoded ahead of whoever computes with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.data.decode import content_hash, decode, read_source
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.transforms import enough, view
from headstart.errors import ImageProblem
from headstart.scale.pool import Kind, open_pool

__all__ = ["Views", "read_views"]

_CHUNK = 8  # views a worker makes at a time: few enough to start soon, enough to make the hand-over cheap


@dataclass
class Views:
    """Views of some images of a manifest that could be read, and the images that could not."""

    rows: list[int] = field(default_factory=list)  # of the manifest, one for each view
    numbers: list[int] = field(default_factory=list)  # of the views
    images: list[NDArray[np.uint8]] = field(default_factory=list)  # (height, width, 3) each
    problems: list[tuple[int, str]] = field(default_factory=list)  # row, reason

    def add(self, other: Views) -> None:
        """Take in what another has."""
        self.rows += other.rows
        self.numbers += other.numbers
        self.images += other.images
        self.problems += other.problems

    def split(self, count: int) -> tuple[Views, Views]:
        """The first ``count`` views with all problems, and the rest."""
        return (
            Views(self.rows[:count], self.numbers[:count], self.images[:count], self.problems),
            Views(self.rows[count:], self.numbers[count:], self.images[count:]),
        )


def read_views(
    manifest: Manifest,
    rows: Sequence[int],
    spec: InputSpec,
    *,
    batch: int,
    max_pixels: int,
    workers: int | None = None,
    views: Sequence[int] | Mapping[int, Sequence[int]] = (0,),
    kind: Kind | None = None,
) -> Generator[Views, None, None]:
    """Decode the images in these rows once each, and give their views in order, ``batch`` at a time (the last fewer).

    Few more views are in memory than a batch and what the threads work on; close the iterator to stop them early. An
    image whose content is not what the manifest says is a problem too: it changed after it was inspected, and what
    is computed from it must not be kept under the old content's name.

    :param batch: views; those of one image may fall into two batches.
    :param views: numbers of the views of :func:`headstart.data.transforms.view`: those of all images, or of each row.
    :param kind: of the workers, as of :func:`headstart.scale.pool.open_pool`.
    """
    hashes = manifest.hashes
    wanted = views if isinstance(views, Mapping) else dict.fromkeys(rows, views)
    most = max(map(len, wanted.values()), default=1)
    images = max(1, _CHUNK // most)  # a chunk

    def tasks(chunk: Sequence[int]) -> list[_Task]:
        return [_Task(row, manifest.source(row), tuple(wanted[row]), hashes[row]) for row in chunk]

    def here(chunk: Sequence[int]) -> Views:
        return _made(tasks(chunk), spec, max_pixels)

    gathered = Views()
    waiting: deque[Future[Views]] = deque()
    with open_pool(len(rows), workers=workers, kind=kind) as pool:
        ahead = pool.workers + 2 * -(-batch // (images * most))
        for start in range(0, len(rows), images):
            chunk = rows[start : start + images]
            in_threads = pool.kind == "threads"
            waiting.append(
                pool.submit(here, chunk) if in_threads else pool.submit(_made, tasks(chunk), spec, max_pixels)
            )
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


class _Task(NamedTuple):
    """An image to be read, and its views that are wanted."""

    row: int
    source: Path | NDArray[Any]
    numbers: tuple[int, ...]
    expected: str | None  # the hash of its content


def _made(tasks: Sequence[_Task], spec: InputSpec, max_pixels: int) -> Views:
    made = Views()
    for task in tasks:
        made.add(_read(task, spec, max_pixels))
    return made


def _read(task: _Task, spec: InputSpec, max_pixels: int) -> Views:
    row, source, numbers, expected = task
    try:
        content = source if isinstance(source, np.ndarray) else read_source(source)
        # The evaluation view of an image that nobody inspected needs no hash: to predict goes faster without.
        key = content_hash(content) if expected is not None or max(numbers) > 0 else ""
        if expected not in (None, key):
            return Views(problems=[(row, "it changed after it was inspected")])
        picture = decode(content, max_pixels=max_pixels, least=enough(spec))
    except ImageProblem as problem:
        return Views(problems=[(row, problem.reason)])
    images = [view(picture, spec, number, key) for number in numbers]
    return Views([row] * len(images), list(numbers), images)
