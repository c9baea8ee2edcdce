"""Tables of labels: CSV, TSV, JSON lines or Parquet -> ids, labels and splits as strings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.formats import is_image_name
from headstart.data.sources.base import is_elsewhere
from headstart.data.sources.columns import choose_columns, has_known_names, is_label_column, normalize
from headstart.data.sources.label_cells import class_names, classes_of_one_hot
from headstart.data.sources.lookup import ImageLookup
from headstart.data.sources.split_cells import read_splits
from headstart.data.sources.table_file import SUFFIXES, Columns, TableFile, read_table
from headstart.description import Guess
from headstart.errors import DataError

__all__ = ["SUFFIXES", "Labels", "labels_of", "read_columns", "read_labels"]

_URL = re.compile(r"(https?|ftp|s3|gs)://", re.IGNORECASE)
_TOTALS = frozenset({"total", "totals", "grand total", "sum", "count", "gesamt", "summe", "итого", "합계", "合計"})


@dataclass(frozen=True)
class Labels:
    """The rows of a table, in order.

    :param splits: None if the table has no column of them.
    :param groups: None if no column of them was given.
    :param label_column: several names, separated by commas, if the table has a column of 0 and 1 for each class.
    :param guesses: readings that were chosen although another fits.
    :param notes: facts about the table that are worth saying.
    """

    path: Path
    ids: list[str]
    labels: list[str | None]
    splits: list[str | None] | None
    id_column: str
    label_column: str
    split_column: str | None
    groups: list[str | None] | None = None
    group_column: str | None = None
    guesses: tuple[Guess, ...] = ()
    notes: tuple[str, ...] = ()

    def roles(self) -> tuple[tuple[str, str], ...]:
        """(role, column) of the columns that are used."""
        others = (("split", self.split_column), ("group", self.group_column))
        given = ((role, column) for role, column in others if column is not None)
        return (("id", self.id_column), ("label", self.label_column), *given)

    @property
    def surely_labels(self) -> bool:
        """Whether the label column is named as one of labels, or each class has a column of its own."""
        return is_label_column(self.label_column) or "," in self.label_column


def read_columns(path: Path) -> Columns:
    """Return all columns of a table as strings, by name; None for an empty cell.

    Columns of a Parquet file that cannot be converted to strings are left out.

    :raises DataError: the file does not exist or is damaged.
    """
    return read_table(path).columns


def read_labels(
    path: Path,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    lookup: ImageLookup | None = None,
) -> Labels:
    """Read a table with a column of ids or paths and one of labels, which are detected unless given.

    Columns are detected by their names, and where these leave a choice by their values. Empty labels and splits become
    None.

    :param split_column: a column, or "none" for a table whose splits are not to be used.
    :param group_column: a column that says which images belong together; an empty cell: with no other.
    :param lookup: the images; with it, columns are also detected by whether their values name images.
    :raises DataError: the file does not exist, is damaged or has no rows, its columns cannot be detected, or its labels
        are not one class per image.
    """
    table = read_table(path, lambda names: _is_header(names, lookup))
    return labels_of(
        table,
        id_column=id_column,
        label_column=label_column,
        split_column=split_column,
        group_column=group_column,
        lookup=lookup,
    )


def labels_of(
    table: TableFile,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    lookup: ImageLookup | None = None,
) -> Labels:
    """Take the labels from a table that was read; see :func:`read_labels`.

    :raises DataError: it has no rows, its columns cannot be detected, or its labels are not one class per image.
    """
    path = table.path
    chosen = choose_columns(
        table,
        id_column=id_column,
        label_column=label_column,
        split_column=split_column,
        group_column=group_column,
        lookup=lookup,
    )
    ids = _ids(path, table.columns[chosen.id], chosen.id)
    if not ids:
        raise DataError(f"{path} has no rows below its header")
    if chosen.label is None:
        label_name = ", ".join(chosen.one_hot)
        cells = classes_of_one_hot(path, {name: table.columns[name] for name in chosen.one_hot})
    else:
        label_name, cells = chosen.label, table.columns[chosen.label]
    _check_last_row(path, ids, lookup)
    labels, guesses, notes = class_names(path, label_name, cells)
    splits = None
    if chosen.split is not None:
        splits, guess = read_splits(str(path), chosen.split, normalize(chosen.split), table.columns[chosen.split])
        guesses += [guess] if guess and split_column is None else []
    return Labels(
        path,
        ids,
        labels,
        splits,
        id_column=chosen.id,
        label_column=label_name,
        split_column=chosen.split,
        groups=None if chosen.group is None else table.columns[chosen.group],
        group_column=chosen.group,
        guesses=(*table.guesses, *chosen.guesses, *guesses),
        notes=(*table.notes, *chosen.notes, *notes),
    )


def _is_header(names: Sequence[str], lookup: ImageLookup | None) -> bool:
    """Whether the first line of a table has names of columns: not if one of them is that of an image."""
    if any(map(is_image_name, names)):
        return False
    return lookup is None or has_known_names(names) or not any(lookup.matches(name) for name in names if name)


def _ids(path: Path, values: list[str | None], column: str) -> list[str]:
    for number, value in enumerate(values, 1):
        if value is None:
            raise DataError(f"{path}: row {number} below the header has no value in the column {column!r}")
        if _URL.match(value) and not is_elsewhere(value):
            raise DataError(
                f"{path}: row {number} below the header has the address {value[:200]!r} in the column {column!r}, but "
                "no image source reads it: download them, and write the names of the files into the table"
            )
    return [value for value in values if value is not None]


def _check_last_row(path: Path, ids: list[str], lookup: ImageLookup | None) -> None:
    """Check that the last row is an image, and not the total that a spreadsheet adds."""
    name = ids[-1]
    if len(ids) > 1 and name.rstrip(":").casefold() in _TOTALS and not (lookup and lookup.matches(name)):
        raise DataError(
            f"{path}: the last row, row {len(ids)} below the header, has the id {name!r}: remove the row if it is a "
            "total, or write the name of the image with its extension"
        )
