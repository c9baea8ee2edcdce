"""Find images, with labels and splits from a table or from the names of folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from headstart.data.frames import with_all_frames
from headstart.data.groups import group_by_pattern
from headstart.data.label_checks import check_class_names
from headstart.data.manifest import Manifest
from headstart.data.sources.archive_tables import ArchiveFolder, archive_folder
from headstart.data.sources.base import FoundImage, is_elsewhere, source_of
from headstart.data.sources.folders import FolderReading, Tree, read_folder
from headstart.data.sources.lookup import ImageLookup
from headstart.data.sources.other_tables import read_split_tables, split_tables
from headstart.data.sources.readings import ReadingSource, ReadOptions
from headstart.data.sources.remote import learn_stamps
from headstart.data.sources.source_choice import source_place
from headstart.data.sources.split_names import SplitNames, recognize_splits
from headstart.data.sources.table_choice import NO_TABLE, TableChoice, choose_table
from headstart.data.sources.tables import SUFFIXES, Labels, read_labels
from headstart.data.uri import to_uri
from headstart.description import DataDescription, Guess, LeftOut, SplitCount
from headstart.errors import DataError

__all__ = ["read_images"]

PathLike = str | os.PathLike[str]


class _Options(ReadOptions):
    """What a person said, applied to local folders and tables."""

    def folders(self, root: Path, tree: Tree | None = None) -> FolderReading:
        return read_folder(root, levels=self.levels, split_folders=self.split_folders, tree=tree)

    def labels(self, path: Path, lookup: ImageLookup) -> Labels:
        return read_labels(path, **self.columns, lookup=lookup)


def read_images(  # noqa: PLR0913 - one for each option
    root: PathLike | Sequence[PathLike],
    labels: PathLike | Literal[False] | None = None,
    *,
    id_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    folder_levels: str | None = None,
    split_folders: str | None = None,
    group_column: str | None = None,
    group_pattern: str | None = None,
    frames: str = "first",
) -> Manifest:
    """Find images with their labels and splits.

    The manifest's ``description`` states how they were read, and what was guessed.

    :param root: a folder with one subfolder per class (also below train, val, test), a flat folder, a folder that
        contains a table of labels, a table next to its images, one image, a list of images and folders, or
        ``SCHEME:...`` of an image source (:func:`headstart.data.sources.register_source`).
    :param labels: a CSV, TSV, JSON lines or Parquet table, as a path or relative to ``root``. Only the images that it
        names are read; one that does not exist becomes a row as well, so that it is reported by name. With None, a
        table directly in ``root`` is used if its columns can be detected and its ids are images found there; with False
        or "none" no table is looked for.
    :param folder_levels: what the folders below ``root`` are, from the top: ``split/class``, ``any/class``, ``class``
        ...; None: detected.
    :param split_folders: ``NAME=SPLIT,...``, for folders whose names do not say which split they are.
    :param group_column: column of the table that says which images belong together.
    :param group_pattern: regular expression for the path of an image, by what it captures of which images belong
        together; see :func:`headstart.data.groups.group_by_pattern`.
    :param frames: "first": of a file with several frames, the first is the image; "all": each page of a TIFF file and
        each frame of a DICOM file is an image of its own, with the label of the file, and the file is their group,
        unless it belongs to one.
    :raises DataError: nothing there, no images, a table that cannot be used, an image with two labels, or two readings
        that fit; the message names the options that choose.
    """
    options = _Options(
        {
            "id_column": id_column,
            "label_column": label_column,
            "split_column": split_column,
            "group_column": group_column,
        },
        folder_levels,
        split_folders,
        table=labels is not False and labels != NO_TABLE,
    )
    if not isinstance(root, str | os.PathLike):
        items = [os.fspath(item) for item in root]
        found, base = _manifest(_read_several(items, options), _named(items), "images"), ""
    else:
        found, base = _read(os.fspath(root), labels, options), os.fspath(root)
    found = found if group_pattern is None else _grouped(found, group_pattern, base)
    return with_all_frames(found) if frames == "all" else found


def _grouped(manifest: Manifest, pattern: str, root: str) -> Manifest:
    """The manifest with the groups that paths say, which its description counts."""
    base = source_place(root) if root else root
    if root and source_of(base).scheme == "file":
        base = to_uri(root if Path(root).is_dir() else Path(root).parent)
    grouped = group_by_pattern(manifest, pattern, root=base)
    assert manifest.description is not None
    return grouped.described(replace(manifest.description, groups=_count_groups(grouped.groups)))


def _count_groups(groups: Iterable[str | None]) -> int:
    return len({group for group in groups if group is not None})


def _read(root: str, labels: PathLike | Literal[False] | None, options: _Options) -> Manifest:
    labels = False if labels == NO_TABLE else labels
    # Beside a table that is named, a folder is one of image files, whatever else lies in it.
    place = root if labels and Path(root).is_dir() else source_place(root)
    if source_of(place).scheme != "file":
        with archive_folder(place) as archive:
            if archive is not None and labels is not False:
                return _read_archive(archive, place, root, labels, options)
        if labels:
            raise DataError(f"--labels must be used with a folder or an archive of image files, got {root}")
        return _from_source(place, root, options)
    folder = Path(root)
    if folder.suffix.lower() in SUFFIXES and folder.is_file() and labels is None:
        folder, labels = folder.parent, folder.absolute()
    if labels:
        if not folder.is_dir():
            raise DataError(f"{folder} must be the folder of the images that {labels} names")
        table = Path(labels) if Path(labels).exists() else folder / labels
        lookup = ImageLookup(folder)
        return _labeled(lookup, options.labels(table, lookup), TableChoice(None), str(folder))
    if folder.is_file():
        return _manifest([FoundImage(to_uri(folder))], root, "images")
    if not folder.is_dir():
        scheme = root.partition("://")[0] if "://" in root else None
        more = f", and no image source is registered for {scheme}://" if scheme else ""
        raise DataError(f"{root}: no such folder or file{more}")
    return _read_folder(folder, options, look_for_table=labels is None)


def _read_archive(
    archive: ArchiveFolder, place: str, root: str, labels: PathLike | None, options: _Options
) -> Manifest:
    """With labels from a table in the archive, or the one that is named; else as any source."""
    lookup = ImageLookup(archive.root, archive.tree)
    if labels:
        table = options.labels(archive.table(os.fspath(labels)), lookup)
        return archive.restored(_labeled(lookup, table, TableChoice(None), root), root)
    found = _look_for_table(lookup, archive.root, options)
    if isinstance(found, Manifest):
        return archive.restored(found, root)
    manifest = _from_source(place, root, options)
    assert manifest.description is not None
    description = manifest.description
    return manifest.described(replace(description, left_out=(*found, *description.left_out)))


def _look_for_table(lookup: ImageLookup, folder: Path, options: _Options) -> Manifest | tuple[LeftOut, ...]:
    """The manifest of the table in a folder; if none has labels, the tables that are not used."""
    choice = choose_table(
        lookup, lambda path: options.labels(path, lookup), lambda: options.folders(folder, lookup.tree)
    )
    if choice.table is not None:
        return _labeled(lookup, choice.table, choice, str(folder))
    if paths := split_tables(folder):
        return _labeled(lookup, read_split_tables(folder, paths, **options.columns), choice, str(folder))
    return choice.left_out


def _read_folder(folder: Path, options: _Options, *, look_for_table: bool) -> Manifest:
    left_out: tuple[LeftOut, ...] = ()
    lookup = ImageLookup(folder)
    if look_for_table:
        found = _look_for_table(lookup, folder, options)
        if isinstance(found, Manifest):
            return found
        left_out = found
    if any(options.columns.values()):
        given = ", ".join(f"--{name.replace('_', '-')}" for name, value in options.columns.items() if value)
        raise DataError(f"{given} is given, but no table in {folder} has labels of its images: name one with --labels")
    return _from_folders(folder, options.folders(folder, lookup.tree), left_out)


def _read_several(items: list[str], options: _Options) -> list[FoundImage]:
    if not items:
        raise DataError("the list of images is empty")
    rows = [row for item in items for row in _read_item(item, options)]
    return list({row.uri: row for row in rows}.values())


def _read_item(item: str, options: _Options) -> Iterable[FoundImage]:
    item = source_place(item)
    if source_of(item).scheme != "file":
        return _listed(item, options)
    path = Path(item)  # a file that does not exist becomes a row, too
    return _images_in(path, options.folders(path)) if path.is_dir() else [FoundImage(to_uri(path))]


def _from_folders(folder: Path, reading: FolderReading, left_out: tuple[LeftOut, ...]) -> Manifest:
    rows = _images_in(folder, reading)
    check_class_names({row.label for row in rows if row.label is not None})
    levels = reading.levels
    names: dict[str, set[str]] = {}
    for name, split in levels.splits.items():
        names.setdefault(split or "", set()).add(name)
    labeled = any(row.label is not None for row in rows)
    return _manifest(
        rows,
        str(folder),
        "class folders" if labeled else "folder without labels",
        folders=levels.levels if labeled else (),
        names=names,
        left_out=(*left_out, *reading.left_out),
        guesses=levels.guesses,
    )


def _images_in(folder: Path, reading: FolderReading) -> list[FoundImage]:
    if not reading.images:
        raise DataError(f"{folder} has no images: no file in it, at any depth, ends in .jpg, .png, .webp or similar")
    return reading.images


def _from_source(place: str, root: str, options: ReadOptions) -> Manifest:
    """The manifest of what a source has at a place, described as the root that was named."""
    source = source_of(place)
    if not isinstance(source, ReadingSource):
        return _manifest(_listed(place, options), root, source.scheme)
    found = source.read(place, options)
    if not found.images:
        raise DataError(f"{root} has no images")
    manifest = _manifest(
        found.images,
        root,
        found.source,
        folders=found.folders,
        names=found.names,
        left_out=found.left_out,
        guesses=found.guesses,
    )
    assert manifest.description is not None
    return manifest.described(replace(manifest.description, columns=found.columns, notes=found.notes))


def _listed(root: str, options: ReadOptions) -> list[FoundImage]:
    source = source_of(root)
    rows = source.read(root, options).images if isinstance(source, ReadingSource) else list(source.list(root))
    if not rows:
        raise DataError(f"{root} has no images")
    return rows


def _named(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{items[0]} and {len(items) - 1:,} more" if items else ""


def _manifest(
    rows: list[FoundImage],
    root: str,
    source: str,
    *,
    table: Labels | None = None,
    folders: tuple[str, ...] = (),
    names: Mapping[str, Iterable[str]] | None = None,
    left_out: tuple[LeftOut, ...] = (),
    guesses: tuple[Guess, ...] = (),
) -> Manifest:
    """The manifest of the rows, with its description."""
    counts = Counter(row.label for row in rows if row.label is not None)
    splits = Counter(row.split for row in rows if row.split is not None)
    description = DataDescription(
        root=root,
        source=source,
        images=len(rows),
        unlabeled=len(rows) - counts.total(),
        table=None if table is None else str(table.path),
        columns=() if table is None else table.roles(),
        folders=folders,
        splits=tuple(
            SplitCount(split, tuple(sorted((names or {}).get(split, ()))), splits[split])
            for split in ("train", "validation", "test")
            if splits[split]
        ),
        classes=tuple(sorted(counts.items())),
        left_out=left_out,
        guesses=(*guesses, *(() if table is None else table.guesses)),
        groups=_count_groups(row.group for row in rows),
        notes=() if table is None else table.notes,
    )
    return Manifest.from_rows(
        [row.uri for row in rows],
        labels=[row.label for row in rows],
        splits=[row.split for row in rows],
        groups=[row.group for row in rows],
    ).described(description)


def _labeled(lookup: ImageLookup, table: Labels, choice: TableChoice, root: str) -> Manifest:
    matches = choice.matches or lookup.match_all(table.ids)
    left_out, guesses = choice.left_out, (*choice.guesses, *matches.guesses)
    rows: dict[str, FoundImage] = {}
    splits, groups = table.splits or [None] * len(table.ids), table.groups or [None] * len(table.ids)
    paths = [
        name if is_elsewhere(name) else _only_match(lookup, name, files, table) or str(lookup.root / name)
        for name, files in zip(table.ids, matches.files, strict=True)
    ]
    learn_stamps(path for path in paths if is_elsewhere(path))
    tops = ["" if is_elsewhere(path) else _top(str(lookup.root), path) for path in paths]
    folders = _split_folders(tops)
    given = zip(table.ids, table.labels, splits, groups, paths, tops, strict=True)
    for name, label, split, group, path, top in given:
        row = FoundImage(
            path if is_elsewhere(path) else to_uri(path),
            label,
            split if table.splits else folders.splits.get(top),
            group,
        )
        before = rows.setdefault(row.uri, row)
        if before.label is None:
            rows[row.uri] = row
        elif label not in (None, before.label):
            raise DataError(f"{table.path} gives {name!r} two labels: {before.label!r} and {label!r}")
        if row.split != before.split:
            raise DataError(f"{table.path} puts {name!r} into two splits: {before.split!r} and {row.split!r}")
        if row.group != before.group:
            raise DataError(f"{table.path} puts {name!r} into two groups: {before.group!r} and {row.group!r}")
    names: dict[str, set[str]] = {}
    if not table.splits:
        for name, split in folders.splits.items():
            names.setdefault(split, set()).add(name)
        if folders.guessed:
            reading = ", ".join(f"{name}: {folders.splits[name]}" for name in sorted(folders.guessed))
            guesses = (*guesses, Guess(f"the folders are splits ({reading})", "--split-column"))
    below = f"{lookup.root}{os.sep}"
    here = not all(is_elsewhere(path) for path in paths)  # else its folder is not listed
    if here and (others := len({below + image for image in lookup.tree.images}.difference(paths))):
        left_out = (*left_out, LeftOut(f"{others:,} image{'s' * (others != 1)}", f"not named by {table.path.name}"))
    return _manifest(list(rows.values()), root, "table", table=table, names=names, left_out=left_out, guesses=guesses)


def _only_match(lookup: ImageLookup, name: str, files: tuple[str, ...], table: Labels) -> str | None:
    if len(files) > 1:
        text = f"{table.path}: {name!r} may be {files[0]} or {files[1]}"
        raise DataError(f"{text}: write the path below {lookup.root} into the table")
    return files[0] if files else None


def _split_folders(tops: Sequence[str]) -> SplitNames:
    """The splits that the topmost folders of the images stand for; a single one next to other folders is none."""
    names = {top for top in tops if top}
    found = recognize_splits(names)
    return found if len(found.splits) == len(names) or len(found.distinct) > 1 else SplitNames({})


def _top(root: str, path: str) -> str:
    """The topmost folder below the root, or nothing. Not by pathlib, since it is called for every row."""
    below, separator, _ = path.removeprefix(f"{root}{os.sep}").partition(os.sep)
    return below if separator and below else ""
