"""Compute the features that the store does not have yet, in commits so small that a crash loses seconds of work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import Views, read_views
from headstart.features.store import Space
from headstart.progress import Progress

__all__ = ["extract"]

_SECONDS_A_COMMIT = 2.0

Run = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""Images (B, H, W, 3) to features (B, *shape)."""


def extract(
    manifest: Manifest,
    space: Space,
    spec: InputSpec,
    *,
    open_run: Callable[[], Run],
    batch: int,
    max_pixels: int,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Fill the space with the features of these images, each content once.

    What was computed is kept however the work ends, but for the last seconds where it is killed.

    :param manifest: inspected: each row has a content hash. Rows with a problem are passed over.
    :param open_run: makes what computes the features; called only if anything is missing.
    :returns: the manifest, in which what could not be read after all has its problem.
    :raises StoreError: the features cannot be kept.
    """
    hashes, problems = _hashes(manifest), list(manifest.problems)
    run: Run | None = None
    # More than one round only where a file changed meanwhile and another has the content that it had.
    while rows := _rows_to_read(space, hashes, problems):
        run = run or open_run()
        views = read_views(manifest, rows, spec, batch=batch, max_pixels=max_pixels, workers=workers)
        with closing(views), (progress or Progress()).stage("computing features", total=len(rows)) as advance:
            for row, reason in _fill(space, views, run, hashes, advance):
                problems[row] = reason
    space.tidy()
    return manifest.with_column("problem", problems)


def _hashes(manifest: Manifest) -> list[str]:
    hashes = manifest.usable.hashes
    if None in hashes:
        raise ValueError("the manifest must be inspected first: an image has no content hash")
    return [str(each) for each in manifest.hashes]


def _rows_to_read(space: Space, hashes: Sequence[str], problems: Sequence[str | None]) -> list[int]:
    """The first usable row of each content that the store does not have."""
    row_of = {hashes[row]: row for row in reversed(range(len(hashes))) if problems[row] is None}
    return sorted(row_of[image] for image in space.missing(list(row_of)))


def _fill(
    space: Space, batches: Iterable[Views], run: Run, hashes: Sequence[str], advance: Callable[[int], object]
) -> list[tuple[int, str]]:
    """Compute and append batch after batch; (row, reason) of what could not be read."""
    problems: list[tuple[int, str]] = []
    waiting: dict[str, NDArray[Any]] = {}
    last = time.monotonic()
    try:
        for views in batches:
            problems += views.problems
            if views.rows:
                images = [hashes[row] for row in views.rows]
                waiting.update(zip(images, run(np.stack(views.images)), strict=True))
            if time.monotonic() - last > _SECONDS_A_COMMIT:
                _commit(space, waiting)
                last = time.monotonic()
            advance(len(views.rows) + len(views.problems))
    finally:
        _commit(space, waiting)
    return problems


def _commit(space: Space, waiting: dict[str, NDArray[Any]]) -> None:
    rows = dict(waiting)
    # Before the writing, not after it: an interruption in between must not lead to the same rows being written again.
    waiting.clear()
    if rows:
        space.append(list(rows), np.stack(list(rows.values())))
