from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.manifest import SCHEMA, Manifest
from headstart.data.sources import source_of
from headstart.data.uri import to_path, to_uri
from headstart.errors import DataError, RunError


@given(
    st.binary(min_size=1, max_size=40).filter(lambda name: not {0, ord("/")} & set(name) and name not in (b".", b".."))
)
def test_any_file_name_survives_a_table(name: bytes) -> None:
    path = Path("/photos", os.fsdecode(name))
    manifest = Manifest.from_rows([path])
    assert manifest.table["uri"].to_pylist() == [to_uri(path)]
    assert os.fsencode(to_path(manifest.uris[0])) == b"/photos/" + name
    assert manifest.source(0).uri == to_uri(path)
    assert manifest.source(0).source is source_of(to_uri(path))


def test_a_uri_is_absolute_and_keeps_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("nowhere")
    assert to_uri("link/../a.jpg") == str(tmp_path / "a.jpg")
    assert to_uri("link") == str(tmp_path / "link")


def _manifest() -> Manifest:
    return Manifest.from_rows(
        ["/p/a.jpg", "/p/b.jpg", "/p/c.jpg", "/p/d.jpg"],
        labels=["cat", "dog", None, "cat"],
        splits=["train", "test", None, "train"],
        groups=[None, None, "g", "g"],
    ).with_column("problem", [None, "empty file", None, None])


def test_rows_and_columns() -> None:
    manifest = _manifest()
    assert manifest.table.schema == SCHEMA
    assert len(manifest) == 4
    assert manifest.classes == ("cat", "dog")
    assert manifest.labels == ["cat", "dog", None, "cat"]
    assert manifest.usable.uris == ["/p/a.jpg", "/p/c.jpg", "/p/d.jpg"]
    assert manifest.unusable.problems == ["empty file"]
    assert manifest.in_split("train").uris == ["/p/a.jpg", "/p/d.jpg"]
    assert manifest.in_split("validation").uris == []
    assert manifest.hashes == [None] * 4
    assert repr(manifest) == "Manifest(4 images, 2 classes)"


def test_select_takes_masks_and_numbers() -> None:
    manifest = _manifest()
    assert manifest.select([3, 0, 0]).uris == ["/p/d.jpg", "/p/a.jpg", "/p/a.jpg"]
    assert manifest.select(np.array([False, True, False, True])).uris == ["/p/b.jpg", "/p/d.jpg"]
    assert manifest.select([]).uris == []
    assert manifest.select(np.zeros(4, dtype=bool)).classes == ()


def test_with_column_changes_a_copy() -> None:
    manifest = _manifest()
    assert manifest.with_column("split", ["test"] * 4).splits == ["test"] * 4
    assert manifest.splits == ["train", "test", None, "train"]
    with pytest.raises(ValueError, match="breed"):
        manifest.with_column("breed", [None] * 4)


def test_targets() -> None:
    manifest = _manifest()
    assert manifest.select([0, 1, 3]).targets(("dog", "cat")).tolist() == [1, 0, 1]
    assert manifest.select([]).targets(("dog",)).dtype == np.int64
    with pytest.raises(DataError) as unknown:
        manifest.targets(("cat",))
    assert str(unknown.value) == "/p/b.jpg has the label 'dog', which is not one of the 1 classes"
    with pytest.raises(DataError) as missing:
        manifest.targets(("cat", "dog"))
    assert str(missing.value) == "/p/c.jpg has no label"


def test_arrays_stay_with_their_rows(tmp_path: Path) -> None:
    arrays = [np.full((2, 2), shade, np.uint8) for shade in range(4)]
    manifest = Manifest.from_arrays(arrays, labels=["a", "b", "a", "b"]).select([3, 1])
    assert manifest.uris == ["array:3", "array:1"]
    assert manifest.source(0).read() is arrays[3]
    assert manifest.with_column("split", ["train", "test"]).in_split("test").source(0).read() is arrays[1]
    manifest.write(tmp_path / "m.parquet")
    with pytest.raises(DataError) as caught:
        Manifest.read(tmp_path / "m.parquet").source(0)
    assert str(caught.value) == "array:3 was an array in memory, which a manifest does not save: pass the arrays again"


def test_an_empty_manifest_survives(tmp_path: Path) -> None:
    Manifest.from_rows([]).write(tmp_path / "m.parquet")
    assert len(Manifest.read(tmp_path / "m.parquet")) == 0
    Manifest.from_rows([]).write_problems(tmp_path / "problems.csv")
    assert (tmp_path / "problems.csv").read_bytes() == b"path,reason\r\n"


def test_writing_leaves_no_other_file(tmp_path: Path) -> None:
    _manifest().write(tmp_path / "m.parquet")
    _manifest().write(tmp_path / "m.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]
    assert Manifest.read(tmp_path / "m.parquet").table.equals(_manifest().table)


def test_damaged_manifests(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    with pytest.raises(RunError) as missing:
        Manifest.read(path)
    assert str(missing.value) == f"{path}: no such manifest"
    _manifest().write(path)
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[: len(whole) // 2], b"not parquet at all" * 9):
        path.write_bytes(data)
        with pytest.raises(RunError, match=r"m\.parquet: damaged, or not a Parquet file: "):
            Manifest.read(path)
    pq.write_table(pa.table({"uri": ["a"], "breed": ["b"]}), path)
    with pytest.raises(RunError) as other:
        Manifest.read(path)
    assert str(other.value) == f"{path} is not a manifest: its columns are uri, breed"
    pq.write_table(pa.table({name: [["a"]] for name in SCHEMA.names}), path)
    with pytest.raises(RunError, match="is not a manifest: "):
        Manifest.read(path)
    for column, values, text in (
        ("split", ["train", "eval"], "split: must be train, validation, test or null, got 'eval'"),
        ("width", [3, -3], "width: must not be negative"),
    ):
        Manifest.from_rows(["a", "b"]).with_column(column, values).write(path)
        with pytest.raises(RunError) as wrong:
            Manifest.read(path)
        assert str(wrong.value) == f"{path} is not a manifest: {text}"


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), max_size=5))
def test_problems_survive_as_csv(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    rows = [(uri.replace("\0", ""), reason.replace("\0", "")) for uri, reason in rows]
    path = tmp_path_factory.mktemp("csv") / "problems.csv"
    Manifest.from_rows([uri for uri, _ in rows]).with_column("problem", [reason for _, reason in rows]).write_problems(
        path
    )
    with path.open(encoding="utf-8", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("path", "reason"), *rows]
