"""The whole nasty folder: every bad image is reported with its reason, no good one is lost."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from headstart.data.decode import decode, inspect
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.data.uri import to_path, to_uri
from headstart.errors import ImageProblem

Nasty = tuple[Path, dict[Path, str | None]]


def test_the_folder_has_enough_of_both(nasty_folder: Nasty) -> None:
    reasons = Counter(reason is None for reason in nasty_folder[1].values())
    assert reasons[True] >= 100
    assert reasons[False] >= 40


def test_inspect_reports_every_bad_image_and_decode_agrees(nasty_folder: Nasty) -> None:
    wrong = {}
    for path, expected in nasty_folder[1].items():
        seen = inspect(path)
        if seen.problem is None:
            image = decode(path)
            assert (image.mode, image.size) == ("RGB", (seen.width, seen.height)), path
            assert not image.getexif()
        else:
            with pytest.raises(ImageProblem) as caught:
                decode(path)
            assert (caught.value.uri, caught.value.reason) == (to_uri(path), seen.problem)
        if not _fits(seen.problem, expected):
            wrong[path] = seen.problem
    assert wrong == {}


def test_path_uri_and_bytes_are_decoded_to_the_same_pixels(nasty_folder: Nasty) -> None:
    for path, expected in nasty_folder[1].items():
        if expected is None:
            pixels = decode(path).tobytes()
            assert pixels == decode(to_uri(path)).tobytes() == decode(path.read_bytes()).tobytes()


def test_every_entry_becomes_a_row(nasty_folder: Nasty, tmp_path: Path) -> None:
    folder, expected = nasty_folder
    manifest = inspect_all(read_images(folder), workers=3)
    assert {to_path(uri) for uri in manifest.uris} == set(expected)
    assert len(manifest) == len(expected)
    for uri, problem in zip(manifest.uris, manifest.problems, strict=True):
        assert _fits(problem, expected[to_path(uri)]), uri
    manifest.write(tmp_path / "manifest.parquet")
    assert Manifest.read(tmp_path / "manifest.parquet").table.equals(manifest.table)
    manifest.write_problems(tmp_path / "problems.csv")
    with (tmp_path / "problems.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {to_path(row["path"]) for row in rows} == {path for path, reason in expected.items() if reason is not None}
    assert all(row["reason"] for row in rows)


@pytest.mark.parametrize("above", ["강아지", "two\nlines", "50%41", "a=1"])
def test_unusual_parent_folders_do_not_matter(nasty_folder: Nasty, tmp_path: Path, above: str) -> None:
    folder = tmp_path / above
    folder.mkdir()
    (folder / "a.jpg").write_bytes((nasty_folder[0] / "good.jpeg").read_bytes())
    manifest = inspect_all(read_images(folder))
    manifest.write(folder / "manifest.parquet")
    assert Manifest.read(folder / "manifest.parquet").uris == [str(folder / "a.jpg")]
    assert manifest.problems == [None]


def _fits(problem: str | None, expected: str | None) -> bool:
    return problem is None if expected is None else problem is not None and problem.startswith(expected)
