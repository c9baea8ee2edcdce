from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss

from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.workflow.predict import Predictions
from headstart.workflow.submission import find_sample, log_loss, make_submission, summary_lines

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [1 - 3e-9, 2e-9, 1e-9]])


def predictions(
    *names: str, labels: list[str | None] | None = None, problems: list[str | None] | None = None
) -> Predictions:
    manifest = Manifest.from_rows([f"/test/{name}" for name in names], labels=labels)
    manifest = manifest.with_column("problem", problems or [None] * len(names))
    return Predictions(
        ("pug", "Afghan hound", "chow"), manifest, PROBABILITIES[: len(manifest.usable)].astype(np.float32)
    )


def sample(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "sample_submission.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_columns_and_rows_follow_the_sample(tmp_path: Path) -> None:
    layout = sample(tmp_path, "id,afghan_hound,chow,pug", "c,0.3,0.3,0.3", "a,0.3,0.3,0.3")
    made = make_submission(predictions("a.jpg", "b.jpg", "c.jpg"), layout)
    made.write(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["id", "afghan_hound", "chow", "pug"]
    assert [row[0] for row in rows] == ["c", "a"]
    np.testing.assert_allclose(
        np.array([row[1:] for row in rows], float), PROBABILITIES[[2, 0]][:, [1, 2, 0]], rtol=1e-6
    )
    assert summary_lines(made, None) == ["2 rows, 3 classes", "left out, since the sample does not list them: 1"]


def test_without_a_sample_classes_are_sorted() -> None:
    made = make_submission(predictions("b.x.jpg", "a.png"), None)
    assert made.header == ("id", "Afghan hound", "chow", "pug")
    assert made.ids == ["b.x", "a"]
    np.testing.assert_allclose(made.probabilities, PROBABILITIES[:2][:, [1, 2, 0]], rtol=1e-6)


def test_unreadable_images_have_a_row_too() -> None:
    made = make_submission(predictions("a.jpg", "bad.jpg", "c.jpg", problems=[None, "empty file", None]), None)
    assert made.probabilities[1].tolist() == [1 / 3] * 3
    assert made.probabilities[2] == pytest.approx(PROBABILITIES[1][[1, 2, 0]])
    assert summary_lines(made, None)[1] == "unreadable, with the same probability for all classes: 1"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            ["id,afghan_hound,chow,pug", "a,0,0,1", "x,0,0,1", "y,0,0,1", "z,0,0,1", "w,0,0,1"],
            "4 of its 5 ids have no image among the 1 given: x, y, z, ...; give the folder with all images",
        ),
        (["id,chow,pug", "a,0,1"], "has no column for Afghan hound, one of the classifier's 3 classes"),
        (
            ["id,afghan_hound,chow,pug,tabby", "a,0,0,1,0"],
            "the label 'tabby' must match one of the classifier's 3 classes (for example 'pug'), but matches none; "
            "use the same names for labels and classes",
        ),
        (["id,afghan_hound,chow,pug", "a,0,0,1", "a,0,0,1"], "not a sample submission: an id occurs twice"),
        (
            ["id", "a"],
            "not a sample submission: it must have id,<class>,<class>,... or id,label, and one row per image",
        ),
        (["id,afghan_hound,chow,pug", "a,0,0"], "the row of a has 3 cells, but the header has 4"),
        (
            ["id,breed", "a,0.5"],
            "the column 'breed' must have names of classes, in whose place the predicted class is written, or be "
            "empty; the label '0.5' must match one of the classifier's 3 classes (for example 'pug'), but matches "
            "none; use the same names for labels and classes",
        ),
        (
            ["id,breed", "a,afghan_hound"],
            "the column 'breed' spells classes in another way than the classifier, and does not have 'pug': write each "
            "of the 3 classes into one of its rows",
        ),
        ([""], "not a sample submission (not enough values to unpack (expected at least 1, got 0))"),
    ],
)
def test_invalid_samples(tmp_path: Path, rows: list[str], text: str) -> None:
    layout = sample(tmp_path, *rows)
    with pytest.raises(DataError) as caught:
        make_submission(predictions("a.jpg"), layout)
    assert str(caught.value) == f"{layout}: {text}"


def test_ids_may_have_the_extension(tmp_path: Path) -> None:
    layout = sample(tmp_path, "img,afghan_hound,chow,pug", "a.png,1,0,0", "a.jpg,1,0,0")
    made = make_submission(predictions("a.jpg", "a.png", "b.jpg"), layout)
    assert made.ids == ["a.png", "a.jpg"]
    np.testing.assert_allclose(made.probabilities, PROBABILITIES[[1, 0]][:, [1, 2, 0]], rtol=1e-6)
    with pytest.raises(DataError, match=r"a.jpg and /test/a.png have the same id, a; ids must be unique"):
        make_submission(predictions("a.jpg", "a.png"), sample(tmp_path, "id,breed", "a,pug"))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["pug", "pug"], ["chow", "pug"]),
        (["", ""], ["chow", "pug"]),
        (["afghan_hound", "Pug", "CHOW"], ["CHOW", "Pug", "Pug"]),
    ],
)
def test_one_column_has_the_predicted_class(tmp_path: Path, labels: list[str], expected: list[str]) -> None:
    rows = [f"{name},{label}" for name, label in zip("bac", labels, strict=False)]
    made = make_submission(predictions("a.jpg", "b.jpg", "c.jpg"), sample(tmp_path, "image_id,label", *rows))
    made.write(tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [*csv.reader(file)] == [["image_id", "label"], *map(list, zip("bac", expected, strict=False))]
    assert summary_lines(made, None)[0] == f"{len(labels)} rows with one label each, of 3 classes"


def test_one_column_named_as_a_class_has_its_probability(tmp_path: Path) -> None:
    made = make_submission(predictions("a.jpg", "b.jpg"), sample(tmp_path, "id,Chow", "b,0.5", "a,0.5"))
    assert (made.header, made.labels()) == (("id", "Chow"), None)
    np.testing.assert_allclose(made.probabilities, [[0.6], [0.1]], rtol=1e-6)


def test_two_images_with_the_same_id() -> None:
    with pytest.raises(DataError) as caught:
        make_submission(predictions("a.jpg", "a.png"), None)
    assert str(caught.value) == "/test/a.jpg and /test/a.png have the same id, a; ids must be unique"


def test_find_sample_in_the_folder_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    assert find_sample([tmp_path / "test"]) is None
    beside = sample(tmp_path, "id,a,b", "1,0,1")
    assert find_sample([tmp_path / "test"]) == beside
    inside = sample(tmp_path / "test", "id,a,b", "1,0,1")
    assert find_sample([str(tmp_path / "test")]) == inside
    (tmp_path / "test" / "SampleSubmission.csv").touch()
    assert find_sample([tmp_path / "test"]) == inside
    (tmp_path / "test" / "sample-submission-2.csv").touch()
    inside.unlink()
    with pytest.raises(DataError) as several:
        find_sample([tmp_path / "test"])
    assert str(several.value) == (
        f"{tmp_path / 'test'} has more than one sample submission (SampleSubmission.csv, sample-submission-2.csv): "
        "name one with --sample"
    )


def test_log_loss_with_labels() -> None:
    found = predictions("a.jpg", "b.jpg", "bad.jpg", labels=["pug", "Chow", "pug"], problems=[None, None, "empty file"])
    loss = log_loss(found)
    assert loss is not None
    assert loss.value == pytest.approx(sklearn_log_loss([0, 2], PROBABILITIES[:2], labels=[0, 1, 2]), abs=1e-6)
    assert log_loss(predictions("a.jpg", "b.jpg")) is None
    assert log_loss(predictions("a.jpg", labels=["holidays"])) is None
    assert log_loss(predictions("a.jpg", "b.jpg", labels=["pug", None])) is None
