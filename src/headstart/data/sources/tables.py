"""Tables of labels: CSV, TSV or Parquet -> ids, labels and splits as strings."""

from __future__ import annotations

import codecs
import contextlib
import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data.sources.folders import parse_split
from headstart.errors import DataError

__all__ = ["SUFFIXES", "Labels", "read_columns", "read_labels"]

SUFFIXES = (".csv", ".tsv", ".parquet")

# Column names are compared in lower case, letters and digits only; earlier ones in these lists are preferred.
_IDS = (
    *("path", "filepath", "imagepath", "imgpath", "relativepath", "uri", "file", "filename", "imagefile", "image"),
    *("img", "imagename", "imageid", "imgid", "id", "name"),
)
_LABELS = (
    *("label", "classname", "labelname", "class", "labels", "categoryname", "category", "breed", "species", "target"),
)
_SPLITS = ("split", "subset")

Columns = dict[str, list[str | None]]


@dataclass(frozen=True)
class Labels:
    """The rows of a table, in order; ``splits`` is None if the table has no such column."""

    path: Path
    ids: list[str]
    labels: list[str | None]
    splits: list[str | None] | None


def read_labels(
    path: Path, *, id_column: str | None = None, label_column: str | None = None, split_column: str | None = None
) -> Labels:
    """Read a table with a column of ids or paths and one of labels, which are detected by name unless given.

    Empty labels and splits become None.

    :raises DataError: the file does not exist, is damaged or has no rows, or its columns cannot be detected.
    """
    columns = read_columns(path)
    given = (("--id-column", id_column), ("--label-column", label_column), ("--split-column", split_column))
    for setting, name in given:
        if name is not None and name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DataError(f"{path} has no column {name!r} ({setting}); its columns are {_listed(columns)}{hint}")
    split_column = split_column or _first_of(
        [name for name in columns if name not in (id_column, label_column)], _SPLITS
    )
    id_column = id_column or _first_of([name for name in columns if name != label_column], _IDS)
    rest = [name for name in columns if name not in (id_column, split_column)]
    label_column = label_column or _first_of(rest, _LABELS) or (rest[0] if len(rest) == 1 else None)
    if id_column is None:
        raise DataError(_undetected(path, columns, "ids of the images", "--id-column"))
    if label_column is None:
        raise DataError(_undetected(path, columns, "labels", "--label-column"))
    ids = _ids(path, columns[id_column], id_column)
    if not ids:
        raise DataError(f"{path} has no rows below its header")
    splits = None if split_column is None else _splits(path, columns[split_column], split_column)
    labels = [label and unicodedata.normalize("NFC", label) for label in columns[label_column]]
    return Labels(path, ids, labels, splits)


def _first_of(columns: Sequence[str] | Columns, names: Sequence[str]) -> str | None:
    normalized = {re.sub(r"[\W_]", "", column.lower()): column for column in reversed(list(columns))}
    return next((normalized[name] for name in names if name in normalized), None)


def _undetected(path: Path, columns: Columns, what: str, setting: str) -> str:
    return f"{path}: cannot tell which column has the {what}; columns: {_listed(columns)}; name one with {setting}"


def _listed(columns: Columns) -> str:
    names = list(columns)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more


def _ids(path: Path, values: list[str | None], column: str) -> list[str]:
    for number, value in enumerate(values, 1):
        if value is None:
            raise DataError(f"{path}: row {number} below the header has no value in the column {column!r}")
    return [value for value in values if value is not None]


def _splits(path: Path, values: list[str | None], column: str) -> list[str | None]:
    for number, value in enumerate(values, 1):
        if value is not None and parse_split(value) is None:
            text = f"{path}: row {number} below the header has {value!r} in the column {column!r}"
            raise DataError(f"{text}, which must be train, validation or test (or training, val, valid, testing)")
    return [None if value is None else parse_split(value) for value in values]


def read_columns(path: Path) -> Columns:
    """Return all columns of a table as strings, by name; None for an empty cell.

    Columns of a Parquet file that cannot be converted to strings are left out.

    :raises DataError: the file does not exist or is damaged.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(path)
        return _read_csv(path, path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such table of labels") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_parquet(path: Path) -> Columns:
    try:
        table = pq.ParquetFile(path).read()
    except pa.ArrowException as error:
        raise DataError(f"{path} is damaged, or not a Parquet file: {error}") from error
    columns: Columns = {}
    for name in table.column_names:
        # Lists, or images as bytes, are neither ids nor labels nor splits.
        with contextlib.suppress(pa.ArrowException):
            columns[name] = [_cell(value) for value in table[name].cast(pa.string()).to_pylist()]
    return columns


def _read_csv(path: Path, data: bytes) -> Columns:
    text = _text(path, data)
    header = text.split("\n", 1)[0]
    # The most frequent separator in the header: csv.Sniffer is misled by long cells. Ties go to the comma.
    separator = max(",;\t|", key=header.count)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        names = [name.strip() for name in next(rows, [])]
        lines = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path} is not a valid CSV table: {error}") from error
    if len(set(names)) < len(names) or not names:
        raise DataError(f"{path} must begin with a line of unique column names, got {header[:80]!r}")
    for number, row in lines:
        if len(row) != len(names):
            raise DataError(f"{path}: line {number} has {len(row)} cells, but the header has {len(names)}")
    return {name: [_cell(row[i]) for _, row in lines] for i, name in enumerate(names)}


def _text(path: Path, data: bytes) -> str:
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what spreadsheets call Unicode text
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} in line {line}; save it as CSV UTF-8"
        ) from error


def _cell(value: str | None) -> str | None:
    return None if value is None else value.strip() or None
