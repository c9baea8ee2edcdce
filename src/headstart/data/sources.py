"""Folders, tables and files of pictures -> a manifest that is not yet inspected."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from headstart.data.folders import Found, read_folder, split_named
from headstart.data.lookup import Lookup
from headstart.data.manifest import Manifest
from headstart.data.tables import SUFFIXES, Labels, read_labels
from headstart.data.uri import to_uri
from headstart.errors import DataError

__all__ = ["read_images", "read_with_table"]

PathLike = str | os.PathLike[str]


def read_images(
    root: PathLike | Sequence[PathLike],
    labels: PathLike | Literal[False] | None = None,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
) -> Manifest:
    """Find pictures with their labels and splits.

    ``root`` is a folder with a folder for each class (perhaps below train, val, test), a flat folder, a folder with a
    table of labels in it, a table beside its pictures, one picture, or a list of pictures and folders.

    ``labels`` is a CSV, TSV or Parquet table, as a path or relative to ``root``. Only the pictures that it names are
    taken; one that is not there becomes a row all the same, so that it is missed later by its name. With None, a table
    in ``root`` itself is used if it is the only one whose columns are plain and whose ids are pictures found there;
    with False no table is looked for.

    DataError: nothing there, no pictures, a table that cannot be used, or an image with two labels.
    """
    columns = {"id_column": id_column, "label_column": label_column, "split_column": split_column}
    if not isinstance(root, str | os.PathLike):
        return _manifest(_several([Path(item) for item in root]))
    return _read(Path(root), labels, columns)[0]


def read_with_table(
    root: PathLike,
    labels: PathLike | None = None,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
) -> tuple[Manifest, Path | None]:
    """As :func:`read_images`, with the table that the labels come from; None where they come from folders."""
    columns = {"id_column": id_column, "label_column": label_column, "split_column": split_column}
    return _read(Path(root), labels, columns)


def _read(
    folder: Path, labels: PathLike | Literal[False] | None, columns: dict[str, str | None]
) -> tuple[Manifest, Path | None]:
    if folder.suffix.lower() in SUFFIXES and folder.is_file() and labels is None:
        folder, labels = folder.parent, folder.absolute()
    if labels:
        if not folder.is_dir():
            raise DataError(f"{folder} must be the folder of the images that {labels} names")
        table = Path(labels) if Path(labels).exists() else folder / labels
        return _labelled(Lookup(folder), read_labels(table, **columns)), table
    if folder.is_file():
        return _manifest([Found(folder)]), None
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder or file")
    found = None if labels is False else _own_table(folder, columns)
    if found is None and any(columns.values()):
        given = ", ".join(f"--{name.replace('_', '-')}" for name, value in columns.items() if value)
        raise DataError(f"{given} is given, but {folder} has no table of labels that fits: name one with --labels")
    return (_manifest(_pictures(folder)), None) if found is None else found


def _several(items: list[Path]) -> list[Found]:
    if not items:
        raise DataError("the list of images is empty")
    rows = [row for item in items for row in (_pictures(item) if item.is_dir() else [Found(item)])]
    return list({to_uri(row.path): row for row in rows}.values())


def _pictures(folder: Path) -> list[Found]:
    rows = read_folder(folder)
    if not rows:
        raise DataError(f"{folder} holds no images: no file in it, at any depth, ends in .jpg, .png, .webp or the like")
    return rows


def _manifest(rows: list[Found]) -> Manifest:
    return Manifest.from_rows(
        [row.path for row in rows], labels=[row.label for row in rows], splits=[row.split for row in rows]
    )


def _own_table(folder: Path, columns: dict[str, str | None]) -> tuple[Manifest, Path] | None:
    """The rows of the one table in a folder that labels its pictures, and the table; None if there is none."""
    lookup = Lookup(folder)
    fitting: dict[str, tuple[Manifest, Path]] = {}
    for path in sorted(folder.iterdir()):
        # Kaggle's sample_submission.csv names the test images, with a made-up label.
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or "submission" in path.name.lower():
            continue
        try:
            table = read_labels(path, **columns)
        except DataError:
            continue
        if any(lookup.fitting(name) for name in table.ids):
            fitting[path.name] = _labelled(lookup, table), path
    if len(fitting) > 1:
        raise DataError(f"{folder} holds more than one table of labels ({', '.join(fitting)}): name one with --labels")
    return next(iter(fitting.values()), None)


def _labelled(lookup: Lookup, table: Labels) -> Manifest:
    rows: dict[str, Found] = {}
    splits = table.splits or [None] * len(table.ids)
    for name, label, split in zip(table.ids, table.labels, splits, strict=True):
        path = _only(lookup, name, table) or lookup.root / name
        row = Found(path, label, split if table.splits else _split_of(lookup.root, path))
        before = rows.setdefault(to_uri(path), row)
        if before.label is None:
            rows[to_uri(path)] = row
        elif label not in (None, before.label):
            raise DataError(f"{table.path} gives {name!r} two labels: {before.label!r} and {label!r}")
        if row.split != before.split:
            raise DataError(f"{table.path} puts {name!r} into two splits: {before.split!r} and {row.split!r}")
    return _manifest(list(rows.values()))


def _only(lookup: Lookup, name: str, table: Labels) -> Path | None:
    fitting = lookup.fitting(name)
    if len(fitting) > 1:
        text = f"{table.path}: {name!r} may be {fitting[0]} or {fitting[1]}"
        raise DataError(f"{text}: write the path below {lookup.root} into the table")
    return fitting[0] if fitting else None


def _split_of(root: Path, path: Path) -> str | None:
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    return split_named(parts[0]) if len(parts) > 1 else None
