"""The page: complete, of one piece, and safe whatever names classes and files have."""

import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from headstart.evaluate import novelty_section, sets_section, temperature_section
from headstart.report import collect, render, write_report
from headstart.report.page import _percent, _plain

VOID = {"meta", "img", "wbr", "br", "path", "rect", "use", "input"}
SECTIONS = ["figures", "samples", "predictions", "pairs", "confusion", "classes", "reliability", "learning", "problems"]


class Page(HTMLParser):
    """Elements with their attributes, and the text outside of style sheets; refuses elements that do not nest."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(source)
        self.close()
        assert self.open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.text += " " if tag in {"td", "th", "li", "p", "dt", "dd", "small"} else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page_of():
    return lambda run: Page(write_report(run).read_text(encoding="utf-8"))


def test_it_is_whole(make_run, page_of):
    page = page_of(make_run(["cat", "dog", "owl"], problems=[("broken.jpg", "empty file")], skill=0.5))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [name for name in ids if name in SECTIONS] == SECTIONS
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("svg")) == 6  # four curves, confusion, reliability
    assert all(attributes["alt"] and attributes["src"].startswith("data:image/") for attributes in page.all("img"))
    for text in ("headstart fit photos", "1 of 19 images could not be used", "broken.jpg empty file", "l2 not set"):
        assert text in page.text
    assert "The ring marks what was chosen: L2 strength 0.001 (validation loss 0.7000, accuracy 80.0" in page.text


def test_nothing_comes_from_elsewhere(make_run):
    source = write_report(make_run(["cat", "dog"])).read_text(encoding="utf-8")
    page = Page(source)
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", re.sub(r"base64,[\w+/=]+", "", source))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.elements}
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    policies = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


EVIL = ["<script>alert(1)</script>", "\" onload='alert(2)'", "{{ 7 * 7 }} &amp; $x_1$", "개 🐕", "a_b", "</style>"]


def test_names_are_only_text(make_run, page_of):
    page = page_of(make_run(EVIL, skill=0.0, problems=[('"><img src=x onerror="alert(3)">.jpg', "<b>odd</b>")]))
    assert not page.all("script")
    assert not [attributes for _, attributes in page.elements if {"onload", "onerror"} & attributes.keys()]
    assert all(attributes["src"].startswith("data:") for attributes in page.all("img"))
    assert len(page.all("style")) == 1
    for name in EVIL:
        assert name in page.text
        assert name in {attributes.get("alt") for attributes in page.all("img")}
    assert '"><img src=x onerror="alert(3)">.jpg <b>odd</b>' in page.text


def test_pictures_that_are_gone(make_run, page_of):
    page = page_of(make_run(["cat", "dog"], gone=range(12)))
    assert not page.all("img")
    assert "no picture: no such file" in page.text
    assert "cat: no picture" in {attributes.get("aria-label") for attributes in page.all("span")}


def test_without_history_and_problems(make_run, page_of):
    page = page_of(make_run(["cat", "dog"], history=[]))
    assert "This run kept no history of its training." in page.text
    assert "None: all 12 images could be read." in page.text


def test_a_model_without_a_mistake(make_run, page_of):
    page = page_of(make_run(["cat", "dog"], skill=50.0))
    assert "100.0 % of 12 validation images are given their true class" in page.text
    assert "Most confused" not in page.text
    assert "Surest and wrong" not in page.text


def test_a_class_without_images(make_run, page_of, change):
    run = make_run(["cat", "dog", "owl"], each=4)
    data = collect(run)
    empty = {"class": "owl", "images": 0, "precision": None, "recall": None, "f1": None}
    change(run / "evaluation.json", per_class=[*data.evaluation["per_class"][:2], empty])
    assert "owl 0 – – –" in page_of(run).text


def test_notes_and_summary(make_run, page_of, change):
    run = make_run(["cat", "dog"])
    change(run / "settings.json", created="2025-03-01", versions={"torch": "2.6.0"})
    summary = {"model": "resnet<50>", "train": "head", "parameters": 1000, "trainable": 20, "seconds": {"fit": 1.25}}
    change(run / "evaluation.json", note="Chosen on these.", notes=["Seen before."], summary=summary)
    text = page_of(run).text
    for expected in (
        "Chosen on these. Seen before.",
        "resnet<50>",
        "head: 20 of 1,000 parameters",
        "fit 1.2 s",
        "torch 2.6.0",
        "Made 2025-03-01",
    ):
        assert expected in text


@pytest.fixture
def doubt():
    """The sections that an evaluation may have besides, of a bold model of three classes."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) * 3
    logits[np.arange(300), targets] += 3
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = ["cat", "<dog>", "owl"]
    return {
        "calibration": temperature_section(logits, targets, temperature=3.456, cross_fitted=True),
        "sets": sets_section(shares, targets, names, threshold=0.99, cross_fitted=True),
        "novelty": novelty_section(rng.normal(size=300) + 4, threshold=5.6, cross_fitted=False),
    }


def test_when_it_is_in_doubt(make_run, page_of, change, doubt):
    run = make_run(["cat", "<dog>", "owl"])
    assert "When it is in doubt" not in page_of(run).text
    change(run / "evaluation.json", **doubt)
    page = page_of(run)
    assert len(page.all("svg")) == 8
    sets, novelty = doubt["sets"], doubt["novelty"]
    for expected in (
        "It was surer than it was right: a temperature of 3.46.",
        f"Log loss {doubt['calibration']['before']['log_loss']['value']:.3f}",
        f"A set of {sets['mean_size']['value']:.2f} classes on average holds the true one in "
        f"{_percent(sets['covered']['value'])}; 90\u202f% was asked for.",
        f"least often held is {sets['least']['class']}",
        f"{_percent(novelty['strange']['value'])} of images that do belong to a class are called strange",
        "Each image is examined with what the other images asked for.",
        "Chosen on the validation part, examined on these validation images.",
    ):
        assert " ".join(expected.split()) in page.text


@pytest.mark.parametrize("key", ["calibration", "sets", "novelty"])
def test_each_stands_alone(make_run, page_of, change, doubt, key):
    run = make_run(["cat", "<dog>", "owl"])
    change(run / "evaluation.json", **{key: doubt[key]})
    text = page_of(run).text
    titles = {"calibration": "Percentages put right", "sets": "Several names", "novelty": "None of these"}
    assert [title for title in titles.values() if title in text] == [titles[key]]


def test_the_ladder_and_the_seeds(make_run, page_of, change):
    history = [{"stage": "head", "epoch": 1, "loss": 1, "val_loss": 1.0, "l2": 0.1, "rung": "head", "chosen": True}]
    history += [{"stage": "tail", "epoch": n, "loss": 1, "val_loss": 1.5, "rung": "block"} for n in (1, 2)]
    history += [{"stage": "tail", "epoch": n, "loss": 1, "val_loss": 0.5, "rung": "<all>"} for n in (1, 2)]
    run = make_run(["cat", "dog"], history=history)
    row = {"what": "the last layer", "low": 0.7, "high": 0.9, "log_loss": 0.5, "seconds": 1.25, "note": "worse"}
    bare = {"rung": "<all>", "accuracy": 0.9, "chosen": False}
    ladder = [{"rung": "head", "accuracy": 0.8, "chosen": False, **row}, bare]
    ladder += [{**bare, "rung": "block", "chosen": True, "note": "best"}]
    seeds = {"seeds": [3, 4], "accuracy": [0.8, 0.9], "log_loss": [0.5, 0.7], "mean": 0.85, "sd": 0.0707}
    change(run / "evaluation.json", ladder=ladder, seeds=seeds)
    text = page_of(run).text
    for expected in (
        "head the last layer 70.0 % to 90.0 % 80.0 % 0.5000 1.2 worse",
        "<all> 90.0 % – – block 90.0 % – – chosen; best",
        "3 80.0 % 0.5000 4 90.0 % 0.7000 mean ± standard deviation 85.0 % ± 7.07 % 0.6000 ± 0.1414",
        "Loss by epoch, block",
        "Not drawn, but in history.jsonl: <all>.",
    ):
        assert expected in text


def test_many_problems_are_counted_and_cut(make_run, page_of):
    problems = [(f"{number}.jpg", "empty file" if number % 3 else "no such file") for number in range(60)]
    page = page_of(make_run(["cat", "dog"], problems=problems))
    assert "60 of 72 images could not be used" in page.text
    assert "40 empty file 20 no such file" in page.text
    assert "The first 50; all are in problems.csv" in page.text
    assert "49.jpg" in page.text
    assert "50.jpg" not in page.text


def test_the_true_class_is_always_among_the_bars(make_run):
    run = make_run([f"class {number}" for number in range(20)], each=1, skill=-3.0)
    page = Page(write_report(run).read_text(encoding="utf-8"))
    bars = [attributes["class"] for attributes in page.all("li") if "class" in attributes]
    assert bars.count("true") == len(page.all("article")) - 8  # all articles but the pairs
    assert bars.count("wrong") == bars.count("true")


def test_120_classes_in_time_and_size(make_run):
    names = [f"a_breed_of_dog_number_{number}" for number in range(120)]
    run = make_run(names, each=3)
    start = time.perf_counter()
    path = write_report(run)
    assert time.perf_counter() - start < 6
    assert path.stat().st_size < 3_000_000
    text = Page(path.read_text(encoding="utf-8")).text
    assert "The 24 classes with the most mistakes" in text
    assert "All 120 classes" in text


def test_the_same_run_gives_the_same_page(make_run):
    run = make_run(["cat", "dog"])
    assert render(collect(run)) == render(collect(run))
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("share", "text"), [(0.8425, "84.2"), (0.0, "0.0"), (0.0004, "<0.1"), (0.0006, "0.1"), (1.0, "100.0")]
)
def test_percent(share, text):
    assert _percent(share) == f"{text}\u202f%"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not set"), (True, "yes"), (1e-4, "0.0001"), (1204280, "1204280"), (["a", 2], "a, 2"), ([], "none"),
     ({"a": None}, "a: not set"), ("x", "x")],
)  # fmt: skip
def test_settings_as_a_person_writes_them(value, text):
    assert _plain(value) == text


def test_importing_it_is_light():
    heavy = "{'torch', 'scipy', 'sklearn', 'matplotlib'}"
    code = f"import sys, headstart.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_worst_classes_are_shown_with_pictures(make_run, page_of):
    page = page_of(make_run(["cat", "dog", "owl"], skill=0.2))
    assert "The worst, with what was missed" in page.text
    missed = [attributes["alt"] for attributes in page.all("img") if attributes["alt"].endswith(", missed")]
    assert {"cat, missed", "dog, missed", "owl, missed"} >= set(missed) != set()


def test_without_mistakes_there_is_no_worst(make_run, page_of):
    assert "The worst" not in page_of(make_run(["cat", "dog"], skill=50.0)).text
