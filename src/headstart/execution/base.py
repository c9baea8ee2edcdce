"""The executor seam: what the package asks of a pool of workers, and the registry of the kinds there are.

All parallel work of the package goes through :func:`open_executor`. A new kind (a cluster, for example) is a class with
the methods of :class:`Executor` and one call of :func:`register_executor`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from headstart.errors import SettingsError

__all__ = [
    "Executor",
    "available_cores",
    "core_limit",
    "default_kind",
    "limit_cores",
    "map_in_order",
    "open_executor",
    "register_executor",
]

# With fewer cores, threads are nearly as fast; with fewer items, processes do not make up for their start-up time.
_MIN_CORES, _MIN_ITEMS = 8, 8000

_LIMIT: int | None = None

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """A pool of workers. Tasks and their arguments must be picklable: the workers may be other processes."""

    @property
    def kind(self) -> str:
        """The name under which this kind of executor is registered."""

    @property
    def workers(self) -> int:
        """The number of workers."""

    def submit(self, task: Callable[..., R], *arguments: Any) -> Future[R]:
        """Start ``task(*arguments)`` in a worker, or queue it."""

    def map(self, task: Callable[[T], R], items: Iterable[T], *, ahead: int | None = None) -> Iterator[R]:
        """Yield ``task(item)`` of each item, in the order of the items.

        :param ahead: the most tasks that are submitted and not yet yielded; items are drawn as they are needed. By
            default all items are submitted at once.
        """

    def close(self) -> None:
        """Cancel the tasks that no worker has begun, and wait for the others."""


Factory = Callable[[int], Executor]
"""Makes an executor with so many workers."""

_FACTORIES: dict[str, Factory] = {}


def register_executor(kind: str, factory: Factory) -> None:
    """Make a kind of executor available to :func:`open_executor`; a kind of the same name is replaced."""
    _FACTORIES[kind] = factory


@contextmanager
def open_executor(items: int, *, workers: int | None = None, kind: str | None = None) -> Iterator[Executor]:
    """Open an executor for ``items`` items of work. When the block ends, tasks that no worker has begun are cancelled.

    :param workers: by default one per core.
    :param kind: "threads", "processes", or a kind of :func:`register_executor`. By default, processes where there are
        at least 8 workers and 8,000 items, else threads.
    :raises SettingsError: no such kind.

    >>> with open_executor(3, workers=2) as executor:
    ...     list(executor.map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    count = workers or available_cores()
    if kind is None:
        kind = default_kind(items, count)
    if kind not in _FACTORIES:
        raise SettingsError(f"kind of executor must be {' or '.join(sorted(_FACTORIES))}, got {kind!r}")
    executor = _FACTORIES[kind](count)
    try:
        yield executor
    finally:
        # A consumer that stops early, or Ctrl-C, does not wait for results that nobody will use.
        executor.close()


def default_kind(items: int, workers: int) -> str:
    """Return the kind of executor for so many items of work that Python's lock would hold threads back in."""
    return "processes" if workers >= _MIN_CORES and items >= _MIN_ITEMS else "threads"


def map_in_order(
    submit: Callable[[Callable[[T], R], T], Future[R]],
    task: Callable[[T], R],
    items: Iterable[T],
    *,
    ahead: int | None = None,
) -> Iterator[R]:
    """:meth:`Executor.map` in terms of :meth:`Executor.submit`, for implementations."""
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(submit(task, item))
            if ahead is not None and len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def available_cores() -> int:
    """Return the number of processor cores that this process may use.

    Containers and ``taskset`` may allow fewer than the machine has, and a worker of a cluster has its share of them.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return allowed if _LIMIT is None else min(allowed, _LIMIT)


def limit_cores(count: int) -> None:
    """Let this process use fewer cores than it may: others of the same machine use the rest."""
    global _LIMIT  # noqa: PLW0603 - of the process, as its affinity is
    _LIMIT = count


def core_limit() -> int | None:
    """What :func:`limit_cores` has set; None if nothing has."""
    return _LIMIT
