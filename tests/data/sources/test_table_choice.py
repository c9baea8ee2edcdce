from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.sources.read import read_images
from headstart.errors import DataError

CLASSES = ("stripes", "rings", "checks")
Photo = Callable[..., Path]


def _cameras(photo: Photo, count: int = 12) -> None:
    """Two folders of cameras, which are no classes."""
    for number in range(count):
        photo(f"camera_{'ab'[number % 2]}/{number}.jpg")


def _rows(header: str, row: str = "{n}.jpg,{label}", count: int = 12) -> str:
    return "\n".join([header, *(row.format(n=n, label=CLASSES[n % 3], fold=n % 5) for n in range(count))]) + "\n"


def _refused(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_images(root)
    return str(caught.value)


def test_a_table_of_labels_beats_other_folders_and_says_so(tmp_path: Path, photo: Photo) -> None:
    _cameras(photo)
    (tmp_path / "labels.csv").write_text(_rows("image,label"))
    manifest = read_images(tmp_path)
    assert manifest.classes == tuple(sorted(CLASSES))
    description = manifest.description
    assert description is not None
    assert (description.source, description.columns) == ("table", (("id", "image"), ("label", "label")))
    assert [str(guess) for guess in description.guesses] == [
        "the labels are in labels.csv, column 'label', not in the names of folders (camera_a, camera_b) "
        "(guessed; --labels labels.csv or --labels none settles it)"
    ]
    assert read_images(tmp_path, "none").classes == ("camera_a", "camera_b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_rows("image,label").encode() + "x.jpg,würfelig\n".encode("cp1252"), "is not UTF-8"),
        (_rows("image,label").replace("4.jpg,rings", "4.jpg,rings, see note").encode(), "line 6"),
        (_rows("image,label,split", "{n}.jpg,{label},{fold}").encode(), "split"),
    ],
)
def test_a_table_that_cannot_be_used_is_never_skipped(tmp_path: Path, photo: Photo, text: bytes, reason: str) -> None:
    _cameras(photo)
    (tmp_path / "labels.csv").write_bytes(text)
    refusal = _refused(tmp_path)
    assert refusal.startswith("labels.csv is beside the images, but cannot be used as a table of labels: ")
    assert reason in refusal
    assert "--labels none" in refusal
    assert read_images(tmp_path, "none").classes == ("camera_a", "camera_b")


def test_labels_of_an_unknown_column_beside_folders_are_a_question(tmp_path: Path, photo: Photo) -> None:
    _cameras(photo)
    (tmp_path / "labels.csv").write_text(_rows("photo,remark,diagnosis", "{n}.jpg,,{label}"))
    assert "--labels labels.csv --label-column 'diagnosis'" in _refused(tmp_path)
    assert read_images(tmp_path, "labels.csv", label_column="diagnosis").classes == tuple(sorted(CLASSES))


def test_a_table_of_something_else_never_beats_class_folders(tmp_path: Path, photo: Photo) -> None:
    for name in CLASSES:
        for number in range(4):
            photo(f"{name}/{name}{number}.jpg")
    rows = [f"{name}{number}.jpg,{('Ann', 'Bob')[number % 2]}" for name in CLASSES for number in range(4)]
    (tmp_path / "credits.csv").write_text("\n".join(["file,author", *rows]) + "\n")
    assert _refused(tmp_path) == (
        "two readings fit: the labels may be the names of folders (checks, rings, stripes): --labels none; or the "
        "column 'author' of credits.csv (Ann, Bob): --labels credits.csv --label-column 'author'"
    )
    assert read_images(tmp_path, "none").classes == tuple(sorted(CLASSES))
    assert read_images(tmp_path, "credits.csv", label_column="author").classes == ("Ann", "Bob")


def test_a_table_that_agrees_with_the_folders_needs_no_question(tmp_path: Path, photo: Photo) -> None:
    rows = ["file,kind"]
    for name in CLASSES:
        photo(f"{name}/{name}.jpg")
        rows.append(f"{name}.jpg,{name}")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    manifest = read_images(tmp_path)
    assert manifest.classes == tuple(sorted(CLASSES))
    assert manifest.description is not None
    assert manifest.description.table == str(tmp_path / "list.csv")
    assert not any("names of folders" in str(guess) for guess in manifest.description.guesses)


def test_other_tables_are_named_with_the_reason(tmp_path: Path, photo: Photo) -> None:
    for name in ("train/a.jpg", "train/b.jpg", "test/t.jpg"):
        photo(name)
    (tmp_path / "train.csv").write_text("id_code,label\na,cat\nb,dog\n")
    (tmp_path / "test.csv").write_text("id_code\nt\n")
    (tmp_path / "sample_submission.csv").write_text("id,label\nt,cat\n")
    (tmp_path / "stats.csv").write_text("name,count\nsomething,3\n")
    (tmp_path / "predictions.csv").write_text("path,class_1,probability_1,problem\ntrain/a.jpg,dog,0.9,\n")
    manifest = read_images(tmp_path)
    assert manifest.labels == ["cat", "dog"]
    assert manifest.description is not None
    assert {each.what: each.reason for each in manifest.description.left_out} == {
        "predictions.csv": "written by headstart",
        "sample_submission.csv": "a sample submission",
        "stats.csv": "none of the 1 ids in it is an image found here",
        "test.csv": "it has no column beside 'id_code', so it has no labels",
        "1 image": "not named by train.csv",
    }


def test_split_folders_beside_a_table(tmp_path: Path, photo: Photo) -> None:
    photo("train_images/a.png")
    photo("train_images/b.png")
    photo("test_images/c.png")
    (tmp_path / "train.csv").write_text("image,label\na,x\nb,y\nc,x\n")
    manifest = read_images(tmp_path)
    assert manifest.splits == ["train", "train", "test"]
    assert manifest.description is not None
    assert "train_images: train" in str(manifest.description.guesses[-1])
