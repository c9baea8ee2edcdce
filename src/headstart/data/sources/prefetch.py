"""Reading ahead of remote images, many at once, while the images before them are decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from headstart.data.sources.base import ImageReference
from headstart.data.sources.remote import RemoteImage, fetch

__all__ = ["prefetched"]

_TASKS = 6  # that are fetched at once, and ahead of their use

T = TypeVar("T")


def prefetched(tasks: Iterable[T], images: Callable[[T], Sequence[ImageReference]]) -> Iterator[T]:
    """Yield tasks in order, each after its remote images were read into the cache; others are yielded as they are.

    :param images: the images that a task reads.
    """
    waiting: deque[tuple[T, Future[None] | None]] = deque()
    pool: ThreadPoolExecutor | None = None
    try:
        for task in tasks:
            wanted = _remote(images(task))
            if wanted and pool is None:
                pool = ThreadPoolExecutor(_TASKS, "prefetch")
            waiting.append((task, pool.submit(_fetch, wanted) if pool is not None and wanted else None))
            while waiting and (waiting[0][1] is None or len(waiting) > _TASKS):
                yield _ready(*waiting.popleft())
        while waiting:
            yield _ready(*waiting.popleft())
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _ready(task: T, future: Future[None] | None) -> T:
    if future is not None:
        future.result()
    return task


def _remote(images: Sequence[ImageReference]) -> list[ImageReference]:
    return [image for image in images if isinstance(image.source, RemoteImage)]


def _fetch(images: Sequence[ImageReference]) -> None:
    by_scheme: dict[str, list[ImageReference]] = {}
    for image in images:
        by_scheme.setdefault(image.source.scheme, []).append(image)
    for same in by_scheme.values():
        fetch([(image.uri, image.stamp()) for image in same])
