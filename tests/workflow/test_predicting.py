from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.classifier import Classifier
from headstart.data.manifest import Manifest
from headstart.data.sources import read_images
from headstart.errors import DataError, ModelError, RunError, SettingsError
from headstart.settings import EngineSettings
from headstart.workflow.fitting import Fitted
from headstart.workflow.predicting import (
    Predictions,
    evaluate,
    evaluation_lines,
    open_classifier,
    predict,
    save_evaluation,
)
from headstart.workflow.reporting import report
from headstart.workflow.runs import save_run

Photos = Callable[..., Path]
Fit = Callable[..., Fitted]
PLAIN = EngineSettings(engine="torch", precision="float32")


@pytest.fixture
def classifier(photos: Photos, fitted: Fit) -> Classifier:
    return fitted(photos(red=8, green=8, blue=8)).classifier


def test_8_bit_numbers_tell_what_they_cost(photos: Photos, fitted: Fit, told: Callable[..., Any]) -> None:
    source, progress = photos(red=14, green=14, blue=14), told()
    classifier, coarse = fitted(source).classifier, EngineSettings(precision="int8")
    exact = predict(classifier, read_images(source), PLAIN).probabilities
    found, _ = evaluate(classifier, read_images(source), coarse, progress=progress)
    assert np.abs(found.probabilities - exact).max() < 0.2
    assert not np.array_equal(found.probabilities, exact)
    assert any(
        re.fullmatch(r"int8: of 42 images \d+ \(.*\) get the class that float32 gives; accuracy .*, in .*%", line)
        for line in progress.lines
    )
    (source / "red" / "bad.png").write_bytes(b"none")
    again = predict(classifier, read_images(source, labels=False), coarse, progress=progress)
    assert progress.lines[-1].startswith("int8: of 42 images ")  # the one that cannot be read is not among them
    assert len(again.probabilities) == 42
    with pytest.raises(SettingsError, match="needs 32; 14 can be read"):
        predict(classifier, read_images(source / "blue", labels=False), coarse)


def predictions(*problems: str | None) -> Predictions:
    manifest = Manifest.from_rows([f"/photos/{number}.jpg" for number in range(len(problems))])
    usable = sum(problem is None for problem in problems)
    shares = np.array([[0.2, 0.5, 0.3]] * usable, np.float32)
    return Predictions(("a", "b", "c, d"), manifest.with_column("problem", problems), shares)


def test_the_likeliest_come_first() -> None:
    assert predictions(None).top(2) == [[("b", 0.5), ("c, d", pytest.approx(0.3))]]
    assert len(predictions(None).top(9)[0]) == 3


def test_lines_for_a_terminal() -> None:
    assert predictions(None, "empty file").lines(2) == [
        "/photos/0.jpg",
        "   50.0%  b",
        "   30.0%  c, d",
        "/photos/1.jpg",
        "  problem: empty file",
    ]


def test_a_table(tmp_path: Path) -> None:
    predictions(None, "empty file", None).write_csv(tmp_path / "table.csv", 2)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "class_1", "probability_1", "class_2", "probability_2", "problem"]
    assert list(rows[0].values()) == ["/photos/0.jpg", "b", "0.500000", "c, d", "0.300000", ""]
    assert list(rows[1].values()) == ["/photos/1.jpg", "", "", "", "", "empty file"]
    assert rows[2]["class_1"] == "b"


def test_a_name_that_is_not_utf8_goes_back_to_its_bytes(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([Path(os.fsdecode(b"/photos/caf\xe9.jpg"))])
    found = Predictions(("a", "b"), manifest, np.array([[0.75, 0.25]], np.float32))
    found.write_csv(tmp_path / "table.csv", 1)
    assert (tmp_path / "table.csv").read_bytes().splitlines()[1] == b"/photos/caf\xe9.jpg,a,0.750000,"


def test_pictures_that_cannot_be_read_are_set_aside(classifier: Classifier, photos: Photos) -> None:
    folder = photos("new", seed=2, red=2, blue=2)
    bad = folder / "blue" / "0_bad.png"
    bad.write_bytes(b"")
    found = predict(classifier, read_images(folder), PLAIN)
    assert len(found.probabilities) == 4
    assert dict(zip(found.manifest.uris, found.manifest.problems, strict=True))[str(bad)] == "empty file"
    assert [top[0][0] for top in found.top(1)] == ["blue", "blue", "red", "red"]


def test_a_classifier_is_opened_by_folder_or_by_name(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier.save(tmp_path / "run" / "classifier")
    assert open_classifier(str(tmp_path / "run")).classes == ("blue", "green", "red")
    monkeypatch.chdir(tmp_path)
    assert open_classifier("run").classes == ("blue", "green", "red")
    with pytest.raises(RunError, match=r"^runs/nothing: no classifier there, "):
        open_classifier("runs/nothing")
    with pytest.raises(ModelError, match=r"^no model is called nothing_at_all"):
        open_classifier("nothing_at_all")


def test_evaluation_reads_labels_however_they_are_written(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3, green=3))
    spelled = manifest.with_column("label", [str(label).upper() for label in manifest.labels])
    found, evaluation = evaluate(classifier, spelled, PLAIN)
    assert (evaluation["part"], evaluation["images"], evaluation["classes"]) == ("test", 6, ["blue", "green", "red"])
    assert evaluation["top1"]["value"] == 1
    assert found.manifest.labels == manifest.labels
    assert evaluation["note"].startswith("These images were given for evaluation; ")


def test_evaluation_leaves_out_what_has_no_label(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3, green=3))
    _, evaluation = evaluate(classifier, manifest.with_column("label", [None, *manifest.labels[1:]]), PLAIN)
    assert evaluation["images"] == 5


def test_evaluation_needs_labels_that_are_known(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3))
    with pytest.raises(DataError) as caught:
        evaluate(classifier, manifest.with_column("label", [None] * 3), PLAIN)
    assert str(caught.value) == "no image has a label: give a folder a class, or a table of labels (--labels TABLE)"
    with pytest.raises(DataError) as caught:
        evaluate(classifier, manifest.with_column("label", ["red", "mauve", "red"]), PLAIN)
    assert str(caught.value) == (
        "the label 'mauve' means none of the classifier's 3 classes (such as 'blue'): "
        "labels and classes must have the same names"
    )


def test_an_evaluation_has_a_report_of_its_own(photos: Photos, fitted: Fit, tmp_path: Path, told: Any) -> None:
    run = save_run(fitted(photos(red=8, green=8)), tmp_path / "run")
    classifier = open_classifier(str(run))
    folder = photos("new", seed=2, red=4, green=4)
    (folder / "red" / "bad.png").write_bytes(b"")
    face = told()
    settings = EngineSettings.of(engine="torch", max_problems=0.5)
    found, evaluation = evaluate(classifier, read_images(folder), settings, progress=face)
    assert list(face.stages) == ["checking", "predicting"]
    assert evaluation["summary"]["problems"] == 1
    place = save_evaluation(found, evaluation, run / "evaluations" / "new", command={"classifier": str(run)})
    assert report(place).stat().st_size > 1000
    assert (place / "problems.csv").read_text().splitlines()[1:] == [f"{folder / 'red' / 'bad.png'},empty file"]
    assert len(Manifest.read(place / "manifest.parquet")) == 9
    with (place / "classes.csv").open(newline="") as file:
        assert [(row["class"], row["images"]) for row in csv.DictReader(file)] == [("green", "4"), ("red", "4")]


def test_lines_tell_speed_and_the_worst_classes(classifier: Classifier, photos: Photos) -> None:
    manifest = read_images(photos("new", seed=2, red=3, green=3))
    wrong = ["blue" if label == "red" else label for label in manifest.labels]
    _, evaluation = evaluate(classifier, manifest.with_column("label", wrong), PLAIN)
    speed, head, row, *more = evaluation_lines(evaluation)
    assert float(speed.split()[0].replace(",", "")) == pytest.approx(evaluation["summary"]["images_a_second"], abs=0.51)
    assert head.split() == ["worst", "classes", "images", "recall", "(95", "%", "interval)", "taken", "for"]
    assert row.split() == ["blue", "3", "0.0%", "(0.0%", "to", "56.1%)", "red", "(3)"]
    assert more == []
    top = {**evaluation, "top5": {"value": 0.9, "low": 0.8, "high": 0.95}}
    assert evaluation_lines(top)[0] == "top-5 accuracy 90.0% (80.0% to 95.0%)"
