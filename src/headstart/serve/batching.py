"""Images of concurrent requests, run together: one thread computes, so that the cores are not shared by batches."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["MicroBatcher"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Image:
    view: NDArray[np.uint8]  # (H, W, 3)
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True)
class _Call:
    function: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class MicroBatcher(Generic[R]):
    """Collects views for a few milliseconds and runs them in one batch, in a thread of its own.

    It waits only while :meth:`expect` says that further images are on their way, so that a single image waits for
    nothing.

    >>> with MicroBatcher(lambda views: [int(view.sum()) for view in views], batch_size=4, wait=0.01) as batcher:
    ...     futures = [batcher.submit(np.full((1, 1, 3), shade, np.uint8)) for shade in (1, 2)]
    ...     [future.result() for future in futures]
    [3, 6]
    """

    def __init__(
        self,
        run: Callable[[NDArray[np.uint8]], list[R]],
        *,
        batch_size: int,
        wait: float,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start the thread.

        :param run: computes one result for each view of a batch, (B, H, W, 3).
        :param wait: seconds.
        :param observe: told the size of each batch.
        """
        self._run, self._batch_size, self._wait, self._observe = run, batch_size, wait, observe
        self._queue: queue.SimpleQueue[_Image | _Call | None] = queue.SimpleQueue()
        self._expected = 0  # images that are being decoded
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="headstart-engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> MicroBatcher[R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def expect(self, count: int) -> None:
        """Say that so many more images are on their way (fewer, if negative)."""
        with self._lock:
            self._expected += count

    def submit(self, view: NDArray[np.uint8]) -> Future[R]:
        """Queue an image. A future that is cancelled before its turn is left out."""
        image = _Image(view)
        self._queue.put(image)
        return image.future

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Queue other work for the same thread."""
        call = _Call(function)
        self._queue.put(call)
        return call.future

    def close(self) -> None:
        """Finish what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        waiting: _Image | _Call | None = self._queue.get()
        while waiting is not None:
            if isinstance(waiting, _Call):
                _settle([waiting.future], lambda call=waiting: [call.function()])  # type: ignore[misc]
                waiting = self._queue.get()
                continue
            images, waiting, ended = self._collect(waiting)
            live = [image for image in images if image.future.set_running_or_notify_cancel()]
            if live:
                self._observe(len(live))
                views = np.stack([image.view for image in live])
                _settle([image.future for image in live], lambda views=views: self._run(views), started=True)  # type: ignore[misc]
            if ended:
                return
            waiting = waiting or self._queue.get()

    def _collect(self, first: _Image) -> tuple[list[_Image], _Call | None, bool]:
        """A batch that begins with ``first``, the call that ended it if one did, and whether to end."""
        images, deadline = [first], time.monotonic() + self._wait
        while len(images) < self._batch_size:
            try:
                patience = max(0.0, deadline - time.monotonic()) if self._expected > 0 else 0.0
                found = self._queue.get(timeout=patience) if patience else self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(found, _Image):
                return images, found, found is None
            images.append(found)
        return images, None, False


def _settle(futures: list[Future[Any]], compute: Callable[[], list[Any]], *, started: bool = False) -> None:
    """Give each future its result, or all of them the exception."""
    if not started:
        futures = [future for future in futures if future.set_running_or_notify_cancel()]
    if not futures:
        return
    try:
        results = compute()
    except Exception as failure:  # whoever waits for the result handles it
        for future in futures:
            future.set_exception(failure)
    else:
        for future, result in zip(futures, results, strict=True):
            future.set_result(result)
