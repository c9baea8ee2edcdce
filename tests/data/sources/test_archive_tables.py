"""Tables of labels in archives: the same manifest as from a folder, and nothing is left on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.sources.test_archives import jpeg, write_folder, write_tar, write_zip

from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import DataError

TABLE = b"id,breed\n1,terrier\n2,hound\n3,hound\n"
KAGGLE = {
    "labels.csv": TABLE,
    "sample_submission.csv": b"id,terrier,hound\n9,0.5,0.5\n",
    **{f"train/{number}.jpg": jpeg(number) for number in (1, 2, 3)},
    "test/9.jpg": jpeg(9),
}
Write = Callable[[Path, dict[str, bytes]], Path]


def rows(manifest: Manifest) -> list[tuple[str, str | None, str | None]]:
    names = [uri.rpartition("!")[2].rpartition("photos/")[2] for uri in manifest.uris]
    return list(zip(names, manifest.labels, manifest.splits, strict=True))


@pytest.mark.parametrize(("write", "suffix"), [(write_zip, "zip"), (write_tar, "tar")])
@pytest.mark.parametrize("top", ["", "dog-breed/data/"])
def test_an_archive_reads_as_the_folder_that_it_unpacks_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, suffix: str, top: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    folder = read_images(write_folder(tmp_path / "photos", KAGGLE))
    archive = write(tmp_path / f"dogs.{suffix}", {f"{top}{name}": data for name, data in KAGGLE.items()})
    read = read_images(archive)
    assert [(name.removeprefix(top), *others) for name, *others in rows(read)] == rows(folder)
    assert len(read) == 3
    assert read.uris[0] == f"{suffix}:{archive}!{top}train/1.jpg"
    assert inspect_all(read).hashes == inspect_all(folder).hashes
    assert read.description is not None
    assert folder.description is not None
    assert (read.description.root, read.description.source) == (str(archive), f"table in a {suffix} archive")
    assert read.description.table == f"{archive}!{top}labels.csv"
    assert read.description.left_out == folder.description.left_out
    assert read.description.columns == folder.description.columns
    assert list((tmp_path / "temporary").iterdir()) == []


def test_labels_may_be_in_a_table_beside_the_archive_or_deeper_in_it(tmp_path: Path) -> None:
    images = {name: data for name, data in KAGGLE.items() if name.endswith(".jpg")}
    archive = write_zip(tmp_path / "a.zip", {**images, "meta/labels.csv": TABLE})
    (tmp_path / "other.csv").write_bytes(TABLE.replace(b"hound", b"beagle"))
    assert set(read_images(archive, "meta/labels.csv").labels) == {"terrier", "hound"}
    assert set(read_images(archive, tmp_path / "other.csv").labels) == {"terrier", "beagle"}
    with pytest.raises(DataError, match=r"a\.zip!none\.csv: no such table of labels"):
        read_images(archive, "none.csv")
    bad = write_zip(tmp_path / "b.zip", {**images, "../out.csv": TABLE})
    with pytest.raises(DataError, match="no such table of labels"):
        read_images(bad, "../out.csv")  # which would be written beside the temporary folder


def test_a_folder_with_a_named_table_is_one_of_files_whatever_else_lies_in_it(tmp_path: Path) -> None:
    write_folder(
        tmp_path, {"photos/1.jpg": jpeg(1), "photos/2.jpg": jpeg(2), "labels.csv": b"id,label\n1,cat\n2,dog\n"}
    )
    write_zip(tmp_path / "backup.zip", {"cats/9.jpg": jpeg(9)})
    assert read_images(tmp_path, "labels.csv").labels == ["cat", "dog"]


def test_class_folders_are_read_where_the_table_has_no_labels(tmp_path: Path) -> None:
    members = {"cats/1.jpg": jpeg(1), "dogs/2.jpg": jpeg(2), "sizes.csv": b"camera,width\nx,24\n"}
    read = read_images(write_zip(tmp_path / "a.zip", members))
    assert read.labels == ["cats", "dogs"]
    assert read.description is not None
    assert [left.what for left in read.description.left_out] == ["sizes.csv"]
    assert read_images(tmp_path / "a.zip", "none").labels == ["cats", "dogs"]


def test_two_readings_of_an_archive_are_refused(tmp_path: Path) -> None:
    members = {"cats/1.jpg": jpeg(1), "dogs/2.jpg": jpeg(2), "notes.csv": b"name,kind\n1.jpg,old\n2.jpg,new\n"}
    archive = write_zip(tmp_path / "a.zip", members)
    with pytest.raises(DataError, match="two readings fit"):
        read_images(archive)
    assert read_images(archive, label_column="kind", labels="notes.csv").labels == ["old", "new"]


def test_a_message_names_the_archive_and_not_a_temporary_file(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), "labels.csv": b"id,label\n1,cat\n1,dog\n"})
    with pytest.raises(DataError) as raised:
        read_images(archive)
    assert f"{archive}!labels.csv gives '1' two labels" in str(raised.value)


def test_paths_of_another_machine_are_found_and_told_with_the_name_of_the_archive(tmp_path: Path) -> None:
    table = b"path,label\n/data/x/1.jpg,cat\n/data/x/2.jpg,dog\n"
    archive = write_zip(tmp_path / "a.zip", {"1.jpg": jpeg(1), "2.jpg": jpeg(2), "labels.csv": table})
    read = read_images(archive)
    assert read.labels == ["cat", "dog"]
    assert read.description is not None
    assert [guess.what for guess in read.description.guesses] == [f"paths below /data/x are taken below {archive}!"]


def test_a_missing_image_is_told_by_name(tmp_path: Path) -> None:
    members = {"1.jpg": jpeg(1), "2.jpg": jpeg(2), "labels.csv": b"id,label\n1,cat\n2,dog\n7,dog\n"}
    read = inspect_all(read_images(write_zip(tmp_path / "a.zip", members)))
    assert read.problems[2] is not None
    assert "no such image in the archive" in read.problems[2]


def test_tables_in_several_archives_are_named_and_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_zip(tmp_path / f"{name}.zip", {f"cats/{name}.jpg": jpeg(1), "labels.csv": TABLE})
    read = read_images(tmp_path)
    assert read.description is not None
    (left,) = read.description.left_out
    assert left.what == "2 tables in 2 zip archives"
    assert "single archive" in left.reason
