"""Server-sent events: two pages hear of each change, in order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest

from headstart.studio.events import EventHub


@contextmanager
def listening(address: str) -> Iterator[Iterator[tuple[int, str, dict[str, Any]]]]:
    """The events of a page: id, event and data."""
    with httpx2.stream("GET", f"{address}/api/events", timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")

        def events() -> Iterator[tuple[int, str, dict[str, Any]]]:
            found: dict[str, str] = {}
            for line in response.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    found[name] = value
                elif "event" in found:
                    yield int(found["id"]), found["event"], json.loads(found["data"])
                    found = {}

        yield events()


def test_two_pages_hear_of_each_change(live: str) -> None:
    with ExitStack() as stack:
        pages = [stack.enter_context(listening(live)) for _ in range(2)]
        revision = httpx2.get(f"{live}/api/project").json()["revision"]
        for page in pages:
            assert next(page) == (revision, "change", {"revision": revision})
        answer = httpx2.post(f"{live}/api/labels", json={"images": [6, 7], "class": 1}).json()
        for page in pages:
            number, event, data = next(page)
            assert (number, event, data["revision"], data["images"]) == (
                answer["revision"],
                "change",
                answer["revision"],
                [6, 7],
            )
        httpx2.post(f"{live}/api/undo").raise_for_status()
        assert [next(page)[2]["kind"] for page in pages] == ["undo", "undo"]


def test_changes_of_many_clients_at_once_are_told_in_order(live: str) -> None:
    with listening(live) as page:
        next(page)

        def label(image: int) -> None:
            for _ in range(5):
                httpx2.post(f"{live}/api/labels", json={"images": [image], "class": 1}).raise_for_status()
                httpx2.post(f"{live}/api/labels", json={"images": [image], "class": None}).raise_for_status()

        threads = [threading.Thread(target=label, args=(image,)) for image in (8, 9, 10)]
        for thread in threads:
            thread.start()
        heard = [next(page)[0] for _ in range(30)]
        for thread in threads:
            thread.join()
    assert heard == list(range(heard[0], heard[0] + 30))


@pytest.mark.anyio
async def test_a_page_that_reads_nothing_is_told_the_last_state() -> None:
    hub = EventHub(0)
    stream = hub.stream()
    assert "revision" in await anext(stream)
    for revision in range(1, 2000):
        hub.publish("change", {"revision": revision})
    import asyncio

    await asyncio.sleep(0.05)
    hub.close()
    rest = [text async for text in stream]
    assert len(rest) < 600
    assert rest[-1].startswith("id: 1999\n")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
