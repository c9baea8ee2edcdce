"""A client of ``headstart studio`` that does by its HTTP API what a person does in the page."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT, Figures

if TYPE_CHECKING:
    import httpx2 as httpx

PAGE = 500  # images per request


def distinct(paths: Iterable[Path]) -> list[Path]:
    """The files whose content no earlier one has: a project has each content once."""
    seen: dict[bytes, Path] = {}
    for path in paths:
        seen.setdefault(hashlib.sha256(path.read_bytes()).digest(), path)
    return list(seen.values())


@dataclass
class StudioClient:
    """Requests to one server, with the events that it sends."""

    http: httpx.Client
    events: Queue[tuple[float, str, Figures]] = field(default_factory=Queue)  # (seconds, kind, data)

    def get(self, path: str, **query: object) -> Figures:
        """The JSON of a GET."""
        return self._json(self.http.get(path, params={name: str(value) for name, value in query.items()}))

    def post(self, path: str, body: object) -> Figures:
        """The JSON that a POST of JSON is answered with."""
        return self._json(self.http.post(path, json=body))

    def upload(self, files: Sequence[tuple[str, Path]], *, labels: str) -> Figures:
        """Upload images, each with the path that it shall have, in batches of 50 as the page does."""
        answer: Figures = {}
        for start in range(0, len(files), 50):
            batch = [("images", (name, path.read_bytes())) for name, path in files[start : start + 50]]
            answer = self._json(self.http.post("/api/images", params={"labels": labels}, files=batch))
        return answer

    def images(self, show: str = "all", order: str = "added", most: int = 1_000_000) -> list[Figures]:
        """Rows of images, page by page."""
        rows: list[Figures] = []
        while True:
            page = self.get("/api/images", show=show, order=order, offset=len(rows), limit=min(PAGE, most - len(rows)))
            rows += page["images"]
            if len(rows) >= min(page["total"], most) or not page["images"]:
                return rows

    def by_id(self, ids: Sequence[int]) -> list[Figures]:
        """The rows of these images."""
        parts = [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]
        return [row for part in parts for row in self.get("/api/images", ids=",".join(map(str, part)))["images"]]

    def label(self, images: Sequence[int], number: int | None) -> int:
        """Give images a class, or none; return the revision."""
        return int(self.post("/api/labels", {"images": list(images), "class": number})["revision"])

    def wait_until(self, holds: Callable[[Figures], bool], *, seconds: float = 600, pause: float = 0.02) -> Figures:
        """The state of learning once a condition of it holds."""
        end = time.monotonic() + seconds
        while not holds(state := self.get("/api/learning")):
            if state["phase"] == "failed" or time.monotonic() > end:
                raise SystemExit(f"it does not learn: {state}")
            time.sleep(pause)
        return state

    def wait_learned(self, revision: int, labels: int) -> Figures:
        """The state once these labels are learned and suggestions are made with them."""
        return self.wait_until(
            lambda state: state["suggested"] >= revision and state["learned"] == labels == state["labels"]
        )

    def listen(self) -> None:
        """Collect events in a thread from now on."""
        begun = threading.Event()

        def read() -> None:
            with self.http.stream("GET", "/api/events", timeout=None) as answer:
                begun.set()
                kind = ""
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        kind = line.removeprefix("event: ")
                    elif line.startswith("data: "):
                        self.events.put((time.monotonic(), kind, json.loads(line.removeprefix("data: "))))

        threading.Thread(target=_quiet(read), daemon=True).start()
        begun.wait(30)

    def wait_event(self, holds: Callable[[str, Figures], bool], *, seconds: float = 600) -> float:
        """When the first event came, of those not waited for yet, for which a condition holds."""
        while True:
            when, kind, data = self.events.get(timeout=seconds)
            if holds(kind, data):
                return when

    def _json(self, answer: httpx.Response) -> Figures:
        if answer.is_error:
            raise SystemExit(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}")
        return answer.json()  # type: ignore[no-any-return]


def _quiet(work: Callable[[], None]) -> Callable[[], None]:
    """The end of the server ends a stream of events with an error."""

    def run() -> None:
        import httpx2 as httpx

        with suppress(httpx.HTTPError):
            work()

    return run


@contextmanager
def serving(project: Path, *options: str) -> Iterator[StudioClient]:
    """``headstart studio`` in a process of its own, and a client of it."""
    import httpx2 as httpx

    words = ["studio", "--project", str(project), "--port", "0", "--no-browser", *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "headstart.cli", *words], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        line = ""
        for line in process.stderr:
            if " at http" in line:
                break
        else:
            raise SystemExit(f"headstart {' '.join(words)} did not start: {line}")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        url = line.split(" at ", 1)[1].split()[0].rstrip("/")
        with httpx.Client(base_url=url, headers={"Origin": url}, timeout=600, trust_env=False) as http:
            yield StudioClient(http)
    finally:
        process.terminate()
        process.wait(30)
