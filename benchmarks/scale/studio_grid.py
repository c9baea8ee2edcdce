"""Scrolling through 100,000 images in the studio: long frames in Chromium's trace, and the memory of the tab.

    python -m benchmarks.scale.studio_grid [--images 100000] [--url http://127.0.0.1:8000/] [--quick]

A project of that many JPEGs is made: scikit-image's photographs in 500 crops, each file with eight bytes of its own
after its end, which decoders ignore, so that no file is a duplicate of another. The studio serves it without learning,
which would take the processor for minutes, and Chromium scrolls: by gesture at 6,000 pixels a second, in jumps as with
a dragged scroll bar, by Page Down, and to the end.

What is told of the trace: tasks of the page's main thread above 50 ms, and the times between two frames that were
drawn while a gesture went on. The memory is that of the renderer process: its resident size, which includes the
libraries that it shares with others, and its proportional size, which does not.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import BUILD, Figures, save

IMAGES, CROPS, SIDE = 100_000, 500, 160
SPEED = 6_000  # pixels a second
GESTURE = 40_000  # pixels
JUMPS = 60
LONG = 50.0  # milliseconds
CATEGORIES = "toplevel,devtools.timeline,disabled-by-default-devtools.timeline.frame"


def make_images(folder: Path, images: int) -> None:
    """Write the images; those that are there already are kept."""
    if folder.is_dir() and len(list(folder.iterdir())) == images:
        return
    import numpy as np
    from PIL import Image
    from skimage import data

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    whole = [Image.fromarray(make()) for make in (data.chelsea, data.coffee, data.rocket, data.astronaut)]
    crops = []
    for number in range(min(CROPS, images)):
        source = whole[number % len(whole)]
        left, top = (int(rng.integers(0, size - SIDE)) for size in source.size)
        buffer = io.BytesIO()
        source.crop((left, top, left + SIDE, top + SIDE * 3 // 4)).save(buffer, "JPEG", quality=80)
        crops.append(buffer.getvalue())
    for number in range(images):
        (folder / f"{number:06}.jpg").write_bytes(crops[number % len(crops)] + number.to_bytes(8, "big"))


@contextmanager
def studio(project: Path, folder: Path) -> Iterator[str]:
    """The address of a studio on a project into which the folder was read."""
    command = [
        sys.executable,
        "-m",
        "headstart.cli",
        "studio",
        "--project",
        project,
        "--port",
        "0",
        "--no-browser",
        "--no-learn",
        "--allow-paths",
        folder,
    ]
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            sys.stderr.write(line)
            if found := re.search(r"http://\S+?/", line):
                yield found.group()
                return
        raise SystemExit("the studio did not start")
    finally:
        process.terminate()
        process.wait(60)


def read_folder(url: str, folder: Path, images: int) -> float:
    """Let the studio read the folder; return the seconds until all images are in the project."""
    import httpx2

    began = time.monotonic()
    httpx2.post(f"{url}api/folder", json={"path": str(folder), "labels": "none"}).raise_for_status()
    while httpx2.get(f"{url}api/project").json()["counts"]["images"] < images:
        time.sleep(1)
    return round(time.monotonic() - began, 1)


def memory_of(pid: int) -> dict[str, float]:
    """Resident and proportional size of a process, and its largest resident size so far, in megabytes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    status = Path(f"/proc/{pid}/status").read_text()

    def kilobytes(text: str, name: str) -> float:
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return round(int(found.group(1)) / 1000, 1)

    return {
        "resident_mb": kilobytes(rollup, "Rss"),
        "proportional_mb": kilobytes(rollup, "Pss"),
        "largest_resident_mb": kilobytes(status, "VmHWM"),
    }


def renderer(browser: Any) -> int:
    """The process of the one page."""
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    # A spare renderer has done next to nothing.
    return int(max((each for each in processes if each["type"] == "renderer"), key=lambda each: each["cpuTime"])["id"])


def scroll(page: Any, session: Any) -> None:
    """Scroll in every way that a person has."""
    box = page.locator("#grid").bounding_box()
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    for distance in (-GESTURE, GESTURE / 4):
        gesture = {**middle, "yDistance": distance, "speed": SPEED, "gestureSourceType": "mouse"}
        session.send("Input.synthesizeScrollGesture", gesture)
    page.evaluate(_JUMP, JUMPS)
    page.focus("#grid")
    for _ in range(30):
        page.keyboard.press("PageDown")
        page.wait_for_timeout(60)
    for key in ("End", "Home", "End"):
        page.keyboard.press(key)
        page.wait_for_timeout(700)


# From top to bottom in steps, as with a dragged scroll bar; some of the steps wait until images are shown.
_JUMP = """async (jumps) => {
  const grid = document.getElementById("grid");
  for (let jump = 0; jump < jumps; jump += 1) {
    grid.scrollTop = (jump / jumps) * grid.scrollHeight;
    await new Promise((resolve) => setTimeout(resolve, jump % 4 ? 30 : 250));
  }
}"""

_FRAMES = """() => {
  window.frames_seen = [];
  let before = performance.now();
  const step = (now) => { window.frames_seen.push(now - before); before = now; requestAnimationFrame(step); };
  requestAnimationFrame(step);
}"""


def traced(page: Any, browser: Any) -> tuple[list[Any], list[float]]:
    """The events of the trace while one scrolls, and the milliseconds between animation frames."""
    session = page.context.new_cdp_session(page)
    browser.start_tracing(page=page, categories=CATEGORIES.split(","))
    page.evaluate(_FRAMES)
    scroll(page, session)
    frames = page.evaluate("window.frames_seen")
    return json.loads(browser.stop_tracing())["traceEvents"], frames


def main_thread_tasks(events: list[Any], pid: int) -> list[tuple[float, float]]:
    """Milliseconds of each task of the main thread of a renderer: as the clock ran, and of the processor."""
    threads = [
        event["tid"]
        for event in events
        if event.get("name") == "thread_name" and event["pid"] == pid and event["args"]["name"] == "CrRendererMain"
    ]
    return [
        (event["dur"] / 1000, event.get("tdur", event["dur"]) / 1000)
        for event in events
        if event.get("name") in ("RunTask", "ThreadControllerImpl::RunTask")
        and event["pid"] == pid
        and event["tid"] in threads
        and "dur" in event
    ]


def measure(url: str) -> Figures:
    """Open the page, scroll, and tell what the trace and the process show."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{url}#label/all")
        page.wait_for_selector("html[data-ready]")
        page.wait_for_selector("#grid .grid-cell img[src]")
        pid, total = (
            renderer(browser),
            page.evaluate("Number(document.getElementById('grid').getAttribute('aria-rowcount'))"),
        )
        before = memory_of(pid)
        events, frames = traced(page, browser)
        page.wait_for_timeout(1500)
        shown = page.evaluate("document.querySelectorAll('#grid .grid-cell img[src]').length")
        tasks = main_thread_tasks(events, pid)
        figures: Figures = {
            "rows": total,
            "elements_of_cells": page.evaluate("document.querySelectorAll('#grid .grid-cell').length"),
            "images_shown_at_the_end": shown,
            "tasks": len(tasks),
            "longest_task_ms": round(max(clock for clock, _ in tasks), 1),
            "tasks_over_50_ms": sum(clock > LONG for clock, _ in tasks),
            "longest_task_processor_ms": round(max(processor for _, processor in tasks), 1),
            "tasks_over_50_ms_of_processor": sum(processor > LONG for _, processor in tasks),
            "animation_frames": len(frames),
            "longest_animation_frame_ms": round(max(frames), 1),
            "animation_frames_over_50_ms": sum(frame > LONG for frame in frames),
            "memory_before": before,
            "memory_after": memory_of(pid),
            "load_average": [round(each, 1) for each in os.getloadavg()],
        }
        browser.close()
        return figures


def main() -> None:
    """Make the project, serve it, scroll, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--url", help="a studio that runs already, instead of a project of its own")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.url:
        print(json.dumps(measure(arguments.url), indent=2))
        return
    images = 2000 if arguments.quick else arguments.images
    folder = BUILD / "studio-grid" / f"images-{images}"
    make_images(folder, images)
    with tempfile.TemporaryDirectory(dir=BUILD) as temporary, studio(Path(temporary) / "project", folder) as url:
        seconds = read_folder(url, folder, images)
        figures = {"images": images, "seconds_to_read_the_folder": seconds, **measure(url)}
    save("scale/studio_grid", figures, quick=arguments.quick)


if __name__ == "__main__":
    main()
