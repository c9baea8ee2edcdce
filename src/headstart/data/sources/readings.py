"""What a source that knows more than URIs says of its images: labels, splits, and how they were read."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from headstart.data.label_checks import check_class_names
from headstart.data.sources.base import FoundImage
from headstart.data.sources.folder_levels import detect_levels, given_levels, parse_levels, parse_split_folders
from headstart.data.sources.table_file import TableFile
from headstart.data.sources.tables import labels_of
from headstart.description import Guess, LeftOut
from headstart.errors import DataError

__all__ = ["ReadOptions", "ReadingSource", "SourceReading", "read_cells", "read_members"]


@dataclass(frozen=True)
class ReadOptions:
    """What a person said of tables and folders.

    :param columns: ``id_column``, ``label_column``, ``split_column`` and ``group_column``.
    :param table: False: labels are not taken from a table, or from what stands beside an image like one.
    """

    columns: Mapping[str, str | None] = field(default_factory=dict)
    levels: str | None = None
    split_folders: str | None = None
    table: bool = True


@dataclass(frozen=True)
class SourceReading:
    """The images of a source, and how they were read; for the fields, see ``DataDescription``.

    :param names: names in the data by the split that they stand for.
    :param columns: (role, column) of those that are used.
    """

    images: list[FoundImage]
    source: str
    folders: tuple[str, ...] = ()
    names: Mapping[str, set[str]] = field(default_factory=dict)
    columns: tuple[tuple[str, str], ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[Guess, ...] = ()
    notes: tuple[str, ...] = ()


@runtime_checkable
class ReadingSource(Protocol):
    """An :class:`~headstart.data.sources.base.ImageSource` that also says how it read labels and splits."""

    def read(self, root: str, options: ReadOptions) -> SourceReading:
        """Return the images below ``root`` with their labels and splits.

        :raises DataError: they cannot be listed, or two readings fit.
        """


def read_members(root: str, members: Sequence[tuple[str, str]], options: ReadOptions, *, source: str) -> SourceReading:
    """Labels and splits from the names of folders, as :func:`headstart.data.sources.folders.read_folder` reads them.

    :param members: (path with slashes below the root, URI) of each image.
    :param source: where the folders are, for the description: "a zip archive".
    :raises DataError: two readings fit, or options for tables are given.
    """
    if given := [f"--{name.replace('_', '-')}" for name, value in options.columns.items() if value]:
        raise DataError(f"{', '.join(given)} is given, but {root} has folders of images, without a table of labels")
    levels = None if options.levels is None else parse_levels(options.levels)
    splits = None if options.split_folders is None else parse_split_folders(options.split_folders)
    above = [tuple(unicodedata.normalize("NFC", part) for part in path.split("/")[:-1]) for path, _ in members]
    if levels is not None or splits is not None:
        found = given_levels(above, levels, splits, root)
    else:
        found = detect_levels(above, root)
    rows = [
        FoundImage(uri, found.label(folders), found.split(folders))
        for (_, uri), folders in zip(members, above, strict=True)
    ]
    labels = {row.label for row in rows if row.label is not None}
    check_class_names(labels)
    names: dict[str, set[str]] = {}
    for name, split in found.splits.items():
        names.setdefault(split or "", set()).add(name)
    what = f"class folders in {source}" if labels else f"{source} without labels"
    return SourceReading(
        rows, what, found.levels if labels else (), names, left_out=found.left_out, guesses=found.guesses
    )


def read_cells(
    table: TableFile,
    uris: Sequence[str],
    splits: Sequence[str | None],
    options: ReadOptions,
    *,
    source: str,
) -> SourceReading:
    """Labels, splits and groups from the columns of a table that has one row per image.

    :param splits: those that the names of files say; a column of splits is preferred.
    :raises DataError: it is not clear which column has the labels.
    """
    if not options.table or not uris:
        rows = [FoundImage(uri, None, split) for uri, split in zip(uris, splits, strict=True)]
        return SourceReading(rows, f"{source} without labels")
    key = "(image)"  # not a name that a file would give its column
    labels = labels_of(
        TableFile(table.path, {key: list(uris), **table.columns}, table.lists, table.not_text),
        id_column=key,
        label_column=options.columns.get("label_column"),
        split_column=options.columns.get("split_column"),
        group_column=options.columns.get("group_column"),
    )
    groups = labels.groups or [None] * len(uris)
    given_splits = list(splits) if labels.splits is None else labels.splits
    rows = [FoundImage(*row) for row in zip(uris, labels.labels, given_splits, groups, strict=True)]
    roles = tuple(role for role in labels.roles() if role[0] != "id")
    return SourceReading(rows, source, columns=roles, guesses=labels.guesses, notes=labels.notes)
