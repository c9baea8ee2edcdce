"""The picture of the report in the README. Run: make demo && python -m tools.report_picture

A head is fitted to the handwritten digits that the demo writes, which scikit-learn ships, and the first screens of the
report are photographed in Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import headstart as hs

WIDTH = 1200


def main() -> None:
    """Fit, write the report, and write docs/report.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=Path("runs/demo/digits"))
    parser.add_argument("--out", type=Path, default=Path("docs/report.png"))
    arguments = parser.parse_args()
    run = hs.ImageClassifier(train="head").fit(hs.read_images(str(arguments.photos))).save("runs/digits")
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto((run / "report.html").absolute().as_uri())
        shots = [
            page.screenshot(full_page=True, clip=clip)
            for name in ("metrics", "predictions", "confusion-matrix")
            if (clip := _clip(page.evaluate(_BOX, name)))
        ]
        browser.close()
    parts = [Image.open(io.BytesIO(shot)).convert("RGB") for shot in shots]
    picture = Image.new("RGB", (WIDTH, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height
    picture.quantize(256, dither=Image.Dither.NONE).save(arguments.out, optimize=True)


# The section of a heading; the first one from the top of the page on.
_BOX = """(name) => {
  const box = document.getElementById(name).closest("section").getBoundingClientRect();
  const top = name === "metrics" ? 0 : box.top + scrollY - 40;
  return [top, box.bottom + scrollY - top + 30];
}"""


def _clip(box: list[float]) -> dict[str, float]:
    top, height = box
    return {"x": 0, "y": top, "width": WIDTH, "height": height}


if __name__ == "__main__":
    main()
