"""The report in a real Chromium: sorting, filtering, opening cells, copying, printing; wide, narrow, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from headstart.artifacts.run_folder import read_run
from headstart.data.issues import Issue
from headstart.report import write_report
from headstart.report.check_page import write_check

Open = Callable[..., Page]
CLASSES = [f"breed_{number}" for number in range(45)]  # more than the matrix and the table have room for


@pytest.fixture(scope="module")
def few(made_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with four classes."""
    return write_report(made_run.make_run(tmp_path_factory.mktemp("few"), ["pug", "Corgi", "wolf", "owl"], skill=1.0))


@pytest.fixture(scope="module")
def many(made_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with more classes than the matrix and the table show at once."""
    return write_report(made_run.make_run(tmp_path_factory.mktemp("many"), CLASSES, each=3, skill=3.0))


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """open_page(path, width=390): the page; at the end nothing may have gone wrong, or been loaded from elsewhere."""
    contexts, wrong = [], []

    def open_it(path: Path, *, width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url))
        page.goto(path.as_uri())
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"#class-metrics tbody tr:visible > :nth-child({number})").all_inner_texts()


def rows_of_matrix(page: Page) -> list[str]:
    return page.locator("#confusion tbody th").all_inner_texts()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_and_can_be_read_by_everyone(open_page: Open, many: Path, width: int, scheme: str) -> None:
    page = open_page(many, width=width, color_scheme=scheme)
    page.locator("#confusion a").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # The images of this run are noise; axe would look at each of them.
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_of_a_check_can_be_read_by_everyone(
    open_page: Open, few: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    manifest = read_run(few.parent).manifest
    uris = manifest.uris
    issues = [
        *(
            Issue("wrong-label", uri, 0.9, "the head says 'owl'", "relabel", "owl", tuple(uris[:3]))
            for uri in uris[4:8]
        ),
        Issue("shortcut", None, 0.8, "the size of an image predicts its label", "look"),
    ]
    page = open_page(
        write_check(manifest, issues, tmp_path / "issues.html", root="photos"), width=width, color_scheme=scheme
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []


def test_what_rows_and_columns_are_stays_in_two_lines(open_page: Open, make_run: Any) -> None:
    """Short names leave little room for it where the matrix is wider than the screen."""
    digits = write_report(make_run(list("0123456789"), skill=3.0))
    corner = open_page(digits, width=390).locator("#confusion thead td span")
    size = corner.bounding_box()
    assert size is not None
    assert size["width"] > size["height"]


def test_the_matrix_is_sorted_with_its_columns(open_page: Open, few: Path) -> None:
    page = open_page(few)
    assert rows_of_matrix(page) == ["pug", "Corgi", "wolf", "owl"]
    before = page.locator("#confusion tbody td").all_inner_texts()
    page.get_by_role("button", name="name", exact=True).click()
    assert rows_of_matrix(page) == ["Corgi", "owl", "pug", "wolf"]
    assert page.locator("#confusion thead th").all_inner_texts() == rows_of_matrix(page)
    assert page.locator("[data-sort=name]").get_attribute("aria-pressed") == "true"
    counts = np.array(read_run(few.parent).evaluation.confusion_matrix)
    order = [1, 3, 0, 2]
    expected = [str(count) if count or row == other else "" for row in order for other, count in
                ((other, counts[row, other]) for other in order)]  # fmt: skip
    assert page.locator("#confusion tbody td").all_inner_texts() == expected
    page.get_by_role("button", name="class order").click()
    assert page.locator("#confusion tbody td").all_inner_texts() == before


def test_a_cell_opens_its_images_by_keyboard(open_page: Open, few: Path) -> None:
    run = read_run(few.parent)
    counts = np.array(run.evaluation.confusion_matrix)
    page = open_page(few)
    page.locator("#confusion a").first.focus()
    page.keyboard.press("ArrowDown")
    cell = page.evaluate("document.activeElement.closest('td').parentNode.rowIndex")
    assert cell > 1  # the next one below with images
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".cell:target")
    assert page.get_attribute(".cell:target", "aria-label") == label
    true, predicted = (int(part) for part in page.url.partition("#cell-")[2].split("-"))
    shown = page.locator(".cell:target img")
    assert shown.count() == min(6, counts[true, predicted])
    rows = np.flatnonzero((run.predictions.targets == true) & (run.predictions.predicted == predicted))
    names = {Path(run.predictions.uris[row]).name for row in rows}
    assert {shown.nth(number).get_attribute("title") for number in range(shown.count())} <= names
    assert page.locator(".cell:visible").count() == 1
    assert page.locator("#confusion a[tabindex='0']").count() == 1


def test_without_a_script_all_is_there(open_page: Open, few: Path) -> None:
    page = open_page(few, java_script_enabled=False)
    assert rows_of_matrix(page) == ["pug", "Corgi", "wolf", "owl"]
    assert page.locator(".tools:visible, button:visible").count() == 0
    page.locator("#confusion a").first.click()
    assert page.locator(".cell:target img").count() > 0
    assert len(column(page, 1)) == 4


def test_the_classes_are_sorted_and_filtered(open_page: Open, many: Path) -> None:
    page = open_page(many)
    assert page.locator("#class-metrics [aria-sort=ascending]").inner_text() == "Recall"
    page.get_by_role("button", name="Class", exact=True).focus()
    page.keyboard.press("Enter")
    assert column(page, 1) == CLASSES  # 2 before 10
    page.get_by_role("button", name="F1").click()
    values = [float(text) for text in column(page, 6)]
    assert values == sorted(values, reverse=True)
    assert page.locator("#class-metrics [aria-sort]").get_attribute("aria-sort") == "descending"
    page.get_by_label("Filter").fill("Breed 4")
    assert sorted(column(page, 1)) == sorted(["breed_4", *(f"breed_4{number}" for number in range(5))])
    assert page.locator(".tools [role=status]").inner_text() == "6 of 45 classes"


def test_code_is_copied(open_page: Open, few: Path) -> None:
    page = open_page(few, permissions=["clipboard-read", "clipboard-write"])
    button = page.locator("[data-copy]").first
    button.click()
    page.wait_for_function("document.querySelector('[data-copy]').textContent === 'Copied'")
    assert page.evaluate("navigator.clipboard.readText()") == "headstart predict run photo.jpg --top 3"


def test_the_printed_page_is_light_and_complete(open_page: Open, many: Path, tmp_path: Path) -> None:
    page = open_page(many, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        page.evaluate("[...document.querySelectorAll('.tools, .cell')].filter((each) => each.offsetParent).length") == 0
    )
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    wide = page.evaluate("document.querySelector('.tall').scrollHeight - document.querySelector('.tall').clientHeight")
    assert wide <= 1  # nothing to scroll
    content = page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert 4 < len(re.findall(rb"/Type /Page\b", content)) < 30
