"""What is wrong with the images: each is read once, and those that cannot be used are set aside by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from headstart.data.decode import MAX_PIXELS, Inspection, inspect
from headstart.data.manifest import Manifest
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
    progress: Progress | None = None,
) -> Manifest:
    """Fill in width, height, bytes, hash and problem of every row. Rows keep their order; no pixels are kept.

    ``workers`` is the number of threads: by default two for each processor, since some wait for the disk.
    """
    look = partial(_look, manifest, max_pixels)
    chunks = [range(start, min(start + _CHUNK, len(manifest))) for start in range(0, len(manifest), _CHUNK)]
    seen: list[Inspection] = []
    with (
        (progress or Progress()).stage("checking", total=len(manifest), unit="image") as advance,
        ThreadPoolExecutor(workers or 2 * cores()) as pool,
    ):
        for inspections in pool.map(look, chunks):
            seen += inspections
            advance(len(inspections))
    for name in ("width", "height", "bytes", "hash", "problem"):
        manifest = manifest.with_column(name, [getattr(inspection, name) for inspection in seen])
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


def _look(manifest: Manifest, max_pixels: int, rows: range) -> list[Inspection]:
    return [inspect(manifest.source(row), max_pixels=max_pixels) for row in rows]


def _listed(bad: Manifest, first: int = 20) -> str:
    lines = [f"\n  {uri}: {problem}" for uri, problem in zip(bad.uris[:first], bad.problems[:first], strict=True)]
    more = f"\n  and {len(bad) - first:,} more, see problems.csv" if len(bad) > first else ""
    return ":" * bool(lines) + "".join(lines) + more
