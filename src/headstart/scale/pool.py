"""Where the pictures of a list are read: in threads, or in processes where Python's lock would hold threads back.

Decoding lets go of the lock, but the Python around it does not: on 16 cores processes read 1.7 times as many
pictures a second as threads do (benchmarks/gpu.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakSet

from headstart.scale import cores

__all__ = ["Kind", "Pool", "open_pool"]

Kind = Literal["threads", "processes"]

# With fewer cores threads are nearly as fast; with fewer pictures processes do not make up for their start.
_CORES, _ITEMS = 8, 8000


@dataclass(frozen=True)
class Pool:
    """Workers that are there as long as the block of :func:`open_pool` lasts."""

    kind: Kind
    workers: int
    executor: Executor
    submitted: WeakSet[Future[Any]] = field(default_factory=WeakSet)

    def submit(self, work: Callable[..., Any], *given: Any) -> Future[Any]:
        """Have it done. For processes the function must stand in a module, and what it is given is copied."""
        future = self.executor.submit(work, *given)
        self.submitted.add(future)
        return future

    def close(self) -> None:
        """Drop what nobody has begun, and wait for the rest."""
        for future in list(self.submitted):
            future.cancel()
        self.executor.shutdown(wait=True)


@contextmanager
def open_pool(items: int, *, workers: int | None = None, kind: Kind | None = None) -> Iterator[Pool]:
    """Workers for so many pictures; what nobody has begun when the block ends is dropped.

    :param workers: threads or processes; by itself one a core.
    :param kind: by itself processes where there are many cores and many pictures.
    """
    count = workers or cores()
    if kind is None:
        kind = "processes" if count >= _CORES and items >= _ITEMS else "threads"
    pool = Pool(kind, count, _threads(count) if kind == "threads" else _processes(count))
    try:
        yield pool
    finally:
        # A consumer that stops early, or Ctrl-C, does not wait for what nobody will use.
        pool.close()


def _threads(count: int) -> Executor:
    return ThreadPoolExecutor(count, thread_name_prefix="headstart-decode")


def _processes(count: int) -> Executor:
    # loky: its processes do not run the caller's script again, so that it needs no guard, and they are no forks of a
    # process with threads.
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(count)  # type: ignore[no-any-return]
