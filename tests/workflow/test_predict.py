from __future__ import annotations

import csv
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, InputSettings
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import ModelError, RunError, SettingsError
from headstart.workflow.fit import FitResult
from headstart.workflow.predict import Predictions, open_classifier, predict

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]
PLAIN = EngineSettings(engine="torch", precision="float32")
INT8 = EngineSettings(precision="int8")


def predictions(*problems: str | None, **fields: Any) -> Predictions:
    manifest = Manifest.from_rows([f"/photos/{number}.jpg" for number in range(len(problems))])
    usable = sum(problem is None for problem in problems)
    probabilities = np.array([[0.2, 0.5, 0.3]] * usable, np.float32)
    return Predictions(("a", "b", "c, d"), manifest.with_column("problem", problems), probabilities, **fields)


def test_the_most_probable_classes_come_first() -> None:
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


def test_lines_with_prediction_sets_and_warnings() -> None:
    sets = np.array([[False, True, True], [False, True, False]])
    found = predictions(None, None, prediction_sets=sets, coverage=0.9, out_of_distribution=np.array([False, True]))
    assert found.lines(1) == [
        "/photos/0.jpg",
        "   50.0%  b",
        "  90% prediction set: b, c, d",
        "/photos/1.jpg",
        "   50.0%  b",
        "  90% prediction set: b",
        "  out of distribution: it looks like none of the classes",
    ]


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv(tmp_path: Path) -> None:
    predictions(None, "empty file", None).write_csv(tmp_path / "table.csv", 2)
    rows = read_table(tmp_path / "table.csv")
    assert list(rows[0]) == ["path", "class_1", "probability_1", "class_2", "probability_2", "problem"]
    assert list(rows[0].values()) == ["/photos/0.jpg", "b", "0.500000", "c, d", "0.300000", ""]
    assert list(rows[1].values()) == ["/photos/1.jpg", "", "", "", "", "empty file"]
    assert rows[2]["class_1"] == "b"


def test_csv_with_prediction_sets_and_warnings(tmp_path: Path) -> None:
    sets = np.array([[False, True, True], [False, True, False]])
    flags = np.array([False, True])
    found = predictions(None, "empty file", None, prediction_sets=sets, coverage=0.9, out_of_distribution=flags)
    found.write_csv(tmp_path / "table.csv", 1)
    rows = read_table(tmp_path / "table.csv")
    assert list(rows[0]) == ["path", "class_1", "probability_1", "prediction_set", "out_of_distribution", "problem"]
    assert [list(row.values())[3:] for row in rows] == [["b; c, d", "no", ""], ["", "", "empty file"], ["b", "yes", ""]]


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    classes = ("=HYPERLINK(1)", "-1", "@x")
    manifest = Manifest.from_rows(["/photos/=1.jpg"])
    sets = np.array([[True, True, False]])
    found = Predictions(classes, manifest, np.array([[0.5, 0.3, 0.2]], np.float32), prediction_sets=sets, coverage=0.9)
    found.write_csv(tmp_path / "table.csv", 3)
    assert list(read_table(tmp_path / "table.csv")[0].values()) == (
        ["/photos/=1.jpg", "'=HYPERLINK(1)", "0.500000", "-1", "0.300000", "'@x", "0.200000", "'=HYPERLINK(1); -1", ""]
    )


def test_name_that_is_not_utf8_is_written_as_its_bytes(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([Path(os.fsdecode(b"/photos/caf\xe9.jpg"))])
    found = Predictions(("a", "b"), manifest, np.array([[0.75, 0.25]], np.float32))
    found.write_csv(tmp_path / "table.csv", 1)
    assert (tmp_path / "table.csv").read_bytes().splitlines()[1] == b"/photos/caf\xe9.jpg,a,0.750000,"


def test_unreadable_images_become_problems(classifier: Classifier, photos: Photos) -> None:
    folder = photos("new", seed=2, red=2, blue=2)
    bad = folder / "blue" / "0_bad.png"
    bad.write_bytes(b"")
    found = predict(classifier, read_images(folder), PLAIN)
    assert len(found.probabilities) == 4
    assert dict(zip(found.manifest.uris, found.manifest.problems, strict=True))[str(bad)] == "empty file"
    assert [top[0][0] for top in found.top(1)] == ["blue", "blue", "red", "red"]


def test_parts_of_a_job_are_predicted_as_the_whole_is(classifier: Classifier, photos: Photos) -> None:
    """Of so many images that OpenVINO is used, in parts of any size, with one image that cannot be read."""
    images = read_images(photos("new", seed=2, red=100, green=90, blue=80), labels=False)
    Path(images.uris[40]).write_bytes(b"")
    whole = classifier.infer(images)
    infer = pickle.loads(pickle.dumps(classifier.for_parts(images, EngineSettings())))
    ends = (1, 8, 40, 73, 270)
    parts = [infer(images[start:end]) for start, end in zip((0, *ends), ends, strict=False)]
    assert [result.problems for result in parts] == [(), (), (), ((0, "empty file"),), ()]
    assert np.array_equal(np.concatenate([result.probabilities for result in parts]), whole.probabilities)
    scores = [result.ood_score for result in parts if result.ood_score is not None]
    assert np.array_equal(np.concatenate(scores), whole.ood_score)


def test_predictions_of_a_fitted_classifier(classifier: Classifier, photos: Photos) -> None:
    found = predict(classifier, read_images(photos("new", seed=2, red=2, blue=2)), PLAIN)
    assert found.coverage == 0.9
    assert found.prediction_sets is not None
    assert found.prediction_sets[np.arange(4), found.probabilities.argmax(1)].all()
    assert found.out_of_distribution is not None
    assert found.out_of_distribution.shape == (4,)


def test_a_classifier_is_opened_by_folder_or_by_name(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier.save(tmp_path / "run" / "classifier")
    assert open_classifier(str(tmp_path / "run")).classes == ("blue", "green", "red")
    assert open_classifier(str(tmp_path / "run"), InputSettings(size=64)).spec.height == 64
    monkeypatch.chdir(tmp_path)
    assert open_classifier("run").classes == ("blue", "green", "red")
    with pytest.raises(RunError, match=r"^runs/nothing: no classifier found: "):
        open_classifier("runs/nothing")
    with pytest.raises(ModelError, match="nothing_at_all"):
        open_classifier("nothing_at_all")


def test_class_names_are_for_pretrained_networks(classifier: Classifier, tmp_path: Path) -> None:
    settings = InputSettings(class_names="none")
    opened = open_classifier("timm/tf_efficientnet_lite0", settings)
    assert (opened.model, opened.classes[:2]) == ("tf_efficientnet_lite0", ("class 0", "class 1"))
    with pytest.raises(SettingsError, match=r"class_names is for pretrained networks; the classifier .* has its own"):
        open_classifier(str(classifier.save(tmp_path / "classifier")), settings)


def test_int8_skips_unreadable_images_in_its_notice(photos: Photos, fitted: Fit, told: Callable[..., Any]) -> None:
    source, events = photos(red=14, green=14, blue=14), told()
    classifier = fitted(source).classifier
    (source / "red" / "bad.png").write_bytes(b"none")
    found = predict(classifier, read_images(source, labels=False), INT8, events=events)
    assert " of 42 images (" in events.lines[-1]
    assert len(found.probabilities) == 42
    with pytest.raises(SettingsError, match="needs at least 32 readable images for calibration, got 14"):
        predict(classifier, read_images(source / "blue", labels=False), INT8)
