"""Folders, tables, files and other image sources -> a manifest that is not yet inspected."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from headstart.data.manifest import Manifest
from headstart.data.sources.base import FoundImage, source_of
from headstart.data.sources.folders import parse_split, read_folder
from headstart.data.sources.lookup import ImageLookup
from headstart.data.sources.tables import SUFFIXES, Labels, read_labels
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
    """Find images with their labels and splits.

    :param root: a folder with one subfolder per class (also below train, val, test), a flat folder, a folder that
        contains a table of labels, a table next to its images, one image, a list of images and folders, or
        ``SCHEME:...`` of an image source (:func:`headstart.data.sources.register_source`).
    :param labels: a CSV, TSV or Parquet table, as a path or relative to ``root``. Only the images that it names are
        read; one that does not exist becomes a row as well, so that it is reported by name. With None, a table
        directly in ``root`` is used if it is the only one whose columns can be detected and whose ids are images found
        there; with False no table is looked for.
    :raises DataError: nothing there, no images, a table that cannot be used, or an image with two labels.
    """
    columns = {"id_column": id_column, "label_column": label_column, "split_column": split_column}
    if not isinstance(root, str | os.PathLike):
        return _manifest(_read_several([os.fspath(item) for item in root]))
    return _read(os.fspath(root), labels, columns)[0]


def read_with_table(
    root: PathLike,
    labels: PathLike | None = None,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
) -> tuple[Manifest, Path | None]:
    """As :func:`read_images`, with the table that the labels come from; None if they do not come from a table."""
    columns = {"id_column": id_column, "label_column": label_column, "split_column": split_column}
    return _read(os.fspath(root), labels, columns)


def _read(
    root: str, labels: PathLike | Literal[False] | None, columns: dict[str, str | None]
) -> tuple[Manifest, Path | None]:
    if source_of(root).scheme != "file":
        if labels:
            raise DataError(f"--labels must be used with a folder of image files, got {root}")
        return _manifest(_listed(root)), None
    folder = Path(root)
    if folder.suffix.lower() in SUFFIXES and folder.is_file() and labels is None:
        folder, labels = folder.parent, folder.absolute()
    if labels:
        if not folder.is_dir():
            raise DataError(f"{folder} must be the folder of the images that {labels} names")
        table = Path(labels) if Path(labels).exists() else folder / labels
        return _labeled(ImageLookup(folder), read_labels(table, **columns)), table
    if folder.is_file():
        return _manifest([FoundImage(to_uri(folder))]), None
    if not folder.is_dir():
        scheme = root.partition("://")[0] if "://" in root else None
        more = f", and no image source is registered for {scheme}://" if scheme else ""
        raise DataError(f"{root}: no such folder or file{more}")
    found = None if labels is False else _table_in(folder, columns)
    if found is None and any(columns.values()):
        given = ", ".join(f"--{name.replace('_', '-')}" for name, value in columns.items() if value)
        raise DataError(f"{given} is given, but no table in {folder} has labels of its images: name one with --labels")
    return (_manifest(_images_in(folder)), None) if found is None else found


def _read_several(items: list[str]) -> list[FoundImage]:
    if not items:
        raise DataError("the list of images is empty")
    rows = [row for item in items for row in _read_item(item)]
    return list({row.uri: row for row in rows}.values())


def _read_item(item: str) -> Iterable[FoundImage]:
    if source_of(item).scheme != "file":
        return _listed(item)
    path = Path(item)  # a file that does not exist becomes a row, too
    return _images_in(path) if path.is_dir() else [FoundImage(to_uri(path))]


def _images_in(folder: Path) -> list[FoundImage]:
    rows = read_folder(folder)
    if not rows:
        raise DataError(f"{folder} has no images: no file in it, at any depth, ends in .jpg, .png, .webp or similar")
    return rows


def _listed(root: str) -> list[FoundImage]:
    rows = list(source_of(root).list(root))
    if not rows:
        raise DataError(f"{root} has no images")
    return rows


def _manifest(rows: list[FoundImage]) -> Manifest:
    return Manifest.from_rows(
        [row.uri for row in rows], labels=[row.label for row in rows], splits=[row.split for row in rows]
    )


def _table_in(folder: Path, columns: dict[str, str | None]) -> tuple[Manifest, Path] | None:
    """The rows of the one table in a folder that labels its images, and the table; None if there is none."""
    lookup = ImageLookup(folder)
    usable: dict[str, tuple[Manifest, Path]] = {}
    for path in sorted(folder.iterdir()):
        # Kaggle's sample_submission.csv names the test images, with a made-up label.
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or "submission" in path.name.lower():
            continue
        try:
            table = read_labels(path, **columns)
        except DataError:
            continue
        if any(lookup.matches(name) for name in table.ids):
            usable[path.name] = _labeled(lookup, table), path
    if len(usable) > 1:
        raise DataError(f"{folder} has more than one table of labels ({', '.join(usable)}): name one with --labels")
    return next(iter(usable.values()), None)


def _labeled(lookup: ImageLookup, table: Labels) -> Manifest:
    rows: dict[str, FoundImage] = {}
    splits = table.splits or [None] * len(table.ids)
    for name, label, split in zip(table.ids, table.labels, splits, strict=True):
        path = _only_match(lookup, name, table) or lookup.root / name
        row = FoundImage(to_uri(path), label, split if table.splits else _split_of(lookup.root, path))
        before = rows.setdefault(row.uri, row)
        if before.label is None:
            rows[row.uri] = row
        elif label not in (None, before.label):
            raise DataError(f"{table.path} gives {name!r} two labels: {before.label!r} and {label!r}")
        if row.split != before.split:
            raise DataError(f"{table.path} puts {name!r} into two splits: {before.split!r} and {row.split!r}")
    return _manifest(list(rows.values()))


def _only_match(lookup: ImageLookup, name: str, table: Labels) -> Path | None:
    matches = lookup.matches(name)
    if len(matches) > 1:
        text = f"{table.path}: {name!r} may be {matches[0]} or {matches[1]}"
        raise DataError(f"{text}: write the path below {lookup.root} into the table")
    return matches[0] if matches else None


def _split_of(root: Path, path: Path) -> str | None:
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    return parse_split(parts[0]) if len(parts) > 1 else None
