"""Server-sent events: what changed, to every open page."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from pydantic_core import to_json

from headstart.serve.problems import Refusal

__all__ = ["EventHub"]

_HEARTBEAT = 15.0  # seconds; proxies close connections on which nothing is sent
_WAITING = 500  # events of a page that does not read them; then only the last state is told
_PAGES = 64


class EventHub:
    """Sends events to all pages that are open; may be told of them in any thread.

    :param revision: that of the project.
    """

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._lock = threading.Lock()
        self._pages: set[_Page] = set()
        self._closed = False

    def publish(self, event: str, data: Mapping[str, object]) -> None:
        """Send an event."""
        with self._lock:
            if event == "change" and isinstance(revision := data["revision"], int):
                self.revision = revision
            text = _event(self.revision, event, data)
            for page in self._pages:
                page.send(text)

    def close(self) -> None:
        """End all streams, which would hold up the end of the process."""
        with self._lock:
            self._closed = True
            for page in self._pages:
                page.send(None)

    async def stream(self) -> AsyncIterator[str]:
        """The events of one page; the first one tells the revision, whatever the page has missed before.

        :raises Refusal: too many pages are open.
        """
        page = _Page(asyncio.get_running_loop())
        with self._lock:
            if len(self._pages) >= _PAGES:
                raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{_PAGES} pages are open: close one")
            if self._closed:
                return
            self._pages.add(page)
            page.send(f"retry: 1000\n{_event(self.revision, 'change', {'revision': self.revision})}")
        try:
            while (text := await page.next()) is not None:
                yield text
        finally:
            with self._lock:
                self._pages.discard(page)


class _Page:
    """What waits for one page."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()

    def send(self, text: str | None) -> None:
        """Queue an event; None ends the stream. From any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, text)

    def _put(self, text: str | None) -> None:
        if self._queue.qsize() >= _WAITING:  # it reads nothing: what it needs is the last state
            while not self._queue.empty():
                self._queue.get_nowait()
            number = (text or "id: 0").partition("id: ")[2].partition("\n")[0]
            self._queue.put_nowait(_event(int(number), "change", {"revision": int(number)}))
        self._queue.put_nowait(text)

    async def next(self) -> str | None:
        """The next event, or a comment if there was none for a while."""
        try:
            return await asyncio.wait_for(self._queue.get(), _HEARTBEAT)
        except (asyncio.TimeoutError, TimeoutError):
            return ": nothing new\n\n"


def _event(revision: int, event: str, data: Mapping[str, object]) -> str:
    text = to_json(data, inf_nan_mode="null").decode()  # JavaScript reads neither NaN nor infinity
    return f"id: {revision}\nevent: {event}\ndata: {text}\n\n"
