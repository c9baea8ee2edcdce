"""Labels as CSV and JSON lines, and as the images of other commands."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart as hs
from headstart.data.inspection import inspect_all
from headstart.data.projects import Project
from headstart.data.projects.ingest import add_folder
from headstart.data.projects.tables import as_csv, as_json_lines, label_rows
from headstart.errors import DataError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of two images, one of them with a name that is not UTF-8, and one that is damaged."""
    rng = np.random.default_rng(0)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", os.fsdecode(b"dog/caf\xe9.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(path)
    (tmp_path / "photos" / "dog" / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tmp_path / "photos"


@pytest.fixture
def labeled(tmp_path: Path, photos: Path) -> Path:
    """The folder of a project of these images, of which the first has no label."""
    with Project.open(tmp_path / "project", create=True) as project:
        add_folder(project, photos)
        project.set_labels({1: None})
    return tmp_path / "project"


def test_the_table_names_labeled_images_whatever_their_name(labeled: Path, photos: Path) -> None:
    with Project.open(labeled, read_only=True) as project:
        rows = label_rows(project)
        content = as_csv(rows)
    read = list(csv.DictReader(io.StringIO(content.decode(errors="surrogateescape"))))
    assert [(os.path.relpath(row["path"], photos), row["label"]) for row in read] == [
        ("cat/2.png", "cat"),
        ("dog/1.png", "dog"),
        (os.fsdecode(b"dog/caf\xe9.png"), "dog"),
    ]
    assert {row["labeled_by"] for row in read} == {"folder"}
    lines = [json.loads(line) for line in as_json_lines(rows).splitlines()]
    assert [line["label"] for line in lines] == ["cat", "dog", "dog"]


def test_unlabeled_images_are_written_if_asked_for(labeled: Path) -> None:
    with Project.open(labeled, read_only=True) as project:
        rows = label_rows(project, unlabeled=True)
    assert [(row.label, row.labeled_at is None) for row in rows][:2] == [(None, True), ("cat", False)]


def test_other_commands_read_its_labeled_images(labeled: Path) -> None:
    manifest = hs.read_images(labeled)
    assert manifest.labels == ["cat", "dog", "dog"]
    assert inspect_all(manifest).problems == [None, None, None]
    assert manifest.description is not None
    assert manifest.description.lines()[1:] == [
        "  read as: a project of headstart studio",
        "  classes: 2: cat, dog",
        "  left out: 1 image: not labeled",
        "  left out: 1 image: with a problem",
    ]


def test_without_labels_all_images_that_can_be_used_are_read(labeled: Path) -> None:
    assert len(hs.read_images(labeled, labels=False)) == 4


def test_a_project_without_labels_says_so(tmp_path: Path, photos: Path) -> None:
    with Project.open(tmp_path / "project", create=True) as project:
        add_folder(project, photos, labels="none")
    with pytest.raises(DataError, match="none of its 5 images has a label yet"):
        hs.read_images(tmp_path / "project")


def test_options_of_tables_are_refused(labeled: Path) -> None:
    with pytest.raises(DataError, match="--label-column is given"):
        hs.read_images(labeled, label_column="breed")


def test_a_project_inside_a_folder_of_images_is_left_out(tmp_path: Path, photos: Path, labeled: Path) -> None:
    labeled.rename(photos / "project")
    (photos / "project" / "images").mkdir()
    Image.new("RGB", (9, 9)).save(photos / "project" / "images" / "1.png")
    manifest = hs.read_images(photos)
    assert len(manifest) == 5
    assert manifest.classes == ("cat", "dog")
