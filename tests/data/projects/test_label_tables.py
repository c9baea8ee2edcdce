"""Labels from tables, for images that are in a project already."""

from __future__ import annotations

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data.projects import NewImage, Project
from headstart.data.projects.label_tables import label_from_table
from headstart.errors import DataError

New = Callable[..., NewImage]


def test_images_are_named_as_in_any_table(project: Project) -> None:
    found = label_from_table(project, "Labels.CSV", b"id;breed\n001;cat\n002;bird\n/data/x/003.jpg;bird\n")
    assert (found.labeled, found.kept, found.unknown, found.classes) == (3, 0, 0, ("bird",))
    assert found.columns == (("id", "id"), ("label", "breed"))
    names = {each.id: each.name for each in project.classes()}
    assert {image: names[each] for image, each in project.labels().items()} == {1: "cat", 2: "bird", 3: "bird"}
    assert any("paths below /data/x are taken below the project" in note for note in found.notes)
    project.undo()
    assert project.labels() == {}
    assert [each.name for each in project.classes()] == ["cat", "dog"]


def test_labels_that_are_there_stay(project: Project) -> None:
    project.set_labels({1: 2, 2: 1})
    found = label_from_table(project, "a.csv", b"image,label\n001.jpg,cat\n002.jpg,cat\n003.jpg,cat\n")
    assert (found.labeled, found.kept) == (1, 1)
    assert project.labels() == {1: 2, 2: 1, 3: 1}


def test_names_that_no_image_or_two_have_are_told(project: Project, new_image: New) -> None:
    project.add_images([NewImage("/b/001.jpg", "001.jpg", "b" * 32, 9, 9, 9, None)])
    found = label_from_table(project, "a.csv", b"image,label\n001.jpg,cat\n006.jpg,cat\n002.jpg,\n003.jpg,dog\n")
    assert (found.labeled, found.unknown, found.unknown_names) == (1, 2, ("001.jpg", "006.jpg"))
    assert new_image(6).name == "006.jpg"  # which cannot be read, and has no label


def test_parquet(project: Project) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"image": ["004.jpg"], "label": ["dog"]}), file)
    assert label_from_table(project, "labels.parquet", file.getvalue()).labeled == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"image,label\n001.jpg,cat\n001.jpg,dog\n", "a.csv gives '001.jpg' two labels: 'cat' and 'dog'"),
        ("../../a.csv", b"", "a.csv"),
        ("a.xlsx", b"PK", "a.xlsx: a table of labels ends in .csv, .tsv, .jsonl, .parquet"),
        ("a.parquet", b"PK\x03\x04", "a.parquet is an Excel workbook or another ZIP archive, not a Parquet file"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(project: Project, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError) as raised:
        label_from_table(project, name, content)
    assert str(raised.value).startswith(message)
    assert project.labels() == {}
