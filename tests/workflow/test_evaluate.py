from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.artifacts.classifier import Classifier
from headstart.artifacts.run_folder import read_run
from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import DataError, OutputError, RunError
from headstart.evaluate.schema import Interval
from headstart.workflow.evaluate import (
    evaluate,
    evaluation_folder,
    evaluation_lines,
    images_of_run,
    save_evaluation,
)
from headstart.workflow.fit import FitResult
from headstart.workflow.predict import open_classifier, predict
from headstart.workflow.report import report
from headstart.workflow.runs import save_run

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]
PLAIN = EngineSettings(engine="torch", precision="float32")
INT8 = EngineSettings(precision="int8")


def test_spelling_of_labels(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3, green=3))
    capitals = manifest.with_column("label", [str(label).upper() for label in manifest.labels])
    found, evaluation = evaluate(classifier, capitals, PLAIN)
    assert (evaluation.split, evaluation.images, evaluation.classes) == ("test", 6, ("blue", "green", "red"))
    assert evaluation.top1.value == 1
    assert found.manifest.labels == manifest.labels
    assert evaluation.notes[0].startswith("headstart cannot know whether these images were used in training")


def test_images_without_a_label_are_left_out(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3, green=3))
    _, evaluation = evaluate(classifier, manifest.with_column("label", [None, *manifest.labels[1:]]), PLAIN)
    assert evaluation.images == 5


def test_images_that_were_trained_on_are_left_out(photos: Photos, fitted: Fit, tmp_path: Path, told: Any) -> None:
    old = photos(red=8, green=8)
    run = save_run(fitted(old), tmp_path / "run")
    known = images_of_run(run)
    assert known is not None
    assert len(known) == 16
    classifier, new = open_classifier(str(run)), photos("new", seed=2, red=3, green=3)
    shutil.copytree(old, new, dirs_exist_ok=True)
    events = told()
    found, evaluation = evaluate(classifier, read_images(new), PLAIN, fitted_to=known, events=events)
    assert (evaluation.images, len(found.manifest), len(found.probabilities)) == (6, 6, 6)
    assert evaluation.leaks is not None
    assert evaluation.leaks.images == 16
    assert evaluation.notes[0] == evaluation.leaks.note()
    assert f"warning: {evaluation.leaks.note()}" in events.lines
    assert report(save_evaluation(found, evaluation, tmp_path / "evaluated", settings={})).is_file()


def test_an_evaluation_on_training_images_says_so(photos: Photos, fitted: Fit, tmp_path: Path) -> None:
    folder = photos(red=8, green=8)
    run = save_run(fitted(folder), tmp_path / "run")
    _, evaluation = evaluate(open_classifier(str(run)), read_images(folder), PLAIN, fitted_to=images_of_run(run))
    assert (evaluation.split, evaluation.images, evaluation.leaks) == ("train", 16, None)
    assert "say nothing about other images" in evaluation.notes[0]
    assert images_of_run("tf_efficientnet_lite0") is None


def test_labels_must_be_classes(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3))
    with pytest.raises(DataError) as caught:
        evaluate(classifier, manifest.with_column("label", [None] * 3), PLAIN)
    assert str(caught.value) == (
        "no image has a label: give one subfolder per class, or a table of labels (--labels TABLE)"
    )
    with pytest.raises(DataError) as caught:
        evaluate(classifier, manifest.with_column("label", ["red", "mauve", "red"]), PLAIN)
    assert str(caught.value) == (
        "the label 'mauve' must match one of the classifier's 3 classes (for example 'blue'), but matches none; "
        "use the same names for labels and classes"
    )


def test_an_evaluation_has_its_own_report(photos: Photos, fitted: Fit, tmp_path: Path, told: Any) -> None:
    run = save_run(fitted(photos(red=8, green=8)), tmp_path / "run")
    classifier = open_classifier(str(run))
    images = photos("new", seed=2, red=4, green=4)
    (images / "red" / "bad.png").write_bytes(b"")
    events = told()
    settings = EngineSettings.of(engine="torch", max_problems=0.5)
    found, evaluation = evaluate(classifier, read_images(images), settings, events=events)
    assert "predicting" in events.stages
    assert evaluation.summary is not None
    assert (evaluation.summary.problems, evaluation.summary.images) == (1, {"test": 8})
    folder = save_evaluation(
        found, evaluation, run / "evaluations" / "new", settings={"classifier": str(run)}, arguments=["headstart"]
    )
    assert report(folder).stat().st_size > 1000
    assert (folder / "problems.csv").read_text().splitlines()[1:] == [f"{images / 'red' / 'bad.png'},empty file"]
    assert len(Manifest.read(folder / "manifest.parquet")) == 9
    with (folder / "classes.csv").open(newline="") as file:
        assert [(row["class"], row["images"]) for row in csv.DictReader(file)] == [("green", "4"), ("red", "4")]
    back = read_run(folder)
    assert back.evaluation == evaluation
    assert (back.info.command, back.info.settings, back.info.arguments) == (
        "evaluate",
        {"classifier": str(run)},
        ("headstart",),
    )


def test_lines_state_speed_and_the_worst_classes(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3, green=3))
    wrong = ["blue" if label == "red" else label for label in manifest.labels]
    _, evaluation = evaluate(classifier, manifest.with_column("label", wrong), PLAIN)
    speed, head, row, *more = evaluation_lines(evaluation)
    assert evaluation.summary is not None
    assert float(speed.split()[0].replace(",", "")) == pytest.approx(evaluation.summary.images_per_second, abs=0.51)
    assert head.split() == ["worst", "classes", "images", "recall", "(95", "%", "interval)", "predicted", "as"]
    assert row.split() == ["blue", "3", "0.0%", "(0.0%", "to", "56.1%)", "red", "(3)"]
    assert more == []
    with_top5 = replace(evaluation, top5=Interval(0.9, 0.8, 0.95))
    assert evaluation_lines(with_top5)[0] == "top-5 accuracy 90.0% (80.0% to 95.0%)"


def test_default_folder(tmp_path: Path) -> None:
    (tmp_path / "run" / "classifier").mkdir(parents=True)
    assert evaluation_folder(str(tmp_path / "run"), "some/photos") == tmp_path / "run" / "evaluations" / "photos"
    assert evaluation_folder("resnet18", "some/photos") == Path("runs/resnet18/evaluations/photos")


def test_the_default_folder_is_not_outside_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "run" / "classifier").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "evaluations").symlink_to("../elsewhere")
    with pytest.raises(OutputError, match=r"a link leads out of the run, to .*elsewhere/photos; choose .* --out"):
        evaluation_folder(str(tmp_path / "run"), "some/photos")
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "run" / "evaluations").unlink()
    assert evaluation_folder(str(tmp_path / "link"), "a") == tmp_path / "link" / "evaluations" / "a"


def test_int8_reports_its_cost(photos: Photos, fitted: Fit, told: Callable[..., Any]) -> None:
    source, events = photos(red=14, green=14, blue=14), told()
    classifier = fitted(source).classifier
    exact = predict(classifier, read_images(source), PLAIN).probabilities
    found, _ = evaluate(classifier, read_images(source), INT8, events=events)
    assert np.abs(found.probabilities - exact).max() < 0.2
    assert not np.array_equal(found.probabilities, exact)
    pattern = r"int8: \d+ of 42 images \(.*\) are assigned the same class as in float32; accuracy .*, in float32 .*%"
    assert any(re.fullmatch(pattern, line) for line in events.lines)


def test_an_evaluation_does_not_replace_a_fit(photos: Photos, fitted: Fit, tmp_path: Path) -> None:
    run = save_run(fitted(photos(red=8, green=8)), tmp_path / "run")
    classifier = open_classifier(str(run))
    found, evaluation = evaluate(classifier, read_images(photos("new", seed=2, red=4, green=4)), PLAIN)
    with pytest.raises(RunError) as refusal:
        save_evaluation(found, evaluation, run, settings={})
    assert str(refusal.value) == (
        f"{run}: holds a classifier, and an evaluation would replace the documents of its fit; give another folder as "
        "--out"
    )
    assert read_run(run).info.command == "fit"


def test_a_new_fit_replaces_the_evaluations_of_the_old_one(
    photos: Photos, fitted: Fit, tmp_path: Path, told: Any
) -> None:
    run, first = tmp_path / "run", fitted(photos(red=8, green=8))
    save_run(first, run)
    found, evaluation = evaluate(first.classifier, read_images(photos("new", seed=2, red=4, green=4)), PLAIN)
    for name in ("new", "kept"):
        report(save_evaluation(found, evaluation, run / "evaluations" / name, settings={}))
    report(run)
    (run / "evaluations" / "kept" / "notes.txt").write_text("of the user")
    events = told()
    save_run(fitted(photos("other", seed=3, red=8, blue=8)), run, events=events)
    assert [path.name for path in run.rglob("*") if path.parent.name in ("evaluations", "new", "kept")] == [
        "kept",
        "notes.txt",
    ]
    assert not (run / "report.html").exists()
    assert read_run(run).evaluation.classes == ("blue", "red")
    assert events.lines == [f"removed 2 evaluations of the classifier that was in {run}"]
