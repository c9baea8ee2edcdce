"""The page in a real Chromium: what a person does there, with and without a script, wide and narrow, light and dark."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, FileChooser, Page

Make = Callable[..., bytes]
Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, live: str) -> Iterator[Open]:
    """open_page(width=390): the page; at the end nothing may have gone wrong, or been asked of another host."""
    contexts, wrong = [], []

    def watch(page: Page) -> None:
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((f"{live}/", "data:", "blob:")) else wrong.append(asked.url),
        )

    def open_it(*, width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(live)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def upload(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/jpeg", "buffer": content}


def check_accessibility(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_one_image(open_page: Open, make_jpeg: Make, width: int, scheme: str) -> None:
    page = open_page(width=width, color_scheme=scheme)
    check_accessibility(page)
    page.set_input_files("#images", upload("a cup.jpg", make_jpeg("cup", 70)))
    page.wait_for_selector(".answer")
    assert page.inner_text(".answer h2") == "cup"
    assert page.inner_text("#status").startswith("a cup.jpg: cup, ")
    assert page.inner_text(".bars span >> nth=0") == "cup"
    assert "90 of 100 such sets contain the true class: cup" in page.inner_text(".set")
    assert page.locator(".near img").count() == 6
    page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    widths = page.evaluate(
        "[...document.querySelectorAll('.bars rect')].map((bar) => bar.getBoundingClientRect().width)"
    )
    assert widths[0] > widths[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    check_accessibility(page)


@pytest.mark.parametrize("width", [1280, 390])
def test_many_images(open_page: Open, make_jpeg: Make, width: int, tmp_path: Path) -> None:
    page = open_page(width=width)
    files = [upload(f"{name} {seed}.jpg", make_jpeg(name, seed)) for seed in (80, 81) for name in ("rocket", "cat")]
    page.set_input_files("#images", [*files, upload("=1+1.jpg", b"broken")])
    page.wait_for_selector(".many")
    assert page.inner_text("#status") == "5 images classified, 1 with a problem"
    classes = ".many tbody td:nth-child(2)"
    assert page.locator(classes).all_inner_texts() == ["rocket", "cat", "rocket", "cat", ""]
    page.click(".many thead button >> text=Class")
    assert page.locator(classes).all_inner_texts() == ["", "cat", "cat", "rocket", "rocket"]
    assert page.get_attribute(".many th:nth-child(2)", "aria-sort") == "ascending"
    page.click(".many thead button >> text=Class")
    assert page.locator(classes).all_inner_texts() == ["rocket", "rocket", "cat", "cat", ""]
    check_accessibility(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    with page.expect_download() as download:
        page.click("text=Download CSV")
    download.value.save_as(tmp_path / "predictions.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "predictions.csv").read_text())))
    assert [row["class_1"] for row in rows] == ["rocket", "rocket", "cat", "cat", ""]
    assert rows[-1]["image"] == "'=1+1.jpg"  # no formula
    assert float(rows[0]["probability_1"]) > 0.5
    page.click("text=cat 80.jpg")
    page.wait_for_selector("#detail .near")
    assert page.inner_text("#detail h3 >> nth=0") == "cat"


def test_broken_and_huge_images(open_page: Open, make_jpeg: Make, tmp_path: Path) -> None:
    page = open_page()
    page.set_input_files("#images", upload("broken.jpg", make_jpeg()[:3000]))
    page.wait_for_selector("#status .note")
    assert "truncated" in page.inner_text("#status")
    huge = tmp_path / "huge.jpg"
    huge.write_bytes(bytes(65_000_000))
    page.set_input_files("#images", huge)
    page.wait_for_selector("#status .note >> text=megabytes")
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4000, 4000), np.uint8)).save(buffer, "PNG")
    page.set_input_files("#images", upload("large.png", buffer.getvalue()))
    page.wait_for_selector("#status .note >> text=4000 × 4000 pixels")
    page.set_input_files("#images", upload("good.jpg", make_jpeg()))
    page.wait_for_selector(".answer")
    assert page.locator("#status .note").count() == 0


def test_the_keyboard_alone(open_page: Open, make_jpeg: Make) -> None:
    page = open_page()
    choosers: list[FileChooser] = []
    # Long before the key: the browser is told so while others go on. Playwright takes no method of a list.
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108
    focused: list[str] = []
    while "images" not in focused:
        page.keyboard.press("Tab")
        focused.append(str(page.evaluate("document.activeElement.id")))
        assert len(focused) < 10
    outline = "getComputedStyle(document.querySelector('.drop')).outlineStyle"
    assert page.evaluate(outline) == "solid"  # one sees where the focus is
    page.keyboard.press("Enter")
    for _ in range(400):
        if not choosers:
            page.wait_for_timeout(50)
    choosers[0].set_files([upload("1.jpg", make_jpeg()), upload("2.jpg", make_jpeg("cup"))])
    page.wait_for_selector(".many")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText") == "Class":
            break
    page.keyboard.press("Enter")
    assert page.get_attribute(".many th:nth-child(2)", "aria-sort") == "ascending"


def test_drop_and_paste(open_page: Open, make_jpeg: Make) -> None:
    page = open_page()
    give = """([kind, bytes]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "given.jpg", { type: "image/jpeg" }));
      const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
      document.body.dispatchEvent(event);
    }"""
    for kind, name in (("drop", "rocket"), ("paste", "cat")):
        page.evaluate(give, [kind, list(make_jpeg(name, 90))])
        page.wait_for_selector(f".answer h2 >> text={name}")


def test_without_a_script(open_page: Open, make_jpeg: Make) -> None:
    page = open_page(java_script_enabled=False)
    page.set_input_files("#images", upload("a.jpg", make_jpeg("rocket", 5)))
    page.click("text=Classify")
    assert page.inner_text(".answer h2") == "rocket"
    assert page.locator(".near img").count() == 6
    page.click("text=report")
    assert "classified correctly" in page.inner_text("h1")
