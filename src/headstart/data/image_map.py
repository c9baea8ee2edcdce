"""One function of every image of a manifest: in threads, or of many small images in processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from headstart.data.manifest import Manifest
from headstart.data.sources.base import ImageReference
from headstart.data.sources.prefetch import prefetched
from headstart.events import Events
from headstart.execution import available_cores, default_kind, open_executor

__all__ = ["map_images"]

_CHUNK = 16  # images per task: handing over single images costs as much as reading a small one
_LARGE = 1_000_000  # bytes of a file; decoding it takes far longer than the Python code around it
_LOOKED_AT = 32  # files whose sizes are representative

R = TypeVar("R")


def map_images(
    function: Callable[[ImageReference], R],
    manifest: Manifest,
    rows: Sequence[int],
    *,
    stage: str,
    workers: int | None = None,
    events: Events | None = None,
) -> list[R]:
    """Return what a picklable function returns of the images in these rows, in their order.

    :param stage: what is being done, for the progress.
    :param workers: threads; by default two per core, since some wait for the disk. Of many small images, processes, by
        default one per core.
    """
    chunks = ([manifest.source(row) for row in rows[start : start + _CHUNK]] for start in range(0, len(rows), _CHUNK))
    kind = "threads" if _are_large(manifest, rows) else default_kind(len(rows), workers or available_cores())
    workers = workers or available_cores() * (2 if kind == "threads" else 1)
    found: list[R] = []
    with (
        (events or Events()).stage(stage, total=len(rows), unit="image") as advance,
        open_executor(len(rows), workers=workers, kind=kind) as executor,
    ):
        of_chunk = partial(_of_chunk, function=function)
        for results in executor.map(of_chunk, prefetched(chunks, list), ahead=8 * executor.workers):
            found += results
            advance(len(results))
    return found


def _are_large(manifest: Manifest, rows: Sequence[int]) -> bool:
    """Whether the files are so large that threads do as well as processes, which share no budget of memory."""
    stamps = [manifest.source(row).stamp() for row in rows[:: -(-len(rows) // _LOOKED_AT) or 1]]
    sizes = [stamp.size for stamp in stamps if stamp is not None]
    return not sizes or sum(sizes) > _LARGE * len(sizes)


def _of_chunk(images: Sequence[ImageReference], *, function: Callable[[ImageReference], R]) -> list[R]:
    return [function(image) for image in images]
