"""The page of ``headstart export --to html`` in Chromium, beside headstart: the same answers, and its size.

    python -m benchmarks.accuracy.exported_page [--runtime FILE] [--quick]

A head is fitted to 2,000 images of ../shared/data/dogs120. The page is given 50 of them, of which it shows the most
probable class and its probability. Needs Chromium, and npm or the archive that ``npm pack onnxruntime-web`` writes.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import Figures, empty_folder, save
from benchmarks.speed.exports import IMAGES, fitted, spread_over

from headstart.config import EngineSettings
from headstart.export.html_file import HtmlFormat
from headstart.workflow.predict import open_classifier

SHOWN = 50  # images
WAIT = 120_000  # milliseconds


def answers(file: Path, images: list[str]) -> tuple[list[tuple[str, float]], Figures]:
    """What the page shows for images, and facts about the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        start = time.monotonic()
        page.goto(file.as_uri())
        page.locator("body[data-ready=yes]").wait_for(timeout=WAIT)
        opening, start = time.monotonic() - start, time.monotonic()
        page.set_input_files("#file", images)
        page.locator("article").nth(len(images) - 1).wait_for(timeout=WAIT)
        facts = {
            "browser": f"Chromium {browser.version.partition('.')[0]}",
            "opening_s": round(opening, 1),
            "per_s": round(len(images) / (time.monotonic() - start), 1),
        }
        cards = page.locator("article").all()[::-1]  # the last image is shown first
        shown = [(str(card.get_attribute("data-top")), float(card.get_attribute("data-probability"))) for card in cards]
        browser.close()
    return shown, facts


def measure(images: int, shown: int, runtime: Path | None) -> dict[str, Any]:
    """Fit, write the page, and compare what it shows."""
    folder = empty_folder("exported-page")
    name, manifest = fitted(folder, images)
    classifier, some = open_classifier(name), spread_over(manifest, shown)
    (file,) = HtmlFormat(runtime).write(classifier, folder / "dogs.html")
    found, facts = answers(file, list(some.uris))
    settings = EngineSettings(precision="float32", engine="torch", device="cpu")
    expected = classifier.infer(some, settings=settings).probabilities
    tops = [classifier.classes[row] for row in expected.argmax(1)]
    return {
        **facts,
        "images": len(found),
        "equal_top1": float(np.mean([name == top for (name, _), top in zip(found, tops, strict=True)])),
        "largest_difference": float(np.abs([value for _, value in found] - expected.max(1)).max()),
        "megabytes": round(file.stat().st_size / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runtime", type=Path, help="ONNX Runtime Web, as headstart export takes it")
    parser.add_argument("--quick", action="store_true", help="few images: shows only that the script runs")
    given = parser.parse_args()
    images, shown = (400, 5) if given.quick else (IMAGES, SHOWN)
    save("accuracy/exported_page", measure(images, shown, given.runtime), quick=given.quick)


if __name__ == "__main__":
    main()
