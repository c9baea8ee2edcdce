"""The studio's page in a real Chromium: the whole story of a project, by keys, mouse and dropped files."""

from __future__ import annotations

import csv
import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect
from skimage import data

from headstart.config import StudioSettings
from headstart.data.projects import ImageQuery, NewImage
from headstart.studio.app import create_app
from headstart.studio.context import Studio
from headstart.studio.server import open_studio

PHOTOGRAPHS = {"cat": data.chelsea, "cup": data.coffee, "rocket": data.rocket}
SIDE = 160
TIMEOUT = 30_000  # milliseconds; the machine may have much else to do
Open = Callable[..., Page]

DROP = """files => {
  const data = new DataTransfer();
  for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def jpeg(name: str, seed: int) -> bytes:
    """A crop of the photograph of a class."""
    whole, rng = Image.fromarray(PHOTOGRAPHS[name]()), np.random.default_rng(seed)
    left, top = (int(rng.integers(0, size - SIDE)) for size in whole.size)
    buffer = io.BytesIO()
    whole.crop((left, top, left + SIDE, top + SIDE)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def crops(number: int, *, first: int = 0) -> list[tuple[str, list[int]]]:
    """Names and bytes of as many crops of each class."""
    return [
        (f"{name}-{seed:02}.jpg", list(jpeg(name, seed)))
        for seed in range(first, first + number)
        for name in PHOTOGRAPHS
    ]


@contextmanager
def serving(folder: Path, *, learn: bool = False, **given: Any) -> Iterator[tuple[str, Studio]]:
    """The address of a studio in this process, and what it consists of."""
    opened = open_studio(None, StudioSettings(port=0, browser=False, learn=learn), project=folder, **given)
    app = create_app(opened.studio, opened.access)
    config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[opened.socket]))
    thread.start()
    try:
        yield opened.url, opened.studio
    finally:
        opened.studio.hub.close()  # uvicorn waits for streams to end
        server.should_exit = True
        thread.join()
        opened.studio.project.close()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[tuple[str, Studio]]:
    """A studio on an empty project, which learns nothing."""
    with serving(tmp_path / "three things") as made:
        yield made


@pytest.fixture
def learning(tmp_path: Path) -> Iterator[tuple[str, Studio]]:
    """A studio on an empty project that learns."""
    with serving(tmp_path / "three things", learn=True) as made:
        yield made


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """open_page(url, width=390): the page; at the end nothing may have gone wrong, or been asked of another host."""
    contexts, wrong = [], []

    def open_it(url: str, *, width: int = 1280, expected: str = "", view: str = "", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)

        def say(text: str) -> None:
            if not expected or expected not in text:
                wrong.append(text)

        page.on("console", lambda message: say(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: say(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else say(asked.url))
        page.goto(url + view)
        page.wait_for_selector("html[data-ready]")
        page.wait_for_selector("#grid:not([aria-busy=true])", state="attached")  # keys count by the list that is there
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert wrong == []


def drop(page: Page, files: list[tuple[str, list[int]]]) -> None:
    page.evaluate(DROP, files)


def add_class(page: Page, name: str) -> None:
    page.fill("#new-class input", name)
    page.press("#new-class input", "Enter")
    expect(page.locator(".class-name", has_text=name)).to_be_visible()


def count(page: Page, filter_: str, number: int) -> None:
    """Wait until a filter shows this number."""
    shown = page.locator(f"#filters [data-show={filter_.lower()}]")
    expect(shown).to_have_text(f"{filter_}{number}", timeout=TIMEOUT)


def counts_of(page: Page) -> list[str]:
    return page.locator(".class-count").all_inner_texts()


def check_accessibility(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []


def test_labels_by_keys_with_undo_and_redo(studio: tuple[str, Studio], open_page: Open) -> None:
    url, made = studio
    page = open_page(url)
    expect(page.locator("#welcome")).to_be_visible()
    for name in ("cat", "cup", "<b>rocket</b>"):
        add_class(page, name)
    assert page.locator(".class-name").all_inner_texts() == ["cat", "cup", "<b>rocket</b>"]
    drop(page, crops(4))
    count(page, "Unlabeled", 12)
    page.select_option("#order", "added")
    page.focus("#grid")
    page.keyboard.press("Home")
    page.keyboard.press("1")  # one image: the next one takes its place
    count(page, "Unlabeled", 11)
    page.keyboard.press("2")
    count(page, "Unlabeled", 10)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".chosen")).to_have_text("3 selected")
    page.keyboard.press("3")
    count(page, "Labeled", 5)
    assert counts_of(page) == ["1", "1", "3"]
    assert sorted(made.project.labels().values()) == [1, 2, 3, 3, 3]
    page.keyboard.press("Control+z")
    count(page, "Labeled", 2)
    page.keyboard.press("Control+Shift+z")
    count(page, "Labeled", 5)
    page.click("#undo")
    count(page, "Labeled", 2)
    page.click("#filters [data-show=labeled]")
    expect(page.locator("#grid [aria-selected]:visible")).to_have_count(2)
    page.focus("#grid")
    page.keyboard.press("Control+a")
    page.keyboard.press("0")
    count(page, "Labeled", 0)
    assert page.inner_text("#live").startswith("The label of 2 images was removed")


def test_a_table_beside_dropped_images_labels_them(studio: tuple[str, Studio], open_page: Open) -> None:
    url, made = studio
    page = open_page(url)
    rows = "".join(f"{name},{'metal' if name.startswith('rocket') else 'home'}\n" for name, _ in crops(2))
    table = ("labels.csv", list(f"image,kind\n{rows}gone.jpg,home\n".encode()))
    drop(page, [*crops(2), table])
    expect(page.locator("dialog h2")).to_have_text("6 files")
    check_accessibility(page)
    page.click("text=Labels from labels.csv")
    count(page, "Labeled", 6)
    expect(page.locator("#messages")).to_contain_text(
        "labels.csv: 6 images labeled from the column kind, 1 name unknown"
    )
    page.click("#messages >> text=Show")
    expect(page.locator("dialog tbody")).to_contain_text("gone.jpg")
    page.click("dialog >> text=Close")
    assert [each.name for each in made.project.classes()] == ["home", "metal"]
    drop(page, [("more.csv", list(b"image,kind\ncat-00.jpg,other\n"))])  # a table alone, for images that are there
    expect(page.locator("#messages")).to_contain_text("1 image with another label kept it")


def test_photographs_of_a_burst_get_the_chosen_class(studio: tuple[str, Studio], open_page: Open) -> None:
    url, made = studio
    page = open_page(url)
    add_class(page, "cat")
    page.click("#welcome >> text=Photograph")
    expect(page.locator(".burst video")).to_have_js_property("paused", value=False)
    check_accessibility(page)
    page.select_option(".burst select", label="cat")
    hold = page.locator(".burst .hold")
    hold.hover()
    page.mouse.down()
    taken_text = page.locator(".burst [role=status]")
    expect(taken_text).to_have_text(re.compile(r"^([3-9]|\d\d) photographs"))
    page.mouse.up()
    page.click(".burst >> text=Add")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator("#messages")).to_contain_text("labeled cat", timeout=TIMEOUT)
    taken = made.project.images().images
    assert len(taken) >= 2  # of the same moment, one is kept
    assert {(each.class_id, each.problem) for each in taken} == {(1, None)}
    assert all(each.name.startswith("camera-") for each in taken)


def test_a_range_begins_at_the_image_that_was_clicked_while_another_order_was_read(
    studio: tuple[str, Studio], open_page: Open
) -> None:
    page = open_page(studio[0])
    drop(page, crops(3))
    count(page, "Unlabeled", 9)
    page.select_option("#order", "added")
    grid = page.locator("#grid")
    expect(grid).not_to_have_attribute("aria-busy", "true")
    held: list[Route] = []
    page.route("**/api/images?*order=name*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks it
    page.select_option("#order", "name")
    expect(grid).to_have_attribute("aria-busy", "true")
    page.locator("#grid [aria-label^='cup-00']").click()
    held[0].continue_()
    expect(grid).not_to_have_attribute("aria-busy", "true")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".chosen")).to_have_text("2 selected")
    selected = page.locator("#grid [aria-selected=true]:visible")
    names = [selected.nth(at).get_attribute("aria-label") for at in range(2)]
    assert [str(name)[:6] for name in names] == ["cup-00", "cup-01"]


def test_mouse_selection_dragging_and_classes(studio: tuple[str, Studio], open_page: Open) -> None:
    url, made = studio
    page = open_page(url, expected="409")
    add_class(page, "cat")
    add_class(page, "cup")
    drop(page, crops(3))
    count(page, "Unlabeled", 9)
    page.select_option("#order", "name")
    cells = page.locator("#grid .grid-cell")
    cells.nth(0).click()
    cells.nth(2).click(modifiers=["Control"])
    cells.nth(4).drag_to(page.locator(".class-card").nth(1))  # not selected: it alone is dragged
    count(page, "Unlabeled", 8)
    cells.nth(0).click()
    cells.nth(2).click(modifiers=["Shift"])
    cells.nth(1).drag_to(page.locator(".class-card").nth(0))
    count(page, "Unlabeled", 5)
    assert counts_of(page) == ["3", "1"]
    cells.nth(0).click()
    page.locator(".class-go").nth(1).click()  # with a selection, a card labels
    count(page, "Unlabeled", 4)
    page.locator(".class-go").nth(1).click()  # without one, it shows its images
    expect(page.locator("#filters .chip")).to_have_text("cup2×")
    page.get_by_label("Rename, merge or remove cup").click()
    page.get_by_label("Name", exact=True).fill("cat")
    page.get_by_text("Rename", exact=True).click()
    expect(page.locator("dialog .note")).to_contain_text("cat")  # the server's sentence
    page.get_by_label("Name", exact=True).fill("mug")
    page.get_by_text("Rename", exact=True).click()
    expect(page.locator("#filters .chip")).to_have_text("mug2×")
    page.get_by_label("Rename, merge or remove mug").click()
    page.get_by_text("Merge", exact=True).click()
    expect(page.locator(".class-count")).to_have_text(["5"])
    assert [each.name for each in made.project.classes()] == ["cat"]


def test_problems_duplicates_and_folders_are_told(studio: tuple[str, Studio], open_page: Open) -> None:
    url, _ = studio
    page = open_page(url)
    first, second = crops(1)[:2]
    broken = ("<i>broken.jpg", first[1][:3000])
    drop(page, [first, second, ("again.jpg", first[1]), broken])
    expect(page.locator(".message")).to_contain_text("3 images added, 1 duplicate, 1 problem", timeout=TIMEOUT)
    page.locator(".message").get_by_text("Show").click()
    rows = page.locator("dialog tbody tr").all_inner_texts()
    assert rows[0] == "again.jpg\tthe same image as cat-00.jpg"
    assert rows[1].startswith("<i>broken.jpg\t")
    page.keyboard.press("Escape")
    page.click("#bring")
    with page.expect_file_chooser() as chooser:
        page.locator("dialog [data-way=files]").click()
    chooser.value.set_files({"name": "c.jpg", "mimeType": "image/jpeg", "buffer": jpeg("rocket", 7)})
    expect(page.locator(".message")).to_contain_text("1 image added", timeout=TIMEOUT)


def test_a_named_folder_is_read_where_it_is(browser: Browser, open_page: Open, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for name in ("cat", "cup"):
        (photos / name).mkdir(parents=True)
        for seed in range(3):
            (photos / name / f"{seed}.jpg").write_bytes(jpeg(name, seed))
    with serving(tmp_path / "project", folders=(photos,)) as (url, _):
        page = open_page(url, expected="422")
        page.fill("#welcome input[name=path]", "/etc")
        page.locator("#welcome").get_by_text("Read", exact=True).click()
        expect(page.locator(".message.error")).to_contain_text("/etc", timeout=TIMEOUT)
        page.fill("#welcome input[name=path]", str(photos))
        page.locator("#welcome").get_by_text("Read", exact=True).click()
        count(page, "Labeled", 6)
        expect(page.locator(".class-count")).to_have_text(["3", "3"])
        page.context.close()
    assert not (tmp_path / "project" / "images").exists()


def test_two_tabs_and_a_lost_connection(studio: tuple[str, Studio], open_page: Open, tmp_path: Path) -> None:
    url, made = studio
    one, two = open_page(url), open_page(url, expected="ERR_")
    add_class(one, "cat")
    expect(two.locator(".class-name")).to_have_text(["cat"])
    drop(one, crops(2))
    for page in (one, two):
        count(page, "Unlabeled", 6)
    one.focus("#grid")
    one.keyboard.press("1")
    count(two, "Labeled", 1)
    two.context.set_offline(True)
    made.hub.close()  # the stream ends, as when the machine sleeps
    expect(two.locator("#connection")).to_contain_text("connection to the studio is lost", timeout=TIMEOUT)
    two.context.set_offline(False)


def test_a_grid_of_thousands_has_few_elements(studio: tuple[str, Studio], open_page: Open, tmp_path: Path) -> None:
    url, made = studio
    (tmp_path / "one.jpg").write_bytes(jpeg("cat", 0))
    made.project.add_images(
        NewImage(f"{tmp_path}/one.jpg?{number}", f"{number:05}.jpg", f"{number:032x}", SIDE, SIDE, 1)
        for number in range(5000)
    )
    page = open_page(url, view="#label/all", expected="404")  # one file only is there
    page.focus("#grid")
    page.keyboard.press("End")
    last = page.locator("#grid .grid-cell.active")
    expect(last).to_have_attribute("aria-label", "04999.jpg, no label", timeout=TIMEOUT)
    assert page.locator("#grid .grid-cell").count() < 100
    columns, rows = (int(page.get_attribute("#grid", name) or 0) for name in ("aria-colcount", "aria-rowcount"))
    assert rows == -(-5000 // columns)
    assert last.locator("xpath=..").get_attribute("aria-rowindex") == str(rows)
    active = page.get_attribute("#grid", "aria-activedescendant")
    assert active == last.get_attribute("id")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")  # also what was never in sight
    expect(page.locator(".chosen")).to_have_text("5,000 selected", timeout=TIMEOUT)


def wait_for_accuracy(page: Page) -> None:
    expect(page.locator("#accuracy .numeral")).to_be_visible(timeout=2 * TIMEOUT)


def wait_until_solved(made: Studio) -> None:
    """Wait until the live classifier knows the latest labels."""
    until = time.monotonic() + 2 * TIMEOUT / 1000
    while made.learning.live.state().revision < made.project.revision:
        assert time.monotonic() < until
        time.sleep(0.05)


def label_class(page: Page, name: str, key: int, number: int) -> None:
    """Select the first images whose names begin with that of a class, and press its key."""
    expect(page.locator("#grid")).not_to_have_attribute("aria-busy", "true")
    page.locator(f"#grid [aria-label^='{name}']").first.click()
    for _ in range(number - 1):
        page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".chosen")).to_have_text(f"{number} selected")
    page.keyboard.press(str(key))
    expect(page.locator(".class-count").nth(key - 1)).to_have_text(str(number))
    expect(page.locator("#grid [aria-selected=true]:visible")).to_have_count(0)  # they have left the tray


def mend_a_wrong_label(page: Page, made: Studio) -> None:
    """Give a rocket the label cat, find it in the confusion matrix, look at it and right it."""
    page.click("#filters [data-show=labeled]")
    rocket = page.locator("#grid [aria-label^='rocket-00']")
    rocket.click()
    page.keyboard.press("1")  # a wrong label
    page.click("nav a[href='#understand']")
    cell = page.get_by_label("1 image labeled cat, predicted rocket")
    expect(cell).to_be_visible(timeout=2 * TIMEOUT)
    check_accessibility(page)
    cell.click()
    expect(page.locator("#filters .chip")).to_contain_text("labeled cat, predicted rocket")
    rocket.click()
    page.keyboard.press("Enter")
    expect(page.locator("#detail .near img")).to_have_count(6, timeout=TIMEOUT)
    page.click("text=Where the network looked")
    expect(page.locator("#detail figure img")).to_have_js_property("complete", value=True)
    page.keyboard.press("3")
    expect(page.locator("#detail select")).to_have_value("3")
    page.keyboard.press("Escape")
    labels = {each.name: each.class_id for each in made.project.images(ImageQuery(show="labeled")).images}
    assert labels["rocket-00.jpg"] == 3


def test_the_story(learning: tuple[str, Studio], open_page: Open) -> None:
    url, made = learning
    page = open_page(url)
    for name in PHOTOGRAPHS:
        add_class(page, name)
    drop(page, crops(12))
    count(page, "Unlabeled", 36)
    page.select_option("#order", "name")
    for key, name in enumerate(PHOTOGRAPHS, 1):
        label_class(page, name, key, 3)
    wait_for_accuracy(page)
    page.select_option("#order", "suggested")
    expect(page.locator("#grid .suggested:visible").first).to_be_visible(timeout=TIMEOUT)

    page.locator("#grid .suggested:visible").first.click()
    page.keyboard.press("x")
    expect(page.locator("#live")).to_have_text("1 suggestion rejected")
    page.keyboard.press("a")
    expect(page.locator("#live")).to_contain_text("accepted", timeout=TIMEOUT)
    assert made.project.counts().labeled > 9
    assert len(made.project.rejections()) == 1

    assert not set(made.project.labels().items()) & made.project.rejections()
    # Suggestions may be wrong: another program rights what was accepted, so that what follows is certain.
    ids = {each.name: each.id for each in made.project.classes()}
    labeled = made.project.images(ImageQuery(show="labeled")).images
    made.project.set_labels({each.id: ids[each.name.split("-")[0]] for each in labeled})
    mend_a_wrong_label(page, made)
    wait_until_solved(made)
    page.click("nav a[href='#try']")
    drop(page, [("a rocket.jpg", list(jpeg("rocket", 80))), ("broken.jpg", list(jpeg("cat", 1)[:2000]))])
    expect(page.locator(".tray h3")).to_have_text("rocket", timeout=TIMEOUT)
    expect(page.locator(".tray .note", has_text="truncated")).to_be_visible(timeout=TIMEOUT)
    check_accessibility(page)
    page.click("text=Start the camera")
    expect(page.locator(".live .now h3")).to_be_visible(timeout=TIMEOUT)
    expect(page.locator(".live .quiet", has_text="predictions a second")).to_be_visible(timeout=TIMEOUT)
    page.click("nav a[href='#hand-over']")  # the camera goes off
    page.wait_for_function("document.querySelector('#view-try video').srcObject === null", timeout=TIMEOUT)
    with page.expect_download() as download:
        page.click("text=Download labels.csv")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert {row["label"] for row in rows} == set(PHOTOGRAPHS)
    assert len(rows) == made.project.counts().labeled


def test_training_is_shown_and_stopped(learning: tuple[str, Studio], open_page: Open) -> None:
    url, made = learning
    page = open_page(url)
    for name in PHOTOGRAPHS:
        add_class(page, name)
    drop(page, crops(6))
    count(page, "Unlabeled", 18)
    ids = {each.name: each.id for each in made.project.classes()}
    images = made.project.images(ImageQuery()).images
    made.project.set_labels({each.id: ids[each.name.split("-")[0]] for each in images})
    count(page, "Labeled", 18)
    page.click("#fit button")
    expect(page.locator("#job progress")).to_be_visible(timeout=TIMEOUT)
    expect(page.locator("#fit button")).to_be_disabled()
    page.click("#job button")
    expect(page.locator("#job")).to_contain_text("Stopped", timeout=2 * TIMEOUT)
    expect(page.locator("#fit button")).to_be_enabled()


@pytest.mark.slow
@pytest.mark.shared
def test_the_story_with_waste(learning: tuple[str, Studio], open_page: Open, shared: Path) -> None:
    """60 images of trash6: from an empty project to a classifier and an export."""
    folders = sorted(each for each in (shared / "trash6").iterdir() if each.is_dir())
    files = {folder.name: sorted(folder.glob("*.jpg"))[:12] for folder in folders}
    url, made = learning
    page = open_page(url)
    for name in files:
        add_class(page, name)
    drop(page, [(path.name, list(path.read_bytes())) for paths in files.values() for path in paths[:10]])
    count(page, "Unlabeled", 60)
    page.select_option("#order", "name")
    for key, name in enumerate(files, 1):
        label_class(page, name, key, 4)
    wait_for_accuracy(page)
    page.select_option("#order", "suggested")
    expect(page.locator("#grid .suggested:visible").first).to_be_visible(timeout=TIMEOUT)
    while made.project.counts().labeled < 60:
        before = made.project.counts().labeled
        until = time.monotonic() + 2 * TIMEOUT / 1000
        while made.project.counts().labeled == before:
            assert time.monotonic() < until
            # Suggestions may be brought up to date just now: as a person does, press again while the button is on.
            expect(page.locator("[data-action=accept]")).to_be_enabled(timeout=TIMEOUT)
            page.keyboard.press("a")
            page.wait_for_timeout(500)
    count(page, "Labeled", 60)
    page.click("#filters [data-show=all]")
    for key, name in enumerate(files, 1):  # what was accepted wrongly is mended
        for path in files[name][:10]:
            image = page.locator(f"#grid [aria-label^='{path.name}']")
            if f"label {name}" not in str(image.get_attribute("aria-label")):
                image.click()
                page.keyboard.press(str(key))
                expect(image).to_have_attribute("aria-label", f"{path.name}, label {name}")
    expect(page.locator(".class-count")).to_have_text(["10"] * len(files))
    page.select_option("#fit select", "1min")
    page.click("#fit button")
    expect(page.locator("#job a").first).to_be_visible(timeout=10 * TIMEOUT)
    page.click("nav a[href='#try']")
    drop(page, [(paths[10].name, list(paths[10].read_bytes())) for paths in files.values()])
    expect(page.locator(".tray .bars")).to_have_count(len(files), timeout=2 * TIMEOUT)
    page.click("nav a[href='#hand-over']")
    page.locator("#view-hand-over select").first.select_option("onnx")
    page.get_by_text("Export", exact=True).click()
    expect(page.locator("#view-hand-over")).to_contain_text(".onnx", timeout=6 * TIMEOUT)
    with page.expect_download() as download:
        page.locator("a:has-text('Download')").last.click()
    assert Path(download.value.path()).stat().st_size > 1_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_view_is_accessible(studio: tuple[str, Studio], open_page: Open, width: int, scheme: str) -> None:
    url, _ = studio
    page = open_page(url, width=width, color_scheme=scheme)
    check_accessibility(page)
    add_class(page, "cat")
    add_class(page, "cup")
    drop(page, crops(2))
    count(page, "Unlabeled", 6)
    page.focus("#grid")
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")
    check_accessibility(page)
    page.keyboard.press("Enter")
    expect(page.locator("#detail h2")).to_be_visible()
    check_accessibility(page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    check_accessibility(page)
    page.keyboard.press("Escape")
    for view in ("understand", "try", "hand-over"):
        page.locator(f"nav a[href='#{view}']").click()
        expect(page.locator(f"#view-{view}")).to_be_visible()
        check_accessibility(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
