from __future__ import annotations

from pathlib import Path

import pytest

from headstart.data.sources.other_tables import read_split_tables, split_tables, unsupported_tables
from headstart.errors import DataError


def _metadata(root: Path, header: str = "file_name,label", name: str = "metadata.csv") -> None:
    for split, rows in (("train", ["1.jpg,cat", "./2.jpg,dog"]), ("test", ["test/1.jpg,cat"])):
        (root / split).mkdir(exist_ok=True)
        (root / split / name).write_text("\n".join([header, *rows]) + "\n")
        (root / split / "1.jpg").touch()
    (root / "train" / "2.jpg").touch()


def test_a_table_in_the_folder_of_each_split(tmp_path: Path) -> None:
    _metadata(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "metadata.csv").write_text("id,label\n1,a\n")
    (tmp_path / "test" / "sample_submission.csv").write_text("id,label\n1,a\n")
    tables = split_tables(tmp_path)
    assert tables == [tmp_path / "test" / "metadata.csv", tmp_path / "train" / "metadata.csv"]
    labels = read_split_tables(tmp_path, tables)
    assert labels.ids == ["test/1.jpg", "train/1.jpg", "train/2.jpg"]
    assert labels.labels == ["cat", "cat", "dog"]
    assert labels.splits == ["test", "train", "train"]
    assert (labels.path, labels.id_column, labels.label_column) == (
        tmp_path / "*" / "metadata.csv",
        "file_name",
        "label",
    )
    assert labels.guesses == ()


def test_tables_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    _metadata(tmp_path)
    (tmp_path / "test" / "metadata.csv").write_text("file_name,breed\n1.jpg,cat\n")
    with pytest.raises(DataError) as columns:
        read_split_tables(tmp_path, split_tables(tmp_path))
    assert str(columns.value) == (
        f"{tmp_path}/test/metadata.csv and {tmp_path}/train/metadata.csv have different columns, 'breed' and 'label': "
        "give them the same, or choose with --id-column and --label-column"
    )
    (tmp_path / "test" / "metadata.csv").write_text("file_name,label\n1.jpg,Cat\n")
    with pytest.raises(DataError, match=r"\*/metadata.csv: in the column 'label', class names differ only in case"):
        read_split_tables(tmp_path, split_tables(tmp_path))
    _metadata(tmp_path, name="labels.csv")
    with pytest.raises(
        DataError, match=r"test has more than one table of labels \(labels.csv, metadata.csv\): leave one"
    ):
        read_split_tables(tmp_path, split_tables(tmp_path))


def test_tables_in_other_formats_are_named(tmp_path: Path) -> None:
    names = ("annotations.json", "labels.xlsx", "labels.txt", "labels.zip", "train.csv.gz", "metadata.ndjson")
    for name in (*names, "README.txt", "photos.zip", "labels.csv", ".hidden.json", "1.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "folder.json").mkdir()
    found = unsupported_tables(tmp_path)
    assert [each.what for each in found] == sorted(names)
    assert {each.reason for each in found} == {"headstart reads CSV, TSV, JSON lines (.jsonl) and Parquet"}
