"""Which table beside the images has their labels, and whether the names of folders say something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.data.sources.folders import FolderReading
from headstart.data.sources.lookup import ImageLookup, Matches
from headstart.data.sources.other_tables import unsupported_tables
from headstart.data.sources.tables import SUFFIXES, Labels, read_columns
from headstart.data.uri import to_path
from headstart.description import Guess, LeftOut
from headstart.errors import DataError

__all__ = ["NO_TABLE", "OWN_COLUMNS", "TableChoice", "choose_table"]

NO_TABLE = "none"
"""The value of ``--labels`` with which no table is looked for."""

OWN_COLUMNS = (("path", "class_1", "probability_1"), ("path", "reason"))
"""The first columns of the CSV files that ``headstart predict`` and ``headstart check`` write."""


@dataclass(frozen=True)
class TableChoice:
    """The table of labels in a folder, or None, and the tables that are not used."""

    table: Labels | None
    matches: Matches | None = None  # the images that the ids of the table name
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[Guess, ...] = ()


def choose_table(
    lookup: ImageLookup, read: Callable[[Path], Labels], read_folders: Callable[[], FolderReading]
) -> TableChoice:
    """Look at every table directly in the folder of the images.

    :param read: reads a table of labels.
    :param read_folders: reads labels from the names of folders.
    :raises DataError: there is more than one table of labels; a table seems to have labels, but cannot be used; or the
        labels of a table that is not clearly one of labels differ from the names of folders.
    """
    usable: list[tuple[Labels, Matches]] = []
    unusable: list[tuple[Path, DataError]] = []
    left_out: list[LeftOut] = []
    for path in _tables(lookup.root):
        if reason := _not_for_labels(path):
            left_out.append(LeftOut(path.name, reason))
            continue
        try:
            table = read(path)
        except DataError as error:
            if reason := _unrelated(path, lookup):
                left_out.append(LeftOut(path.name, reason))
            else:
                unusable.append((path, error))
            continue
        matches = lookup.match_all(table.ids)
        if any(matches.files):
            usable.append((table, matches))
        else:
            left_out.append(LeftOut(path.name, f"none of the {len(table.ids):,} ids in it is an image found here"))
    if len(usable) > 1:
        names = ", ".join(table.path.name for table, _ in usable)
        raise DataError(f"{lookup.root} has more than one table of labels ({names}): name one with --labels")
    if usable:
        left_out += [LeftOut(path.name, str(refusal)) for path, refusal in unusable]
        table, matches = usable[0]
        return TableChoice(table, matches, tuple(left_out), _compared(table, matches, read_folders))
    if unusable:
        path, refusal = unusable[0]
        raise DataError(
            f"{path.name} is beside the images, but cannot be used as a table of labels: {refusal}. "
            f"Mend it, or leave it aside: --labels {NO_TABLE} reads labels from the names of folders"
        )
    return TableChoice(None, left_out=(*left_out, *unsupported_tables(lookup.root)))


def _tables(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _not_for_labels(path: Path) -> str | None:
    if "submission" in path.name.lower():  # Kaggle's sample names the test images, with a made-up label
        return "a sample submission"
    with path.open("rb") as file:  # the header alone: the table may be large
        columns = tuple(file.readline(1000).decode(errors="replace").strip().split(","))
    return "written by headstart" if any(columns[: len(own)] == own for own in OWN_COLUMNS) else None


def _unrelated(path: Path, lookup: ImageLookup) -> str | None:
    """Why a table that cannot be used has no labels of these images; None if it may have some."""
    try:
        columns = read_columns(path)
    except DataError:
        return None
    named = [name for name, cells in columns.items() if lookup.share(cells) > 0]
    if not named:
        return "none of its columns names images found here"
    return f"it has no column beside {named[0]!r}, so it has no labels" if len(columns) == 1 else None


def _compared(table: Labels, matches: Matches, read_folders: Callable[[], FolderReading]) -> tuple[Guess, ...]:
    """What is to be told where the names of folders give other labels than the table.

    :raises DataError: nothing but its place says that the table is one of labels.
    """
    try:
        images = read_folders().images
    except DataError:  # two readings of the folders; the table decides
        return ()
    classes = sorted({row.label for row in images if row.label is not None})
    if len(classes) < 2:
        return ()
    folders = {str(to_path(row.uri)): row.label for row in images}
    pairs = [
        (label, folders.get(paths[0]))
        for paths, label in zip(matches.files, table.labels, strict=True)
        if len(paths) == 1
    ]
    if all(label == folder for label, folder in pairs):
        return ()
    shown = ", ".join(classes[:5]) + (f" and {len(classes) - 5:,} more" if len(classes) > 5 else "")
    if table.surely_labels:
        what = (
            f"the labels are in {table.path.name}, column {table.label_column!r}, not in the names of folders ({shown})"
        )
        return (Guess(what, f"--labels {table.path.name} or --labels {NO_TABLE}"),)
    values = sorted({label for label in table.labels if label is not None})
    raise DataError(
        f"two readings fit: the labels may be the names of folders ({shown}): --labels {NO_TABLE}; or the column "
        f"{table.label_column!r} of {table.path.name} ({', '.join(values[:5])}{' ...' if len(values) > 5 else ''}): "
        f"--labels {table.path.name} --label-column {table.label_column!r}"
    )
