"""Parquet files with a checksum of their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data.parquet import read_parquet, table_checksum, write_parquet
from headstart.errors import RunError

TABLE = pa.table(
    {
        "text": ["a", None, "나비"],
        "number": pa.array([1, None, 3], pa.int32()),
        "large": pa.array([2**64 - 1, 0, 1], pa.uint64()),
        "list": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 2),
        "bytes": pa.array([b"\xff\x00", None, b"\x80"], pa.binary()),
    }
).replace_schema_metadata({"classes": "[]"})


def test_a_table_round_trips(tmp_path: Path) -> None:
    for table in (TABLE, TABLE.slice(1), TABLE.slice(0, 0), pa.concat_tables([TABLE, TABLE])):
        write_parquet(tmp_path / "a.parquet", table)
        found = read_parquet(tmp_path / "a.parquet")
        assert found.to_pylist() == table.to_pylist()
        assert found.schema.metadata == {b"classes": b"[]"}


@pytest.mark.parametrize(
    "other",
    [
        TABLE.slice(0, 2),
        TABLE.take([1, 0, 2]),
        TABLE.rename_columns(["txt", "number", "large", "list", "bytes"]),
        TABLE.set_column(0, "text", pa.array(["a", "", "나비"])),
        TABLE.set_column(0, "text", pa.array(["a나", None, "비"])),
        TABLE.set_column(1, "number", pa.array([1, 0, 3], pa.int32())),
        TABLE.set_column(4, "bytes", pa.array([b"\xff\x00", b"", b"\x80"], pa.binary())),
        TABLE.set_column(4, "bytes", pa.array([b"\xff", None, b"\x00\x80"], pa.binary())),
        TABLE.set_column(1, "number", pa.array([1, None, 3], pa.int64())),
        TABLE.replace_schema_metadata({"classes": "[1]"}),
    ],
)
def test_the_checksum_is_that_of_the_content(tmp_path: Path, other: pa.Table) -> None:
    assert table_checksum(other) != table_checksum(TABLE)
    write_parquet(tmp_path / "a.parquet", TABLE)
    checksum = pq.read_schema(tmp_path / "a.parquet").metadata[b"checksum"]
    pq.write_table(
        other.replace_schema_metadata({**(other.schema.metadata or {}), b"checksum": checksum}), tmp_path / "b.parquet"
    )
    with pytest.raises(RunError) as refusal:
        read_parquet(tmp_path / "b.parquet")
    assert str(refusal.value) == f"{tmp_path / 'b.parquet'}: damaged: its content was changed after it was written"


def test_a_table_of_other_software_has_no_checksum(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet").to_pylist() == TABLE.to_pylist()
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "b.parquet")


def test_pages_have_checksums(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, pa.table({"text": ["first", "second"]}))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"second", b"sedonc", 1))
    with pytest.raises(RunError, match=r"a\.parquet: damaged, or not a Parquet file: .*CRC"):
        read_parquet(path)


def test_lists_of_texts_that_are_divided_elsewhere_differ() -> None:
    tables = [
        pa.table({"a": pa.array(rows, pa.list_(pa.string()))}) for rows in ([["x"], []], [[], ["x"]], [["x"], None])
    ]
    assert len({table_checksum(table) for table in tables}) == 3
