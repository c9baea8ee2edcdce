"""The page of a comparison: complete, self-contained, safe for any names, and whole with many images or runs."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from headstart.evaluate.comparison import ChangedImage, ComparedPair, ComparedRun, Comparison, DifferingSetting
from headstart.evaluate.paired import Differences, Figures, PairedCounts
from headstart.evaluate.schema import Interval
from headstart.report.comparison import METRICS, facts, is_comparison_page, render_comparison, write_comparison
from headstart.report.thumbnails import Thumbnails


def run(name, *, use="choices", **more):
    figures = Figures(0.9, more.pop("top5", None), 0.85, 0.3, 0.15, 0.02)
    return ComparedRun(name, f"runs/{name}", "validation", 60, 2, use, 60 if use == "fitted" else 0, figures, **more)


def differences(value=0.05, low=0.01, high=0.09, **more):
    interval = Interval(value, low, high)
    given = {"top5": None, "balanced_accuracy": interval, "log_loss": interval, "brier": interval, "ece": interval}
    return Differences(PairedCounts(50, 5, 2, 3), interval, p_value=0.4531, **{**given, **more})


def changed(uri, label="cat", predicted="dog"):
    return ChangedImage(uri, label, predicted, 0.87, label, 0.6)


def comparison(*runs, pairs=(), **more):
    given = {
        "on": None,
        "images": 60,
        "classes": 2,
        "matched_by": "content",
        "label_conflicts": 0,
        "settings": (DifferingSetting("stages", ("auto", "none")),),
        "warnings": ("Beware of this.",),
        "notes": ("And know that.",),
        "arguments": ("headstart", "compare", "a", "b"),
        "headstart": "1.2.3",
        "created": "2026-11-28T10:00:00+00:00",
    }
    return Comparison(baseline=runs[0].name, runs=runs, pairs=tuple(pairs), **{**given, **more})


@pytest.fixture
def photo_uri(tmp_path):
    path = tmp_path / "photo.png"
    Image.new("RGB", (60, 60), "red").save(path)
    return str(path)


@pytest.fixture
def page_of(parse):
    return lambda found: parse(render_comparison(found, Thumbnails()))


def test_the_page_of_two_runs(photo_uri, page_of):
    pair = ComparedPair("b", differences(), (changed(photo_uri, "owl"),), (changed(photo_uri),) * 2)
    page = page_of(comparison(run("a"), run("b", seconds=12.0, parameters=1234), pairs=[pair]))
    for text in (
        "+5.0 points of accuracy: b minus a, on the 60 images that both were evaluated on",
        "paired 95 % interval +1.0 to +9.0 · it leaves out zero: b is better",
        "5 gained, 2 lost McNemar's exact test: p = 0.45",
        "50 right in both 5 right in b alone 2 right in a alone 3 wrong in both",
        "b: dog 87 % a: cat 60 %",
        "Beware of this.",
        "And know that.",
        "stages auto none",
        "duration of the fit – 12.0 s",
        "parameters – 1,234",
        "headstart compare a b",
    ):
        assert text in page.text, text
    assert len(page.all("img")) == 3
    assert all(each["src"].startswith("data:image/") and each["alt"] for each in page.all("img"))
    assert len(page.all("h1")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("interval", "accuracy", "log_loss"),
    [
        ((0.05, 0.01, 0.09), "better", "worse"),
        ((-0.05, -0.09, -0.01), "worse", "better"),
        ((0, -0.1, 0.1), *["unclear"] * 2),
    ],
)
def test_green_is_better_whichever_way_a_metric_points(interval, accuracy, log_loss, page_of):
    verdict = {metric.key: metric.verdict(Interval(*interval)) for metric in METRICS}
    assert (verdict["accuracy"], verdict["log_loss"]) == (accuracy, log_loss)
    classes = [
        each["class"]
        for each in page_of(
            comparison(run("a"), run("b"), pairs=[ComparedPair("b", differences(*interval), (), ())])
        ).all("span")
        if each.get("class", "").startswith("delta")
    ]
    assert classes == [f"delta {name}" for name in [accuracy] * 3 + [log_loss] * 3]  # the first is in the header


def test_the_ends_of_the_widest_interval_are_those_of_the_bar():
    pairs = [
        ComparedPair("b", differences(0.02, -0.02, 0.1), (), ()),
        ComparedPair("c", differences(0, -0.05, 0.05), (), ()),
    ]
    source = render_comparison(comparison(run("a"), run("b"), run("c"), pairs=pairs), Thumbnails())
    assert "--low:40.00;--high:100.00;--value:60.00" in source
    assert "--low:25.00;--high:75.00;--value:50.00" in source


def test_more_images_than_fit_are_counted(photo_uri, page_of):
    pair = ComparedPair("b", differences(), (), tuple(changed(photo_uri) for _ in range(700)))
    page = page_of(comparison(run("a"), run("b"), pairs=[pair]))
    assert "the 24 most confident errors of 700" in page.text
    assert len(page.all("img")) == 24


def test_ten_runs_with_many_changes_stay_small(photo_uri, page_of):
    runs = [run(f"run{number}", top5=0.99) for number in range(11)]
    images = tuple(changed(photo_uri) for _ in range(50))
    pairs = [ComparedPair(each.name, differences(top5=Interval(0.0, 0.0, 0.0)), images, images) for each in runs[1:]]
    page = page_of(comparison(*runs, pairs=pairs))
    assert "11 runs on the 60 images that all of them were evaluated on" in page.text
    assert len(page.all("img")) == 240
    assert "the 12 most confident errors of 50" in page.text
    assert "Top-5 accuracy" in page.text


def test_a_fitted_run_is_marked_and_has_no_difference(page_of):
    page = page_of(comparison(run("a"), run("b", use="fitted")))
    assert page.text.count("fitted to these images: not compared") == len(METRICS) - 1
    assert "2 runs on the 60 images" in page.text
    assert "gained" not in page.text
    assert [each for each in page.all("tr") if each.get("class") == "unfair"]
    assert not [each for each in page.all("span") if each.get("class", "").startswith("delta")]


def test_a_single_image_and_no_differing_setting(page_of):
    page = page_of(
        comparison(run("a"), run("b"), pairs=[ComparedPair("b", differences(), (), ())], images=1, settings=())
    )
    assert "on the 1 image that both" in page.text
    assert "no setting differs" in page.text


def test_what_no_run_knows_is_left_out():
    names = [name for name, _ in facts(comparison(run("a"), run("b", classifier_bytes=14_210_000)))]
    assert names == ["evaluated images", "classifier on disk"]


EVIL = ["<script>alert(1)</script>", "\" onload='alert(2)'", "{{ 7 * 7 }} &amp;", "개 🐕", "</style>"]


def test_names_are_escaped(photo_uri, parse):
    images = tuple(changed(photo_uri, name, name) for name in EVIL)
    pair = ComparedPair(EVIL[1], differences(), images, images)
    found = comparison(
        *(run(name) for name in EVIL[:2]),
        pairs=[pair],
        warnings=tuple(EVIL),
        notes=tuple(EVIL),
        arguments=tuple(EVIL),
        settings=(DifferingSetting(EVIL[0], tuple(EVIL[:2])),),
    )
    source = render_comparison(found, Thumbnails())
    page = parse(source)
    assert not page.all("script")
    assert not [attributes for _, attributes in page.elements if {"onload", "onerror"} & attributes.keys()]
    assert len(page.all("style")) == 1
    assert all(name in page.text for name in EVIL)
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", re.sub(r"base64,[\w+/=]+", "", source))
    policies = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_an_image_that_is_gone_has_a_placeholder(tmp_path, page_of):
    pair = ComparedPair("b", differences(), (), (changed(str(tmp_path / "gone.jpg")),))
    assert "no image: no such file" in page_of(comparison(run("a"), run("b"), pairs=[pair])).text


def test_a_page_is_recognized(tmp_path):
    path, other = tmp_path / "page.html", tmp_path / "other.html"
    other.write_text("<html>")
    assert write_comparison(comparison(run("a"), run("b")), path) == path
    assert is_comparison_page(path)
    assert not is_comparison_page(other)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
