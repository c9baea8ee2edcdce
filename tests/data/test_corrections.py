from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.data.corrections import apply_corrections, read_changes, read_corrections, write_changes
from headstart.data.issues.base import DROP, LOOK, RELABEL, Issue
from headstart.data.issues.tables import write_corrections, write_issues
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.description import Correction
from headstart.errors import DataError, RunError

Photo = Callable[..., Path]


@pytest.fixture
def pets(photo: Photo) -> Manifest:
    """Two cats and two dogs, read from folders."""
    for name in ("cat/a", "cat/b", "dog/c", "dog/d"):
        root = photo(f"pets/{name}.jpg").parent.parent
    return read_images(root)


def table(folder: Path, text: str) -> Path:
    path = folder / "corrections.csv"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return path


def test_labels_are_changed_and_images_left_out_by_either_path(pets: Manifest, tmp_path: Path) -> None:
    text = f"uri,label,drop,reason\ncat/a.jpg,dog,,looks so\n{pets.uris[3]},,yes,\ndog/c.jpg,dog,,as it is\n"
    found = apply_corrections(pets, table(tmp_path, text))
    assert dict(zip(found.uris, found.labels, strict=True)) == {
        pets.uris[0]: "dog",
        pets.uris[1]: "cat",
        pets.uris[2]: "dog",
    }
    assert found.corrections == (Correction(pets.uris[0], "dog", "cat"), Correction(pets.uris[3], None, "dog"))
    assert found.description is not None
    assert (found.description.images, found.description.classes) == (3, (("cat", 1), ("dog", 2)))
    assert any(line.endswith("corrects 1 image and leaves out 1 image") for line in found.description.lines())
    assert pets.labels == ["cat", "cat", "dog", "dog"]


def test_what_was_changed_is_carried_along_and_can_be_read_back(pets: Manifest, tmp_path: Path) -> None:
    found = apply_corrections(pets, table(tmp_path, "uri,label,drop\ncat/a.jpg,dog,\ndog/d.jpg,,yes\n"))
    changed = found.usable[:1].with_column("split", ["train"]).described(None)
    assert changed.corrections == found.corrections
    write_changes(tmp_path / "changes.csv", changed.corrections)
    assert read_changes(tmp_path / "changes.csv") == found.corrections
    assert read_changes(tmp_path / "none.csv") == ()
    (tmp_path / "changes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match="damaged"):
        read_changes(tmp_path / "changes.csv")


def test_a_new_class_is_told(pets: Manifest, tmp_path: Path) -> None:
    found = apply_corrections(pets, table(tmp_path, "uri,label\ncat/a.jpg,lynx\n"))
    assert found.description is not None
    assert found.description.notes[-1].endswith("new classes: 'lynx'")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uri,label\ncat/z.jpg,dog\n", r"images that are not in .*pets: cat/z.jpg; give"),
        ("uri,label\ncat/a.jpg,dog\ncat/a.jpg,lynx\n", "lines 2 and 3 correct cat/a.jpg in two ways"),
        ("uri,label\ncat/a.jpg,dog\ncat/../cat/a.jpg,lynx\n", "in two ways, by two of its paths"),
        ("uri,label,drop\ncat/a.jpg,dog,yes\n", "line 2: cat/a.jpg has both the label 'dog' and drop"),
        ("uri,label,drop\ncat/a.jpg,,\n", "line 2: cat/a.jpg has neither a label nor drop"),
        ("uri,drop\ncat/a.jpg,perhaps\n", "drop must be yes or empty, got 'perhaps'"),
        ("uri,label\n,dog\n", "line 2: no uri"),
        ("path,label\ncat/a.jpg,dog\n", "need the columns 'uri'"),
        ("uri,class\ncat/a.jpg,dog\n", "need the columns 'uri'"),
        ("uri,label\ncat/a.jpg,Dog\n", "differ only in case"),
        ("uri,drop\ncat/a.jpg,1\ncat/b.jpg,1\ndog/c.jpg,1\ndog/d.jpg,1\n", "drops every image"),
    ],
)
def test_corrections_that_cannot_be_right_are_errors(pets: Manifest, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        apply_corrections(pets, table(tmp_path, text))


def test_a_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a table of corrections"):
        read_corrections(tmp_path / "none.csv")


def test_an_empty_table_changes_nothing(pets: Manifest, tmp_path: Path) -> None:
    assert apply_corrections(pets, table(tmp_path, "uri,label,drop\n")).table.equals(pets.table)


def test_a_path_that_is_not_utf_8_is_found(photo: Photo, tmp_path: Path) -> None:
    odd = photo("pets/cat/a.jpg").with_name(os.fsdecode(b"caf\xe9.jpg"))
    (odd.parent / "a.jpg").rename(odd)
    pets = read_images(odd.parent.parent)
    found = apply_corrections(pets, table(tmp_path, f"uri,label\n{odd},dog\n"))
    assert found.labels == ["dog"]
    written = [Issue("unreadable", pets.uris[0], 1.0, "empty file", DROP)]
    write_issues(written, tmp_path)
    assert os.fsencode(odd) in (tmp_path / "issues.csv").read_bytes()
    assert write_corrections(written, tmp_path / "written.csv") == 1
    assert read_corrections(tmp_path / "written.csv") == [Correction(pets.uris[0], None)]


def test_sure_issues_become_corrections_for_a_person_to_edit(pets: Manifest, tmp_path: Path) -> None:
    a, b, c, d = pets.uris
    issues = [
        Issue("wrong-label", a, 0.995, "likely a dog", RELABEL, "dog"),
        Issue("wrong-label", b, 0.93, "perhaps a dog", RELABEL, "dog"),
        Issue("wrong-label", c, 0.999, "likely a cat", RELABEL, "cat"),
        Issue("uniform", c, 1.0, "one color", DROP),
        Issue("dark", d, 1.0, "black", LOOK),
        Issue("imbalance", None, 1.0, "few dogs", LOOK),
    ]
    assert write_corrections(issues, tmp_path / "corrections.csv") == 2
    text = (tmp_path / "corrections.csv").read_text().splitlines()
    assert text == [
        "uri,label,drop,reason",
        f"{c},,yes,uniform: one color",
        f"{a},dog,,wrong-label: likely a dog",
    ]
    assert apply_corrections(pets, tmp_path / "corrections.csv").labels == ["dog", "cat", "dog"]
