"""Compute the features that the store does not have yet, in commits so small that a crash loses seconds of work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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


def extract(  # noqa: PLR0913 - each is a fact of its own, and all but three have names
    manifest: Manifest,
    space: Space,
    spec: InputSpec,
    *,
    open_run: Callable[[], Run],
    batch: int,
    max_pixels: int,
    workers: int | None = None,
    progress: Progress | None = None,
    views: Sequence[int] = (0,),
) -> Manifest:
    """Fill the space with the features of these views of these images, each content once.

    An image is decoded once for all of its views that are missing. What was computed is kept however the work ends,
    but for the last seconds where it is killed.

    :param manifest: inspected: each row has a content hash. Rows with a problem are passed over.
    :param open_run: makes what computes the features; called only if anything is missing.
    :param views: numbers, as of :func:`headstart.data.transforms.view`.
    :returns: the manifest, in which what could not be read after all has its problem.
    :raises StoreError: the features cannot be kept.
    """
    hashes, problems = _hashes(manifest), list(manifest.problems)
    run: Run | None = None
    # More than one round only where a file changed meanwhile and another has the content that it had.
    while wanted := _wanted(space, hashes, problems, views):
        run = run or open_run()
        batches = read_views(
            manifest, sorted(wanted), spec, batch=batch, max_pixels=max_pixels, workers=workers, views=wanted
        )
        total = sum(map(len, wanted.values()))
        with closing(batches), (progress or Progress()).stage("computing features", total=total) as advance:
            for row, reason in _fill(space, batches, run, wanted, hashes, advance):
                problems[row] = reason
    space.tidy()
    return manifest.with_column("problem", problems)


def _hashes(manifest: Manifest) -> list[str]:
    hashes = manifest.usable.hashes
    if None in hashes:
        raise ValueError("the manifest must be inspected first: an image has no content hash")
    return [str(each) for each in manifest.hashes]


def _wanted(
    space: Space, hashes: Sequence[str], problems: Sequence[str | None], views: Sequence[int]
) -> dict[int, list[int]]:
    """The first usable row of each content of which the store lacks a view, with the numbers of the views it lacks."""
    row_of = {hashes[row]: row for row in reversed(range(len(hashes))) if problems[row] is None}
    return {row_of[image]: numbers for image, numbers in space.missing_views(list(row_of), views).items()}


def _fill(
    space: Space,
    batches: Iterable[Views],
    run: Run,
    wanted: Mapping[int, Sequence[int]],
    hashes: Sequence[str],
    advance: Callable[[int], object],
) -> list[tuple[int, str]]:
    """Compute and append batch after batch; (row, reason) of what could not be read."""
    problems: list[tuple[int, str]] = []
    waiting: dict[tuple[int, str], NDArray[Any]] = {}  # by view and image
    last = time.monotonic()
    try:
        for views in batches:
            problems += views.problems
            if views.rows:
                keys = [(number, hashes[row]) for number, row in zip(views.numbers, views.rows, strict=True)]
                waiting.update(zip(keys, run(np.stack(views.images)), strict=True))
            if time.monotonic() - last > _SECONDS_A_COMMIT:
                _commit(space, waiting)
                last = time.monotonic()
            advance(len(views.rows) + sum(len(wanted[row]) for row, _ in views.problems))
    finally:
        _commit(space, waiting)
    return problems


def _commit(space: Space, waiting: dict[tuple[int, str], NDArray[Any]]) -> None:
    # View by view, as they are read: a pass over one finds long runs of rows. All in one commit, since each costs time.
    rows = sorted(waiting.items(), key=lambda each: each[0][0])
    # Before the writing, not after it: an interruption in between must not lead to the same rows being written again.
    waiting.clear()
    if rows:
        numbers, images = zip(*(key for key, _ in rows), strict=True)
        space.append(images, np.stack([features for _, features in rows]), view=numbers)
