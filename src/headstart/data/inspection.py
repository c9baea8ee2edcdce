"""Find the images that cannot be used: each is read once, and those with a problem are set aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import pyarrow as pa

from headstart.data.decode import MAX_PIXELS, Inspection, inspect
from headstart.data.image_map import map_images
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.data.value_range import ValueRange
from headstart.errors import DataError, TooManyProblems
from headstart.events import Events
from headstart.execution.memory import trim_heap

__all__ = ["check_problem_share", "inspect_all"]

_BLOCK = 100_000  # images whose inspections are Python objects at the same time, of a kilobyte each


def inspect_all(
    manifest: Manifest,
    *,
    max_pixels: int = MAX_PIXELS,
    value_ranges: Sequence[ValueRange] = (),
    workers: int | None = None,
    cache: InspectionCache | None = None,
    events: Events | None = None,
) -> Manifest:
    """Fill in width, height, bytes, hash, problem and values of every row. The order is kept; no pixels are.

    Of more than 100,000 images, these are inspected, and added to the cache, 100,000 after 100,000. However this ends,
    the cache is written; a process that is killed loses a fifth of it at most.

    :param value_ranges: those that are given; with one for floats, arrays of floats need not be in [0, 1].
    :param workers: threads; by default two per core, since some wait for the disk. Of many small images, processes, by
        default one per core.
    :param cache: images that it knows and that have not changed since are not read; the others are added to it.
    """
    look = partial(inspect, max_pixels=max_pixels, value_ranges=value_ranges)
    inspected = []
    try:
        for start in range(0, len(manifest) or 1, _BLOCK):
            block = Manifest(manifest.table.slice(start, _BLOCK), manifest.arrays)
            inspect_rows = partial(map_images, look, block, stage="checking", workers=workers, events=events)
            if cache is None:
                found = inspect_rows(range(len(block)))
            else:
                found = _inspect_with_cache(cache, block, max_pixels, inspect_rows)
            inspected.append(_with_inspections(block, found).table)
            if len(manifest) > _BLOCK:
                trim_heap()  # of the Python objects
    finally:
        if cache is not None:
            cache.write()
    return Manifest(pa.concat_tables(inspected), manifest.arrays, manifest.description, manifest.corrections)


def _with_inspections(block: Manifest, found: Sequence[Inspection]) -> Manifest:
    for name in ("width", "height", "bytes", "hash", "problem"):
        block = block.with_column(name, [getattr(inspection, name) for inspection in found])
    return block.with_column("values", [None if each.values is None else asdict(each.values) for each in found])


def check_problem_share(manifest: Manifest, *, max_share: float = 0.1) -> None:
    """Check that enough images of an inspected manifest can be used.

    :raises TooManyProblems: a larger share than ``max_share`` has a problem; the text lists them.
    :raises DataError: none can be used.
    """
    bad = manifest.unusable
    if len(bad) == len(manifest):
        raise DataError(f"none of the {len(manifest):,} images can be used{_listing(bad)}")
    share = len(bad) / len(manifest)
    if share > max_share:
        text = f"{len(bad):,} of {len(manifest):,} images cannot be used ({share:.1%})"
        raise TooManyProblems(f"{text}; at most {max_share:.1%} are allowed (--max-problems){_listing(bad)}")


def _inspect_with_cache(
    cache: InspectionCache,
    manifest: Manifest,
    max_pixels: int,
    inspect_rows: Callable[[Sequence[int]], list[Inspection]],
) -> list[Inspection]:
    """The inspection of every row: from the cache, and of the others by reading them."""
    uris = manifest.uris
    stamps = [manifest.source(row).stamp() for row in range(len(manifest))]
    found = [
        None if known is None or (known.width or 0) * (known.height or 0) > max_pixels else known
        for known in cache.find(uris, stamps)
    ]
    rows = [row for row, known in enumerate(found) if known is None]
    new = inspect_rows(rows) if rows else []
    cache.add([uris[row] for row in rows], [stamps[row] for row in rows], new)
    by_row = dict(zip(rows, new, strict=True))
    return [by_row[row] if known is None else known for row, known in enumerate(found)]


def _listing(bad: Manifest, first: int = 20) -> str:
    lines = [f"\n  {uri}: {problem}" for uri, problem in zip(bad.uris[:first], bad.problems[:first], strict=True)]
    more = f"\n  and {len(bad) - first:,} more: headstart check PHOTOS lists all of them" if len(bad) > first else ""
    return ":" * bool(lines) + "".join(lines) + more
