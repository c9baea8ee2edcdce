"""Tables of labels that are not one file beside the images: one per split, and formats that are not read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from headstart.data.sources.label_cells import class_names
from headstart.data.sources.lookup import ImageLookup
from headstart.data.sources.split_names import parse_split
from headstart.data.sources.table_file import SUFFIXES
from headstart.data.sources.tables import Labels, read_labels
from headstart.description import LeftOut
from headstart.errors import DataError

__all__ = ["read_split_tables", "split_tables", "unsupported_tables"]

_FORMATS = frozenset(
    {".xlsx", ".xls", ".xlsm", ".ods", ".json", ".ndjson", ".feather", ".arrow", ".pkl", ".pickle", ".mat"}
    | {".db", ".sqlite", ".sqlite3"}
)
_PERHAPS = frozenset({".txt", ".xml", ".npy", ".npz", ".zip", ".gz", ".bz2", ".xz", ".7z"})  # if the name says so
_WORDS = re.compile(r"label|class|annot|metadata|target|truth|\.csv|\.tsv|\.jsonl?", re.IGNORECASE)


def unsupported_tables(folder: Path) -> list[LeftOut]:
    """The files directly in a folder that may be tables of labels, but in a format that is not read."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    return [
        LeftOut(name, "headstart reads CSV, TSV, JSON lines (.jsonl) and Parquet")
        for name in names
        if _may_have_labels(name)
    ]


def _may_have_labels(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return suffix in _FORMATS or (suffix in _PERHAPS and _WORDS.search(name) is not None)


def split_tables(folder: Path) -> list[Path]:
    """The tables in the folders of splits below a folder, as ``train/metadata.csv`` and ``test/metadata.csv``, sorted.

    Files whose name says that they are a submission are left out.
    """
    return sorted(
        path
        for below in folder.iterdir()
        if parse_split(below.name) and below.is_dir()
        for path in below.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "submission" not in path.name.lower()
    )


def read_split_tables(
    folder: Path,
    paths: Sequence[Path],
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
) -> Labels:
    """Read the tables of :func:`split_tables` as one, with ids relative to ``folder``.

    The splits are those of the folders, unless a column is given.

    :raises DataError: two tables in one folder, a table that cannot be used, or tables with different columns.
    """
    doubled = [below for below, count in Counter(path.parent for path in paths).items() if count > 1]
    if doubled:
        names = ", ".join(path.name for path in paths if path.parent == doubled[0])
        raise DataError(f"{doubled[0]} has more than one table of labels ({names}): leave one there")
    tables = [
        read_labels(
            path,
            id_column=id_column,
            label_column=label_column,
            split_column=split_column or "none",
            group_column=group_column,
            lookup=ImageLookup(path.parent),
        )
        for path in paths
    ]
    first = tables[0]
    for table in tables[1:]:
        if (table.id_column, table.label_column) != (first.id_column, first.label_column):
            raise DataError(
                f"{first.path} and {table.path} have different columns, {first.label_column!r} and "
                f"{table.label_column!r}: give them the same, or choose with --id-column and --label-column"
            )
    pattern = folder / "*" / first.path.name
    labels, _, _ = class_names(pattern, first.label_column, [label for table in tables for label in table.labels])
    return Labels(
        pattern,
        [_below(table.path.parent.name, name) for table in tables for name in table.ids],
        labels,
        [split for table in tables for split in table.splits or [parse_split(table.path.parent.name)] * len(table.ids)],
        id_column=first.id_column,
        label_column=first.label_column,
        split_column=None,
        groups=None if group_column is None else [group for table in tables for group in table.groups or []],
        group_column=group_column,
        guesses=tuple(dict.fromkeys(guess for table in tables for guess in table.guesses)),
        notes=tuple(f"{table.path.relative_to(folder)}: {note}" for table in tables for note in table.notes),
    )


def _below(folder: str, name: str) -> str:
    """The name of an image relative to the folder above that of its split."""
    relative = name.replace("\\", "/").removeprefix("./").removeprefix(f"{folder}/")
    return f"{folder}/{relative}"
