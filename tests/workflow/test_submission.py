from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss as by_scikit_learn

from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.workflow.predicting import Predictions
from headstart.workflow.submission import find_sample, lines, log_loss, submission

SHARES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [1 - 3e-9, 2e-9, 1e-9]])


def predictions(
    *names: str, labels: list[str | None] | None = None, problems: list[str | None] | None = None
) -> Predictions:
    manifest = Manifest.from_rows([f"/test/{name}" for name in names], labels=labels)
    manifest = manifest.with_column("problem", problems or [None] * len(names))
    return Predictions(("pug", "Afghan hound", "chow"), manifest, SHARES[: len(manifest.usable)].astype(np.float32))


def sample(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "sample_submission.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_columns_and_rows_are_the_sample_s(tmp_path: Path) -> None:
    wanted = sample(tmp_path, "id,afghan_hound,chow,pug", "c,0.3,0.3,0.3", "a,0.3,0.3,0.3")
    made = submission(predictions("a.jpg", "b.jpg", "c.jpg"), wanted)
    made.write(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["id", "afghan_hound", "chow", "pug"]
    assert [row[0] for row in rows] == ["c", "a"]
    np.testing.assert_allclose(np.array([row[1:] for row in rows], float), SHARES[[2, 0]][:, [1, 2, 0]], rtol=1e-6)
    assert lines(made, None) == ["2 rows, 3 classes", "left out, since the sample does not ask for them: 1"]


def test_without_a_sample_classes_are_in_the_alphabet_s_order() -> None:
    made = submission(predictions("b.x.jpg", "a.png"), None)
    assert made.header == ("id", "Afghan hound", "chow", "pug")
    assert made.ids == ["b.x", "a"]
    np.testing.assert_allclose(made.probabilities, SHARES[:2][:, [1, 2, 0]], rtol=1e-6)


def test_a_picture_that_cannot_be_read_has_a_row_all_the_same() -> None:
    made = submission(predictions("a.jpg", "bad.jpg", "c.jpg", problems=[None, "empty file", None]), None)
    assert made.probabilities[1].tolist() == [1 / 3] * 3
    assert made.probabilities[2] == pytest.approx(SHARES[1][[1, 2, 0]])
    assert lines(made, None)[1] == "cannot be read, and have the same share for every class: 1"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            ["id,afghan_hound,chow,pug", "a,0,0,1", "x,0,0,1", "y,0,0,1", "z,0,0,1", "w,0,0,1"],
            "asks for pictures that are not among the 1 given, 4 of 5: x, y, z, …; give the folder that has them all",
        ),
        (["id,chow,pug", "a,0,1"], "has no column for Afghan hound, one of the classifier's 3 classes"),
        (
            ["id,afghan_hound,chow,pug,tabby", "a,0,0,1,0"],
            "the label 'tabby' means none of the classifier's 3 classes (such as 'pug'): "
            "labels and classes must have the same names",
        ),
        (["id,afghan_hound,chow,pug", "a,0,0,1", "a,0,0,1"], "not a sample of a submission: an id is there twice"),
        (
            ["id,breed", "a,pug"],
            "not a sample of a submission: it must have id,<class>,<class>,… and a row a picture",
        ),
        ([""], "not a sample of a submission (not enough values to unpack (expected at least 1, got 0))"),
    ],
)
def test_samples_that_do_not_fit(tmp_path: Path, rows: list[str], text: str) -> None:
    wanted = sample(tmp_path, *rows)
    with pytest.raises(DataError) as caught:
        submission(predictions("a.jpg"), wanted)
    assert str(caught.value) == f"{wanted}: {text}"


def test_two_pictures_of_one_id() -> None:
    with pytest.raises(DataError) as caught:
        submission(predictions("a.jpg", "a.png"), None)
    assert str(caught.value) == "/test/a.jpg and /test/a.png have the same id, a; a submission has each once"


def test_the_sample_is_found_in_the_folder_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    assert find_sample([tmp_path / "test"]) is None
    beside = sample(tmp_path, "id,a,b", "1,0,1")
    assert find_sample([tmp_path / "test"]) == beside
    inside = sample(tmp_path / "test", "id,a,b", "1,0,1")
    assert find_sample([str(tmp_path / "test")]) == inside


def test_log_loss_where_labels_are_known() -> None:
    found = predictions("a.jpg", "b.jpg", "bad.jpg", labels=["pug", "Chow", "pug"], problems=[None, None, "empty file"])
    told = log_loss(found)
    assert told is not None
    assert told["value"] == pytest.approx(by_scikit_learn([0, 2], SHARES[:2], labels=[0, 1, 2]), abs=1e-6)
    assert log_loss(predictions("a.jpg", "b.jpg")) is None
    assert log_loss(predictions("a.jpg", labels=["holiday pictures"])) is None
    assert log_loss(predictions("a.jpg", "b.jpg", labels=["pug", None])) is None
