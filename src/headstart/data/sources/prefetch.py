"""Reading ahead of remote images, many at once, while the images before them are decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TypeVar

from headstart.data.sources.base import ImageReference
from headstart.data.sources.remote import RemoteImage, fetch
from headstart.execution import open_executor

__all__ = ["prefetched"]

_TASKS = 6  # that are fetched at once, and ahead of their use

T = TypeVar("T")


def prefetched(tasks: Iterable[T], images: Callable[[T], Sequence[ImageReference]]) -> Iterator[T]:
    """Yield tasks in order, each after its remote images were read into the cache; others are yielded as they are.

    :param images: the images that a task reads.
    """
    for is_remote, some in groupby(tasks, lambda task: any(map(_is_remote, images(task)))):
        if not is_remote:
            yield from some
            continue
        with open_executor(_TASKS, workers=_TASKS, kind="threads") as executor:
            yield from executor.map(partial(_fetched, images=images), some, ahead=_TASKS + 1)


def _is_remote(image: ImageReference) -> bool:
    return isinstance(image.source, RemoteImage)


def _fetched(task: T, *, images: Callable[[T], Sequence[ImageReference]]) -> T:
    by_scheme: dict[str, list[ImageReference]] = {}
    for image in filter(_is_remote, images(task)):
        by_scheme.setdefault(image.source.scheme, []).append(image)
    for same in by_scheme.values():
        fetch([(image.uri, image.stamp()) for image in same])
    return task
