from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.config import FitSettings, ReadSettings
from headstart.data.manifest import Manifest
from headstart.data.parquet import read_parquet
from headstart.workflow.check import check
from headstart.workflow.fit import fit
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


def test_wrong_labels_are_found_by_features_that_a_fit_uses(photos: Photos, tmp_path: Path, told: Any) -> None:
    folder = photos(red=12, green=12, blue=12)
    face, again = told(), told()
    moved = folder / "green" / "moved.png"
    (folder / "red" / "0_03.png").rename(moved)
    settings = FitSettings("test_resnet", weights="random", cache_dir=str(tmp_path / "store"), train="head")
    found = check(read(folder), settings, events=face)
    first = next(issue for issue in found.issues if issue.kind == "wrong-label")
    assert (first.uri, first.label, first.suggestion) == (str(moved), "red", "relabel")
    assert face.stages["computing features"] == 36
    assert [issue.uri for issue in check(read(folder), settings, events=again).issues] == [
        each.uri for each in found.issues
    ]
    fit(read(folder), settings, events=again)
    assert "computing features" not in again.stages


def test_without_features_no_network_is_loaded(photos: Photos, tmp_path: Path) -> None:
    settings = FitSettings("no_such_network", cache_dir=str(tmp_path / "store"))
    found = check(read(photos(red=2, green=2)), settings, features=False)
    assert not [issue for issue in found.issues if issue.kind == "wrong-label"]


@pytest.mark.parametrize("counts", [{"red": 3}, {"red": 1, "green": 1}, {"red": 1}])
def test_labels_that_cannot_be_cross_validated_are_not_checked(
    photos: Photos, tmp_path: Path, counts: dict[str, int]
) -> None:
    settings = FitSettings("test_resnet", weights="random", cache_dir=str(tmp_path / "store"))
    found = check(read(photos(**counts)), settings)
    assert not [issue for issue in found.issues if issue.kind == "wrong-label"]


def test_without_features_torch_is_not_loaded() -> None:
    program = "import sys, headstart.workflow.check; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"
