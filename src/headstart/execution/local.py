"""Executors on this machine: threads, or processes where Python's global lock would hold threads back.

Decoding releases the lock, but the Python code around it does not: on 16 cores, processes read 1.7 times as many images
per second as threads do (benchmarks/speed/gpu.py).
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakSet

from headstart.execution.base import map_in_order

__all__ = ["LocalExecutor", "open_processes", "open_threads"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class LocalExecutor:
    """An :class:`~headstart.execution.base.Executor` over a pool of the standard library's type."""

    kind: str
    workers: int
    pool: concurrent.futures.Executor
    submitted: WeakSet[Future[Any]] = field(default_factory=WeakSet)

    def submit(self, task: Callable[..., R], *arguments: Any) -> Future[R]:
        """Start ``task(*arguments)`` in a worker, or queue it; for processes both are pickled."""
        future = self.pool.submit(task, *arguments)
        self.submitted.add(future)
        return future

    def map(self, task: Callable[[T], R], items: Iterable[T], *, ahead: int | None = None) -> Iterator[R]:
        """Yield ``task(item)`` of each item, in order, with at most ``ahead`` tasks under way."""
        return map_in_order(self.submit, task, items, ahead=ahead)

    def close(self) -> None:
        """Cancel the tasks that no worker has begun, and wait for the others."""
        for future in list(self.submitted):
            future.cancel()
        self.pool.shutdown(wait=True)


def open_threads(workers: int) -> LocalExecutor:
    """Open a pool of so many threads of this process."""
    return LocalExecutor("threads", workers, ThreadPoolExecutor(workers, thread_name_prefix="headstart-worker"))


def open_processes(workers: int) -> LocalExecutor:
    """Open a pool of so many processes of this machine."""
    # loky: its processes do not run the caller's script again, so the script needs no guard, and they are not forks of
    # a process with threads.
    from joblib.externals.loky import ProcessPoolExecutor

    return LocalExecutor("processes", workers, ProcessPoolExecutor(workers))
