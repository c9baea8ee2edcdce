"""The page: complete, self-contained, and safe for any names of classes and files."""

import base64
import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

from headstart.artifacts.run_folder import read_run
from headstart.evaluate import calibration_metrics, ood_metrics, prediction_set_metrics
from headstart.evaluate.schema import (
    ClassMetrics,
    Interval,
    SeedSpread,
    Summary,
    TrialRecord,
)
from headstart.report import render, write_report
from headstart.report.collect import collect
from headstart.report.formatting import percent, plain

SECTIONS = [
    *("metrics", "samples", "predictions", "confused-pairs", "confusion-matrix", "classes", "reliability"),
    *("usage", "training", "skipped-images", "provenance"),
]


@pytest.fixture
def page_of(parse):
    return lambda run: parse(write_report(run).read_text(encoding="utf-8"))


def test_the_page_is_complete(make_run, page_of):
    run = make_run(["cat", "dog", "owl"], problems=[("broken.jpg", "empty file")], skill=0.5)
    page = page_of(run)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [name for name in ids if name in SECTIONS] == SECTIONS
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == 1
    assert len(page.all("svg")) == 5  # four curves, reliability
    assert all(attributes["alt"] and attributes["src"].startswith("data:image/") for attributes in page.all("img"))
    for text in (
        "headstart fit photos --model 'a model'",
        "1 of 19 images could not be used",
        "broken.jpg empty file",
        "l2 not set",
        "seed 0",
        "total 12.2 s",
        f"numpy {np.__version__}",
    ):
        assert text in page.text
    created = read_run(run).info.created.replace("T", " ")
    assert page.text.count(created) == 2
    assert "The ring marks what was chosen: L2 penalty 0.001 (validation loss 0.7000, accuracy 80.0" in page.text


def test_a_link_in_the_run_is_replaced(make_run, tmp_path):
    run, elsewhere = make_run(["cat", "dog"]), tmp_path / "elsewhere.txt"
    elsewhere.write_text("precious")
    (run / "report.html").symlink_to(elsewhere)
    page = write_report(run)
    assert not page.is_symlink()
    assert "</html>" in page.read_text(encoding="utf-8")
    assert elsewhere.read_text() == "precious"


def test_nothing_is_loaded_from_elsewhere(make_run, parse):
    source = write_report(make_run(["cat", "dog"])).read_text(encoding="utf-8")
    page = parse(source)
    assert not re.search(
        r"https?:|//\w|@import|url\((?!#)", re.sub(r"base64,[\w+/=]+|<pre.*?</pre>", "", source, flags=re.DOTALL)
    )
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.elements}
    (script,) = re.findall(r"<script>(.*?)</script>", source, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert not [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    policies = [tag["content"] for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"]


EVIL = ["<script>alert(1)</script>", "\" onload='alert(2)'", "{{ 7 * 7 }} &amp; $x_1$", "개 🐕", "a_b", "</style>"]


def test_names_are_escaped(make_run, page_of):
    page = page_of(make_run(EVIL, skill=0.0, problems=[('"><img src=x onerror="alert(3)">.jpg', "<b>odd</b>")]))
    assert page.all("script") == [{}]  # that of the page
    assert not [attributes for _, attributes in page.elements if {"onload", "onerror"} & attributes.keys()]
    assert all(attributes["src"].startswith("data:") for attributes in page.all("img"))
    assert len(page.all("style")) == 1
    for name in EVIL:
        assert name in page.text
        assert name in {attributes.get("alt") for attributes in page.all("img")}
    assert '"><img src=x onerror="alert(3)">.jpg <b>odd</b>' in page.text


def test_missing_images_have_a_placeholder(make_run, page_of):
    page = page_of(make_run(["cat", "dog"], gone=range(12)))
    assert not page.all("img")
    assert "no image: no such file" in page.text
    assert "cat: no image" in {attributes.get("aria-label") for attributes in page.all("span")}


def test_without_history_and_problems(make_run, page_of):
    page = page_of(make_run(["cat", "dog"], history=()))
    assert "This run has no training history." in page.text
    assert "None: all 12 images could be read." in page.text


def test_a_model_without_errors(make_run, page_of):
    page = page_of(make_run(["cat", "dog"], skill=50.0))
    assert "100.0 % of 12 validation images classified correctly" in page.text
    assert "Most confused" not in page.text
    assert "Most confident errors" not in page.text


def test_a_class_without_images(make_run, page_of, change):
    run = make_run(["cat", "dog", "owl"], each=4)
    empty = ClassMetrics("owl", images=0, precision=None, recall=None, f1=None)
    change(run, per_class=(*read_run(run).evaluation.per_class[:2], empty))
    assert "owl 0 – – –" in page_of(run).text


def test_notes_and_summary(make_run, page_of, change, change_info):
    run = make_run(["cat", "dog"])
    change_info(run, created="2025-03-01T12:30:00+01:00", versions={"torch": "2.6.0"}, arguments=(), seeds=(3, 4))
    summary = Summary(
        "resnet<50>",
        images={"train": 9000, "test": 7},
        problems=0,
        seconds={"training": 1.25},
        train="head",
        parameters=1000,
        trainable_parameters=20,
    )
    change(run, notes=("Chosen on these.", "Seen before."), summary=summary)
    text = page_of(run).text
    for expected in (
        "Chosen on these. Seen before.",
        "resnet<50>",
        "head: 20 of 1,000 parameters",
        "training 1.2 s",
        "Training images 9,000 Test images 7",
        "seeds 3, 4",
        "How this run was made headstart fit Settings",
        "torch 2.6.0",
        "Created 2025-03-01 12:30:00+01:00",
    ):
        assert expected in text


@pytest.fixture
def uncertainty():
    """The optional parts of an evaluation, of an overconfident model of three classes."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) * 3
    logits[np.arange(300), targets] += 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = ["cat", "<dog>", "owl"]
    return {
        "calibration": calibration_metrics(logits, targets, temperature=3.456, cross_fitted=True),
        "prediction_sets": prediction_set_metrics(probabilities, targets, names, threshold=0.99, cross_fitted=True),
        "out_of_distribution": ood_metrics(rng.normal(size=300) + 4, threshold=5.6, cross_fitted=False),
    }


def test_the_uncertainty_section(make_run, page_of, change, uncertainty):
    run = make_run(["cat", "<dog>", "owl"])
    assert "Uncertainty" not in page_of(run).text
    change(run, **uncertainty)
    page = page_of(run)
    assert len(page.all("svg")) == 7
    calibration, sets, ood = uncertainty.values()
    for expected in (
        "The network was overconfident: its temperature is 3.46.",
        f"Log loss {calibration.before.log_loss.value:.3f}",
        f"Sets of {sets.mean_size.value:.2f} classes on average contain the true class of "
        f"{percent(sets.covered.value)} of the images; the target is 90\u202f%.",
        f"the class with the lowest coverage is {sets.least_covered.name}",
        f"{percent(ood.flagged.value)} of the images of the classes are flagged as out of distribution; the target is",
        "Cross-fitted: each image is evaluated with what was fitted on other images.",
        "Fitted on the validation split, evaluated on these validation images.",
    ):
        assert " ".join(expected.split()) in page.text


@pytest.mark.parametrize("key", ["calibration", "prediction_sets", "out_of_distribution"])
def test_each_part_of_the_uncertainty_stands_alone(make_run, page_of, change, uncertainty, key):
    run = make_run(["cat", "<dog>", "owl"])
    change(run, **{key: uncertainty[key]})
    text = page_of(run).text
    titles = {
        "calibration": "Temperature scaling",
        "prediction_sets": "Prediction sets",
        "out_of_distribution": "Out-of-distribution detection",
    }
    assert [title for title in titles.values() if title in text] == [titles[key]]


def test_trials_and_seeds(make_run, made_run, page_of, change):
    record = made_run.record
    history = [record("head", 1, 1.0, 1.0, l2=0.1, trial="head", chosen=True)]
    history += [record("finetune", n, 1.0, 1.5, trial="last:1") for n in (1, 2)]
    history += [record("finetune", n, 1.0, 0.5, trial="<all>") for n in (1, 2)]
    run = make_run(["cat", "dog"], history=history)
    interval = Interval(0.8, 0.7, 0.9)
    trials = (
        TrialRecord("head", interval, log_loss=0.5, seconds=1.25, chosen=False, note="worse"),
        TrialRecord("<all>", Interval(0.9, 0.8, 1.0), log_loss=0.25, seconds=20, chosen=False),
        TrialRecord("last:1", Interval(0.9, 0.8, 1.0), log_loss=0.25, seconds=3, chosen=True, note="best"),
    )
    change(run, trials=trials, seeds=SeedSpread((3, 4), accuracy=(0.8, 0.9), log_loss=(0.5, 0.7), mean=0.85, sd=0.0707))
    text = page_of(run).text
    for expected in (
        "head 70.0 % to 90.0 % 80.0 % 0.5000 1.2 worse",
        "<all> 80.0 % to 100.0 % 90.0 % 0.2500 20.0 last:1 80.0 % to 100.0 % 90.0 % 0.2500 3.0 chosen; best",
        "3 80.0 % 0.5000 4 90.0 % 0.7000 mean ± standard deviation 85.0 % ± 7.07 % 0.6000 ± 0.1414",
        "Loss by epoch, last:1",
        "Not shown, but in history.jsonl: <all>.",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("prior", "text"),
    [("pretrained", " towards the pretrained head"), ("discriminant", " towards discriminant analysis"), ("zero", "")],
)
def test_the_prior_of_the_head_is_named(make_run, made_run, page_of, prior, text):
    history = [made_run.record("head", 1, 1.0, 1.0, l2=0.1, prior=prior, chosen=True)]
    assert f"what was chosen: L2 penalty 0.1{text} (validation loss" in page_of(make_run("ab", history=history)).text


def test_many_problems_are_counted_and_truncated(make_run, page_of):
    problems = [(f"{number}.jpg", "empty file" if number % 3 else "no such file") for number in range(60)]
    page = page_of(make_run(["cat", "dog"], problems=problems))
    assert "60 of 72 images could not be used" in page.text
    assert "40 empty file 20 no such file" in page.text
    assert "The first 50; all are in problems.csv" in page.text
    assert "49.jpg" in page.text
    assert "50.jpg" not in page.text


def test_groups_of_images_are_named_where_intervals_are_explained(make_run, page_of, change):
    run = make_run(["cat", "dog"])
    assert "They take the images as independent of each other" in page_of(run).text
    change(run, groups=5)
    text = page_of(run).text
    assert "These 12 images in 5 groups are a sample" in text
    assert "another sample of such groups of images: there are 5." in text
    assert "independent of each other" not in text


def test_the_true_class_always_has_a_bar(make_run, page_of):
    run = make_run([f"class {number}" for number in range(20)], each=1, skill=-3.0)
    page = page_of(run)
    bars = [attributes["class"] for attributes in page.all("li") if "class" in attributes]
    assert bars.count("true") == len(page.all("article")) - 8  # all articles except the pairs
    assert bars.count("wrong") == bars.count("true")


def test_120_classes_take_little_space(make_run, parse):
    names = [f"a_breed_of_dog_number_{number}" for number in range(120)]
    path = write_report(make_run(names, each=3))
    assert path.stat().st_size < 3_000_000
    text = parse(path.read_text(encoding="utf-8")).text
    assert "The 24 classes that are confused most with each other" in text
    assert text.count("a_breed_of_dog_number_119 3 ") == 1


def test_1000_classes_are_a_page_below_5_megabytes(make_run, parse):
    path = write_report(make_run([f"class_{number}_of_a_thousand_things" for number in range(1000)], each=1, skill=3.0))
    page = parse(path.read_text(encoding="utf-8"))
    assert path.stat().st_size < 5_000_000
    assert len(page.all("tr")) < 1100  # one row per class, and no table of all pairs
    assert "The 24 classes that are confused most with each other" in page.text


def test_the_same_run_gives_the_same_page(make_run):
    run = make_run(["cat", "dog"])
    assert render(collect(read_run(run))) == render(collect(read_run(run)))
    assert sorted(path.name for path in run.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("share", "text"), [(0.8425, "84.2"), (0.0, "0.0"), (0.0004, "<0.1"), (0.0006, "0.1"), (1.0, "100.0")]
)
def test_percent(share, text):
    assert percent(share) == f"{text}\u202f%"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not set"), (True, "yes"), (1e-4, "0.0001"), (1204280, "1204280"), (["a", 2], "a, 2"), ([], "none"),
     ({"a": None}, "a: not set"), ("x", "x")],
)  # fmt: skip
def test_values_of_settings(value, text):
    assert plain(value) == text


def test_import_loads_no_heavy_packages():
    heavy = "{'torch', 'scipy', 'sklearn', 'matplotlib'}"
    code = f"import sys, headstart.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_worst_classes_have_images_of_their_errors(make_run, page_of):
    page = page_of(make_run(["cat", "dog", "owl"], skill=0.2))
    assert "Worst classes with their errors" in page.text
    errors = {tag["alt"] for tag in page.all("img") if tag["alt"].endswith(", wrong prediction")}
    assert errors
    assert errors <= {f"{name}, wrong prediction" for name in ("cat", "dog", "owl")}


def test_without_errors_there_are_no_worst_classes(make_run, page_of):
    assert "Worst classes" not in page_of(make_run(["cat", "dog"], skill=50.0)).text
