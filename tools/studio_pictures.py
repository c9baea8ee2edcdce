"""The pictures of docs/studio.md. Run: python -m tools.studio_pictures

The story is played in Chromium with crops of scikit-image's photographs, so that the pictures may be shown: images are
dropped, labeled by keys and by accepting suggestions, one of them wrongly; then come training, trying and an export.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from skimage import data

SOURCES = {
    "cat": data.chelsea,
    "coffee": data.coffee,
    "rocket": data.rocket,
    "portrait": data.astronaut,
    "galaxy": data.hubble_deep_field,
}
EACH = 30  # images of a class
STEPS = 4  # labels of each class that are given by keys, one in each step
HEIGHT = 800
MINUTE = 60_000  # milliseconds

DROP = """files => {
  const data = new DataTransfer();
  for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def crop(name: str, seed: int) -> bytes:
    """A part of a photograph, of any size, perhaps mirrored."""
    whole, rng = Image.fromarray(np.asarray(SOURCES[name]())), np.random.default_rng([seed, len(name)])
    side = int(rng.integers(48, 150))
    width, height = (side * 4 // 3, side) if rng.random() < 0.6 else (side, side)
    left, top = int(rng.integers(0, whole.width - width)), int(rng.integers(0, whole.height - height))
    part = whole.crop((left, top, left + width, top + height))
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    buffer = io.BytesIO()
    part.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def crops(number: int, first: int = 0) -> list[tuple[str, list[int]]]:
    """Names and bytes of as many crops of each class."""
    return [
        (f"{name}-{seed:02}.jpg", list(crop(name, seed))) for seed in range(first, first + number) for name in SOURCES
    ]


@contextmanager
def studio(project: Path) -> Iterator[str]:
    """The address of a studio on a new project."""
    command = [
        sys.executable,
        "-m",
        "headstart.cli",
        "studio",
        "--project",
        str(project),
        "--port",
        "0",
        "--no-browser",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"http://\S+?/", line):
                yield found.group()
                return
        raise SystemExit("the studio did not start")
    finally:
        process.terminate()
        process.wait(MINUTE / 1000)


def label_by_keys(page: Page) -> None:
    """Label one image of each class after the other; the accuracy follows."""
    page.select_option("#order", "added")
    page.wait_for_timeout(1000)
    for step in range(STEPS):
        for key, name in enumerate(sorted(SOURCES), 1):
            page.locator(f"#grid [aria-label^='{name}']").first.click()
            page.keyboard.press(str(key))
            expect(page.locator(".class-count").nth(key - 1)).to_have_text(str(step + 1))
        wait_until_learned(page, (step + 1) * len(SOURCES))


def wait_until_learned(page: Page, labels: int) -> None:
    """Wait until the accuracy is that of this many labels."""
    page.wait_for_function(
        "labels => fetch('/api/learning').then((answer) => answer.json())"
        ".then((state) => state.phase === 'idle' && state.labels >= labels)",
        arg=labels,
        timeout=MINUTE,
    )
    page.wait_for_timeout(800)


def play(page: Page, url: str, save: Picture) -> None:
    """Play the story, with a picture of each step."""
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    save("1-bring")
    for name in sorted(SOURCES):
        page.fill("#new-class input", name)
        page.press("#new-class input", "Enter")
        page.wait_for_selector(f".class-name >> text={name}")
    page.evaluate(DROP, crops(EACH))
    expect(page.locator("[data-show=unlabeled]")).to_contain_text(str(EACH * len(SOURCES)), timeout=MINUTE)
    label_by_keys(page)
    page.select_option("#order", "suggested")
    page.wait_for_timeout(2000)
    for place in (1, 8):
        page.locator("#grid .grid-cell").nth(place).click(modifiers=["Control"])
    page.mouse.move(5, 5)
    save("2-label")
    page.keyboard.press("Escape")
    for _ in range(4):
        page.keyboard.press("r")
        page.wait_for_timeout(1500)
        page.keyboard.press("a")
        page.wait_for_timeout(1500)
    page.click("[data-show=labeled]")
    page.wait_for_timeout(800)
    for name, key in (("rocket", 1), ("coffee", 4), ("cat", 2)):  # wrong labels, to be found
        page.locator(f"#grid [aria-label*='label {name}']").nth(1).click()
        page.keyboard.press(str(key))
        page.wait_for_timeout(1000)
    wait_until_learned(page, 0)
    page.wait_for_timeout(3000)
    page.click("nav a[href='#understand']")
    page.wait_for_selector("#view-understand table")
    page.set_viewport_size({"width": save.width, "height": 1180})
    page.wait_for_timeout(1500)
    save("3-understand")
    page.set_viewport_size({"width": save.width, "height": HEIGHT})
    page.click("nav a[href='#label']")
    page.locator("#fit select").select_option("1min")
    page.click("#fit button")
    page.wait_for_selector("#job a", timeout=5 * MINUTE)
    page.click("nav a[href='#try']")
    page.evaluate(DROP, crops(2, first=100)[:6])
    expect(page.locator(".tray .bars")).to_have_count(6, timeout=MINUTE)
    page.wait_for_timeout(500)
    save("4-try")
    page.click("nav a[href='#hand-over']")
    page.locator("#view-hand-over select").first.select_option("onnx")
    page.get_by_text("Export", exact=True).click()
    expect(page.locator("#view-hand-over")).to_contain_text(".onnx", timeout=3 * MINUTE)
    page.wait_for_timeout(500)
    page.evaluate("document.querySelector('#view-hand-over code').textContent = 'headstart fit projects/photographs'")
    save("5-hand-over")


class Picture:
    """Saves what is seen."""

    def __init__(self, page: Page, folder: Path, width: int) -> None:
        self.page, self.folder, self.width = page, folder, width

    def __call__(self, name: str) -> None:
        """Save the page without passing messages, in few bytes."""
        self.page.evaluate("document.getElementById('messages').replaceChildren()")
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        shot.save(self.folder / f"{name}.webp", quality=80, method=6)


def main() -> None:
    """Play the story and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/studio"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as temporary,
        studio(Path(temporary) / "photographs") as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        viewport = {"width": arguments.width, "height": HEIGHT}
        page = browser.new_page(viewport=viewport, color_scheme=arguments.scheme)  # type: ignore[arg-type]
        play(page, url, Picture(page, arguments.out, arguments.width))
        browser.close()


if __name__ == "__main__":
    main()
