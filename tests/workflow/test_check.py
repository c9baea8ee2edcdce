from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from headstart.config import FitSettings, ReadSettings
from headstart.data.manifest import Manifest
from headstart.data.parquet import read_parquet
from headstart.workflow.check import check
from headstart.workflow.reading import read, read_all

Photos = Callable[..., Path]


def test_check_writes_its_files_however_many_problems_there_are(photos: Photos, tmp_path: Path) -> None:
    folder = photos(red=2)
    (folder / "red" / "bad.png").write_bytes(b"")
    (folder / "red" / "worse.png").write_bytes(b"GIF")
    found = check(read(folder), FitSettings.of(cache_dir=str(tmp_path / "store")))
    found.write(tmp_path / "out")
    assert len(found.manifest.unusable) == 2
    assert Manifest.read(tmp_path / "out" / "manifest.parquet").table.equals(found.manifest.table)
    unreadable = [issue for issue in found.issues if issue.kind == "unreadable"]
    assert unreadable[0].uri == str(folder / "red" / "bad.png")
    assert (unreadable[0].evidence, unreadable[0].suggestion) == ("empty file", "drop")
    assert len(unreadable) == 2
    table = read_parquet(tmp_path / "out" / "issues.parquet")
    assert table["uri"].to_pylist() == [issue.uri for issue in found.issues]
    with (tmp_path / "out" / "issues.csv").open(newline="") as file:
        assert [row["uri"] for row in csv.DictReader(file)] == [issue.uri or "" for issue in found.issues]


def test_a_table_of_labels(photos: Photos, tmp_path: Path) -> None:
    folder = photos(red=2)
    table = tmp_path / "labels.csv"
    table.write_text("file,colour,who\n0_00.png,crimson,ann\n0_01.png,scarlet,bob\n")
    manifest = read(folder, ReadSettings.of(labels=str(table), id_column="file", label_column="colour"))
    assert manifest.labels == ["crimson", "scarlet"]


def test_files_and_folders_become_one_manifest(photos: Photos) -> None:
    folder = photos(red=2, green=1)
    single = folder / "green" / "0_00.png"
    manifest = read_all([folder / "red", single])
    assert manifest.uris == [str(folder / "red" / "0_00.png"), str(folder / "red" / "0_01.png"), str(single)]
