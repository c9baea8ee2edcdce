"""The page: one file that runs in a browser and loads nothing. Needs Chromium, and the npm package onnxruntime-web."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.sources.read import read_images
from headstart.errors import SettingsError
from headstart.export.registry import format_of_file
from headstart.export.web_runtime import load_web_runtime
from headstart.workflow.export import export

ROOT = Path(__file__).parent.parent.parent
FLOAT32 = EngineSettings(precision="float32", engine="torch")


@pytest.fixture(scope="module")
def page_file(fitted: Path, web_runtime: Path) -> Path:
    path = fitted.parent / "exports" / "dogs.html"
    path.parent.mkdir(exist_ok=True)
    return export(str(fitted), "html", path=path, runtime=web_runtime).path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if shutil.which("chromium") is None:
        pytest.skip("no chromium")
    from playwright.sync_api import sync_playwright

    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", *camera])
        yield running
        running.close()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_browser_gives_the_same_answers(
    browser: Any, page_file: Path, classifier: Classifier, photos: Path, width: int, scheme: str
) -> None:
    images = sorted(photos.glob("*/*.jpg"))
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    page.locator("body[data-ready=yes]").wait_for(timeout=120_000)
    page.set_input_files("#file", [str(path) for path in images])
    page.locator("article").nth(len(images) - 1).wait_for(timeout=120_000)
    cards = page.locator("article").all()[::-1]  # the last image is shown first
    found = [(card.get_attribute("data-top"), float(card.get_attribute("data-probability"))) for card in cards]
    expected = classifier.predict_proba(list(images), settings=FLOAT32)
    assert [name for name, _ in found] == [classifier.classes[row.argmax()] for row in expected]
    assert [value for _, value in found] == pytest.approx(expected.max(1), abs=1e-3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#camera").click()
    page.locator("#shoot").click()
    page.locator("article").nth(len(images)).wait_for(timeout=60_000)
    page.locator("#stop").click()
    assert messages == []
    assert {url.partition(":")[0] for url in requests} <= {"file", "blob"}
    page.close()


GIVEN = """([kind, name, numbers]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(numbers)], name, { type: "image/jpeg" }));
  const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: given, bubbles: true });
  document.getElementById("drop").dispatchEvent(event);
  return event.defaultPrevented;
}"""


@pytest.mark.slow
def test_drop_paste_and_the_keyboard_alone(browser: Any, page_file: Path, classifier: Classifier, photos: Path) -> None:
    images = [photos / "coffee" / "1.jpg", photos / "rocket" / "2.jpg", photos / "chelsea" / "3.jpg"]
    expected = classifier.predict(images, settings=FLOAT32)
    page = browser.new_page()
    page.on("filechooser", lambda chooser: chooser.set_files(str(images[2])))
    page.goto(page_file.as_uri())
    page.locator("body[data-ready=yes]").wait_for(timeout=120_000)
    cards = page.locator("article")
    assert page.evaluate(GIVEN, ["drop", "dropped.jpg", list(images[0].read_bytes())])  # else the browser opens it
    cards.nth(0).wait_for(timeout=60_000)
    page.evaluate(GIVEN, ["paste", "pasted.jpg", list(images[1].read_bytes())])
    cards.nth(1).wait_for(timeout=60_000)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Enter")
    cards.nth(2).wait_for(timeout=60_000)
    assert [card.get_attribute("data-top") for card in cards.all()] == list(expected[::-1])
    assert cards.locator("h2").all_inner_texts() == ["3.jpg", "pasted.jpg", "dropped.jpg"]
    for key in ("Tab", "Enter"):  # to the camera, and on
        page.keyboard.press(key)
    page.locator("#shoot").wait_for()
    assert page.evaluate("document.activeElement.id") == "shoot"
    page.keyboard.press("Enter")
    cards.nth(3).wait_for(timeout=60_000)
    for key in ("Tab", "Enter"):
        page.keyboard.press(key)
    page.locator("#live").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.id") == "camera"
    page.close()


@pytest.mark.slow
def test_a_file_that_is_no_image(browser: Any, page_file: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    page = browser.new_page()
    page.goto(page_file.as_uri())
    page.locator("body[data-ready=yes]").wait_for(timeout=120_000)
    page.set_input_files("#file", str(tmp_path / "broken.jpg"))
    page.get_by_text("broken.jpg: this is no image that the browser can read").wait_for(timeout=60_000)
    page.close()


@pytest.mark.slow
def test_a_script_without_headstart(browser: Any, page_file: Path, classifier: Classifier, photos: Path) -> None:
    image = photos / "coffee" / "3.jpg"
    script = ROOT / "examples" / "run_html.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 20
    command = [sys.executable, str(script), str(page_file), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split(" ", 1)[1].strip() == classifier.predict([image], settings=FLOAT32)[0]


def test_the_page_is_a_classifier_as_well(page_file: Path, classifier: Classifier, photos: Path) -> None:
    made = format_of_file(page_file)
    assert made is not None
    assert made.name == "html"
    assert made.open(page_file).metadata.classes == classifier.classes
    assert page_file.stat().st_size < 40e6
    assert len(read_images(photos)) == 72


def test_a_runtime_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no ort\.wasm\.bundle\.min\.mjs and ort-wasm-simd-threaded\.wasm"):
        load_web_runtime(tmp_path)
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (tmp_path / name).write_bytes(b"another version")
    with pytest.raises(SettingsError, match=r"is not that of the npm package onnxruntime-web@1\.30\.0"):
        load_web_runtime(tmp_path)
    (tmp_path / "package.tgz").write_bytes(b"no archive")
    with pytest.raises(SettingsError, match="is not the archive of the npm package"):
        load_web_runtime(tmp_path / "package.tgz")
