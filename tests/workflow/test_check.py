from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headstart.config import EngineSettings, ReadSettings
from headstart.data.manifest import Manifest
from headstart.workflow.check import check, read, read_all

Photos = Callable[..., Path]


def test_check_writes_its_files_however_many_problems_there_are(photos: Photos, tmp_path: Path) -> None:
    folder = photos(red=2)
    (folder / "red" / "bad.png").write_bytes(b"")
    (folder / "red" / "worse.png").write_bytes(b"GIF")
    inspected = check(read(folder), tmp_path / "out", EngineSettings())
    assert len(inspected.unusable) == 2
    assert Manifest.read(tmp_path / "out" / "manifest.parquet").table.equals(inspected.table)
    lines = (tmp_path / "out" / "problems.csv").read_text().splitlines()
    assert lines[0] == "path,reason"
    assert lines[1] == f"{folder / 'red' / 'bad.png'},empty file"
    assert len(lines) == 3


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
