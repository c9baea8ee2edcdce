"""The studio is killed at random moments of labeling and training: is each label that it acknowledged there?

    python -m benchmarks.scale.studio_killed [--kills 30] [--quick]

A project of scikit-image's photographs in crops is labeled by two clients through the HTTP API as fast as it answers:
labels, cleared labels, accepted suggestions, new and renamed classes, undo. Every third time a fit runs meanwhile.
SIGKILL ends the server after a time drawn from 0.2 to 3 seconds. Then the project is opened again by a new server, and
compared with what was acknowledged: each revision that a client was told must be in the history with its kind, each
image that it labeled must have had that label from there on, and each image must have the label that its history ends
with. After the last kill the head must be solved again.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib import error, request

from benchmarks.harness import Figures, save

KILLS, IMAGES, CLASSES = 30, 120, 4
LONGEST = 3.0  # seconds of labeling before the kill
MODEL = "test_resnet.r160_in1k"  # small, so that training goes on while one labels


def call(url: str, path: str, body: object = None, *, method: str | None = None) -> Any:
    """The JSON that the server answers."""
    data = None if body is None else json.dumps(body).encode()
    asked = request.Request(
        f"{url}{path}", data, {"Content-Type": "application/json"}, method=method or ("POST" if data else "GET")
    )
    with request.urlopen(asked, timeout=30) as answer:
        return json.loads(answer.read())


@contextmanager
def studio(project: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server on the project and its address; it is killed at the end."""
    options = ["--port", "0", "--no-browser", "--model", MODEL, "--weights", "random"]
    options += ["--cache-dir", str(project.parent / "cache")]
    command = [sys.executable, "-m", "headstart.cli", "studio", "--project", str(project), *options, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"(http://\S+?)/ ", line):
                    yield process, found[1]
                    return
            raise SystemExit("the studio has not started")
        finally:
            process.kill()


def make_images(folder: Path, images: int) -> None:
    """Write crops of photographs."""
    import numpy as np
    from PIL import Image
    from skimage import data

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    whole = [Image.fromarray(make()) for make in (data.chelsea, data.coffee, data.rocket, data.astronaut)]
    for number in range(images):
        source = whole[number % len(whole)]
        left, top = (int(rng.integers(0, size - 160)) for size in source.size)
        buffer = io.BytesIO()
        source.crop((left, top, left + 160, top + 160)).save(buffer, "JPEG", quality=90)
        (folder / f"{number:03}.jpg").write_bytes(buffer.getvalue())


class Client(threading.Thread):
    """Changes the project until the server is gone; remembers what was acknowledged."""

    def __init__(self, url: str, images: list[int], seed: int) -> None:
        super().__init__(daemon=True)
        self.url, self.images, self.rng = url, images, random.Random(seed)
        self.acknowledged: list[tuple[int, str, list[int], int | None]] = []  # revision, kind, images, class

    def run(self) -> None:
        """Make changes."""
        with suppress(OSError, ValueError, error.URLError):
            while True:
                self._change()

    def _change(self) -> None:
        rng = self.rng
        chosen = rng.choices(["label", "clear", "accept", "add", "rename", "undo"], weights=[60, 10, 15, 2, 3, 10])[0]
        images = rng.sample(self.images, rng.randint(1, 4))
        given: int | None = rng.randint(1, CLASSES)
        try:
            if chosen == "accept":
                answer = call(self.url, "/api/accept", {"labels": {str(image): given for image in images}})
            elif chosen in ("label", "clear"):
                given = given if chosen == "label" else None
                answer = call(self.url, "/api/labels", {"images": images, "class": given})
            elif chosen == "add":
                answer = call(self.url, "/api/classes", {"name": f"class {rng.random()}"})
            elif chosen == "rename":
                answer = call(self.url, f"/api/classes/{given}", {"name": f"class {rng.random()}"}, method="PATCH")
            else:
                answer = call(self.url, "/api/undo", {})
        except error.HTTPError as refused:
            if refused.code not in (404, 409):  # a class that was undone; nothing to undo
                raise SystemExit(f"{chosen}: {refused.read().decode()}") from refused
            return
        if answer["text"] != "nothing changed":
            labels = images if chosen in ("label", "clear", "accept") else []
            self.acknowledged.append((answer["revision"], answer["kind"], labels, given))


def compare(url: str, acknowledged: list[tuple[int, str, list[int], int | None]]) -> list[str]:
    """What of the acknowledged changes the project does not have."""
    changes = call(url, "/api/history?limit=10000")["changes"]
    kinds = {each["revision"]: each["kind"] for each in changes}
    lost = [f"{kind} {revision}" for revision, kind, _, _ in acknowledged if kinds.get(revision) != kind]
    for image in sorted({image for _, _, images, _ in acknowledged for image in images}):
        details = call(url, f"/api/images/{image}")
        steps = {step["revision"]: step["after"] for step in details["history"]}
        for revision, kind, images, given in acknowledged:
            # A label that an image had already is no step of its history: its last step until then counts.
            until = max((each for each in steps if each <= revision), default=None)
            if image in images and (None if until is None else steps[until]) != given:
                lost.append(f"{kind} {revision} of image {image}")
        last = details["history"][0]["after"] if details["history"] else None
        if details["class"] != last:
            lost.append(f"the label of image {image} is not that of its history")
    return lost


def measure(kills: int) -> Figures:
    """Kill the server again and again."""
    rng = random.Random(0)
    lost: list[str] = []
    total, moments, opened = 0, [], []
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        root = Path(folder)
        make_images(root / "photos", IMAGES)
        project = root / "project"
        with studio(project, "--allow-paths", str(root / "photos"), "--no-learn") as (_, url):
            call(url, "/api/folder", {"path": str(root / "photos"), "labels": "none"})
            while (call(url, "/api/project")["importing"] or {}).get("state") != "done":
                time.sleep(0.1)
            for number in range(CLASSES):
                call(url, "/api/classes", {"name": f"class {number}"})
        ids = list(range(1, IMAGES + 1))
        for kill in range(kills):
            training = kill % 3 == 0
            with studio(project) as (process, url):
                while training and call(url, "/api/learning")["phase"] == "opening":
                    time.sleep(0.1)
                clients = [Client(url, ids, 2 * kill + number) for number in range(2)]
                for client in clients:
                    client.start()
                if training:
                    with suppress(error.HTTPError):  # too few labels at first
                        call(url, "/api/fit", {"budget": "5m"})
                moments.append(rng.uniform(0.2, LONGEST))
                time.sleep(moments[-1])
                process.send_signal(signal.SIGKILL)
                for client in clients:
                    client.join()
            acknowledged = [each for client in clients for each in client.acknowledged]
            total += len(acknowledged)
            began = time.monotonic()
            with studio(project, "--no-learn") as (_, url):
                opened.append(time.monotonic() - began)
                lost += compare(url, acknowledged)
            sys.stderr.write(f"kill {kill + 1}: {len(acknowledged)} changes were acknowledged, {len(lost)} are lost\n")
        learned = _learns_again(project)
    return {
        "kills": kills,
        "kills_while_training": len(range(0, kills, 3)),
        "acknowledged_changes": total,
        "lost": len(lost),
        "examples": lost[:5],
        "seconds_before_the_kill": [round(each, 2) for each in sorted(moments)],
        "seconds_to_open_again": round(sorted(opened)[len(opened) // 2], 2),
        "learns_again": learned,
    }


def _learns_again(project: Path) -> bool:
    """Whether the head is solved after all kills."""
    with studio(project) as (_, url):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if call(url, "/api/learning")["accuracy"] is not None:
                return True
            time.sleep(0.2)
    return False


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--quick", action="store_true", help="3 kills, for a look")
    options = parser.parse_args()
    save("scale/studio_killed", measure(3 if options.quick else options.kills), quick=options.quick)


if __name__ == "__main__":
    main()
