"""What is wrong with the images: each is read once, and those that cannot be used are set aside by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from headstart.data.decode import MAX_PIXELS, Inspection, inspect
from headstart.data.manifest import Manifest
from headstart.data.seen import Seen, stamp
from headstart.errors import DataError, TooManyProblems
from headstart.progress import Progress
from headstart.scale import cores

__all__ = ["inspect_all", "refuse_if_too_many"]

_CHUNK = 16  # images a thread takes at a time: handing over one by one costs as much as a small image


def inspect_all(
    manifest: Manifest,
    *,
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    seen: Seen | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Fill in width, height, bytes, hash and problem of every row. Rows keep their order; no pixels are kept.

    ``workers`` is the number of threads: by default two for each processor, since some wait for the disk. Files that
    ``seen`` knows, and that have not changed since, are not read; it learns of the others.
    """
    look = partial(_looked_at, manifest, max_pixels, workers, progress or Progress())
    found = look(range(len(manifest))) if seen is None else _remembered(seen, manifest, max_pixels, look)
    for name in ("width", "height", "bytes", "hash", "problem"):
        manifest = manifest.with_column(name, [getattr(inspection, name) for inspection in found])
    return manifest


def refuse_if_too_many(manifest: Manifest, *, most: float = 0.1) -> None:
    """Go on only if at most the share ``most`` of the images has a problem.

    TooManyProblems: more have; the text lists them. DataError: none is usable.
    """
    bad = manifest.unusable
    if len(bad) == len(manifest):
        raise DataError(f"none of the {len(manifest):,} images can be used{_listed(bad)}")
    share = len(bad) / len(manifest)
    if share > most:
        text = f"{len(bad):,} of {len(manifest):,} images cannot be used ({share:.1%})"
        raise TooManyProblems(f"{text}; at most {most:.1%} may be (--max-problems){_listed(bad)}")


def _remembered(
    seen: Seen, manifest: Manifest, max_pixels: int, look: Callable[[Sequence[int]], list[Inspection]]
) -> list[Inspection]:
    """Of every row: what is known already, and for the others a look."""
    uris, sources = manifest.uris, map(manifest.source, range(len(manifest)))
    stamps = [stamp(source) if isinstance(source, Path) else None for source in sources]
    found = [
        None if known is None or (known.width or 0) * (known.height or 0) > max_pixels else known
        for known in seen.find(uris, stamps)
    ]
    rows = [row for row, known in enumerate(found) if known is None]
    new = look(rows) if rows else []
    seen.keep([uris[row] for row in rows], [stamps[row] for row in rows], new)
    by_row = dict(zip(rows, new, strict=True))
    return [by_row[row] if known is None else known for row, known in enumerate(found)]


def _looked_at(
    manifest: Manifest, max_pixels: int, workers: int | None, progress: Progress, rows: Sequence[int]
) -> list[Inspection]:
    """In threads; in the rows' order."""

    def look(chunk: Sequence[int]) -> list[Inspection]:
        return [inspect(manifest.source(row), max_pixels=max_pixels) for row in chunk]

    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    found: list[Inspection] = []
    with (
        progress.stage("checking", total=len(rows), unit="image") as advance,
        ThreadPoolExecutor(workers or 2 * cores()) as pool,
    ):
        for inspections in pool.map(look, chunks):
            found += inspections
            advance(len(inspections))
    return found


def _listed(bad: Manifest, first: int = 20) -> str:
    lines = [f"\n  {uri}: {problem}" for uri, problem in zip(bad.uris[:first], bad.problems[:first], strict=True)]
    more = f"\n  and {len(bad) - first:,} more, see problems.csv" if len(bad) > first else ""
    return ":" * bool(lines) + "".join(lines) + more
