"""Corrections of labels: a table that is applied when images are read, and what it changed.

The images and tables of labels are never touched. A table of corrections is CSV with the columns ``uri`` (the path of
an image, absolute or below the folder of images), and ``label`` (the right class) or ``drop`` (``yes``: leave the image
out); other columns, as ``reason``, are for people.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.data.label_checks import check_class_names
from headstart.data.manifest import Manifest
from headstart.data.sources.base import source_of
from headstart.data.uri import display_name, to_uri
from headstart.description import Correction, DataDescription
from headstart.errors import DataError, RunError
from headstart.files import write_text

__all__ = ["apply_corrections", "read_changes", "read_corrections", "write_changes"]

_YES, _NO = {"yes", "true", "1", "drop"}, {"", "no", "false", "0"}
_CHANGES = ("uri", "old_label", "label", "drop")
_SHOWN = 3


def read_corrections(path: Path) -> list[Correction]:
    """Read a table of corrections, each image once.

    :raises DataError: it cannot be read, a row says nothing or two things, or two rows contradict each other.
    """
    rows = _read(path)
    if rows and not ("uri" in rows[0] and {"label", "drop"} & set(rows[0])):
        got = ", ".join(map(repr, rows[0]))
        raise DataError(f"{path}: corrections need the columns 'uri', and 'label' or 'drop', got {got}")
    found: dict[str, tuple[int, Correction]] = {}
    for line, row in enumerate(rows, 2):
        correction = _correction(row, f"{path}, line {line}")
        before = found.setdefault(correction.uri, (line, correction))
        if before[1] != correction:
            raise DataError(f"{path}, lines {before[0]} and {line} correct {correction.uri} in two ways: remove one")
    return [correction for _, correction in found.values()]


def apply_corrections(manifest: Manifest, path: Path) -> Manifest:
    """Return the images with the labels that a table of corrections gives, without those that it drops.

    What was changed is in ``corrections`` of the manifest, and counted in its description. A correction that says what
    is there already changes nothing.

    :raises DataError: the table cannot be used, or names an image that is not there.
    """
    given = read_corrections(path)
    root = "" if manifest.description is None else manifest.description.root
    rows, labels = {uri: row for row, uri in enumerate(manifest.uris)}, list(manifest.labels)
    places = [_place(each.uri, rows, root) for each in given]
    if unknown := [each.uri for each, place in zip(given, places, strict=True) if place is None]:
        more = f", and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        raise DataError(
            f"{path} corrects images that are not in {root or 'the set'}: {', '.join(unknown[:_SHOWN])}{more}; give "
            "absolute paths, or paths below the folder of images"
        )
    done: dict[int, Correction] = {}
    uris = manifest.uris
    for each, place in zip(given, places, strict=True):
        assert place is not None
        if place in done and done[place].label != each.label:
            raise DataError(f"{path} corrects {uris[place]} in two ways, by two of its paths: remove one")
        done[place] = Correction(uris[place], each.label, labels[place])
    done = {row: each for row, each in done.items() if each.label is None or each.label != each.old_label}
    for row, each in done.items():
        labels[row] = each.label
    kept = np.array([row not in done or done[row].label is not None for row in range(len(manifest))], bool)
    if not kept.any():
        raise DataError(f"{path} drops every image")
    left = manifest.with_column("label", labels).select(kept)
    check_class_names(left.classes)
    description = _described(left, done.values(), set(manifest.classes), path)
    return left.described(description, [done[row] for row in sorted(done)])


def write_changes(path: Path, corrections: Sequence[Correction]) -> None:
    """Write what was changed as CSV: uri, old_label, label, drop. With it, every change can be undone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_CHANGES)
    writer.writerows(
        (each.uri, each.old_label or "", each.label or "", "yes" if each.label is None else "") for each in corrections
    )
    write_text(path, text.getvalue())


def read_changes(path: Path) -> tuple[Correction, ...]:
    """Read what :func:`write_changes` wrote; nothing, if there is no such file.

    :raises RunError: it is damaged.
    """
    if not path.exists():
        return ()
    try:
        rows = _read(path)
        return tuple(Correction(row["uri"], row["label"] or None, row["old_label"] or None) for row in rows)
    except (DataError, KeyError) as error:
        raise RunError(f"{path}: damaged: {error}") from error


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, restval="")
            return [{name: text for name, text in row.items() if name is not None} for row in reader]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table of corrections: {error}") from error


def _correction(row: Mapping[str, str], where: str) -> Correction:
    uri, label, drop = row.get("uri", ""), row.get("label", "").strip(), row.get("drop", "").strip()
    if not uri:
        raise DataError(f"{where}: no uri")
    if drop.lower() not in _YES | _NO:
        raise DataError(f"{where}: drop must be yes or empty, got {drop!r}")
    dropped = drop.lower() in _YES
    if dropped == bool(label):
        text = f"both the label {label!r} and drop" if dropped else "neither a label nor drop"
        raise DataError(f"{where}: {uri} has {text}: give one of them")
    return Correction(uri, label or None)


def _place(uri: str, rows: Mapping[str, int], root: str) -> int | None:
    """The row of an image, by its URI or a path; a relative one is below the root."""
    if uri in rows:
        return rows[uri]
    if source_of(uri).scheme != "file":
        return None
    base = Path(root).parent if Path(root).is_file() else Path(root)
    return rows.get(to_uri(base / display_name(uri)))


def _described(left: Manifest, done: Collection[Correction], classes: set[str], path: Path) -> DataDescription | None:
    if left.description is None:
        return None
    dropped = sum(each.label is None for each in done)
    relabeled = len(done) - dropped
    note = f"{path} corrects {_images(relabeled)} and leaves out {_images(dropped)}"
    if new := sorted(set(left.classes) - classes):
        note += f"; new classes: {', '.join(map(repr, new))}"
    counts, splits = Counter(left.labels), Counter(left.splits)
    return replace(
        left.description,
        images=len(left),
        unlabeled=counts.pop(None, 0),
        classes=tuple(sorted((name, count) for name, count in counts.items() if name is not None)),
        splits=tuple(replace(each, images=splits[each.split]) for each in left.description.splits),
        groups=len({group for group in left.groups if group is not None}),
        notes=(*left.description.notes, note),
    )


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
