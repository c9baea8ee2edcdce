"""The images of a project: pages of them, counts, and adding."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from headstart.data.projects import classes
from headstart.data.projects.edits import Edit, commit
from headstart.data.projects.errors import NotInProject
from headstart.data.projects.records import (
    Added,
    Counts,
    Duplicate,
    ImageQuery,
    NewImage,
    ProjectClass,
    ProjectImage,
    Source,
)
from headstart.errors import ProjectError

__all__ = [
    "add",
    "count",
    "ids_of",
    "known_hashes",
    "known_uris",
    "label_times",
    "labels_by_name",
    "present_labels",
    "reject",
    "rejected",
    "require_images",
    "rows",
    "total_of",
]

_CONDITIONS = {
    "all": "1",
    "unlabeled": "problem IS NULL AND class_id IS NULL",
    "labeled": "problem IS NULL AND class_id IS NOT NULL",
    "problems": "problem IS NOT NULL",
}
_ORDERS = {"added": "id", "name": "name, id"}
_COLUMNS = "id, uri, name, hash, width, height, problem, class_id, source"


def ids_of(connection: sqlite3.Connection, query: ImageQuery) -> list[int]:
    """The ids of the images of a query."""
    condition, given = _CONDITIONS[query.show], []
    if query.class_id is not None:
        condition, given = "problem IS NULL AND class_id = ?", [query.class_id]
    limit = -1 if query.limit is None else query.limit
    index = "INDEXED BY images_name" if query.order == "name" else ""  # SQLite would sort by name what it has found
    found = connection.execute(
        f"SELECT id FROM images {index} WHERE {condition} ORDER BY {_ORDERS[query.order]} LIMIT ? OFFSET ?",
        (*given, limit, query.offset),
    )
    return [number for (number,) in found]


def total_of(query: ImageQuery, counts: Counts, of_classes: Sequence[ProjectClass]) -> int:
    """How many images a query has in total."""
    if query.class_id is not None:
        return next((each.count for each in of_classes if each.id == query.class_id), 0)
    return {
        "all": counts.images,
        "unlabeled": counts.unlabeled,
        "labeled": counts.labeled,
        "problems": counts.problems,
    }[query.show]


def rows(connection: sqlite3.Connection, ids: Sequence[int], absolute: Callable[[str], str]) -> list[ProjectImage]:
    """The images of these ids, in their order; ids that the project does not have are left out."""
    found = {
        row[0]: row
        for row in connection.execute(
            f"SELECT {_COLUMNS} FROM images WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
        )
    }
    return [ProjectImage(row[0], absolute(row[1]), *row[2:]) for row in (found.get(number) for number in ids) if row]


def count(connection: sqlite3.Connection) -> Counts:
    """How many images there are, and how many of them have labels and problems."""
    labeled, problems, images = (
        connection.execute(f"SELECT count(*) FROM images WHERE {_CONDITIONS[show]}").fetchone()[0]
        for show in ("labeled", "problems", "all")
    )
    return Counts(images, labeled, images - labeled - problems, problems)


def present_labels(connection: sqlite3.Connection) -> dict[int, int]:
    """The class of each image that has one, by id."""
    return dict(connection.execute(f"SELECT id, class_id FROM images WHERE {_CONDITIONS['labeled']}").fetchall())


def label_times(connection: sqlite3.Connection) -> dict[int, float]:
    """When each labeled image got its label, by id."""
    query = "SELECT images.id, changes.at FROM images JOIN changes ON changes.id = change_id WHERE class_id IS NOT NULL"
    return dict(connection.execute(query).fetchall())


def rejected(connection: sqlite3.Connection) -> set[tuple[int, int]]:
    """The suggestions that were rejected, as (image id, class id)."""
    return set(connection.execute("SELECT image_id, class_id FROM rejections").fetchall())


def known_uris(connection: sqlite3.Connection) -> set[str]:
    """The URIs of all images as they are stored."""
    return {uri for (uri,) in connection.execute("SELECT uri FROM images")}


def known_hashes(connection: sqlite3.Connection, hashes: Sequence[str]) -> set[str]:
    """Those of these hashes that an image has."""
    query = "SELECT hash FROM images WHERE hash IN (SELECT value FROM json_each(?))"
    return {digest for (digest,) in connection.execute(query, (json.dumps(list(hashes)),))}


def require_images(connection: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Check that the project has these images.

    :raises NotInProject: it does not have one.
    """
    given = list(ids)
    missing = connection.execute(
        "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM images) LIMIT 1", (json.dumps(given),)
    ).fetchone()
    if missing is not None:
        raise NotInProject(f"the project has no image {missing[0]}")


def add(connection: sqlite3.Connection, images: Iterable[NewImage], source: Source) -> Added:
    """Add images whose content the project does not have yet, and label those that have a label, also known ones.

    A label is not given to an image that has one.
    """
    ids: list[int] = []
    duplicates: list[Duplicate] = []
    problems: list[tuple[str, str]] = []
    names: dict[int, str] = {}
    for image in images:
        known = _known(connection, image)
        if known is not None:
            number = known[0]
            duplicates.append(Duplicate(image.name, number, known[1]))
        else:
            number = _insert(connection, image)
            ids.append(number)
        if image.problem is not None:
            problems.append((image.name, image.problem))
        elif image.label is not None:
            names.setdefault(number, image.label)
    edit, made = labels_by_name(connection, names, source)
    if not ids and not edit:
        return Added((), tuple(duplicates), tuple(problems), 0, (), None)
    change = commit(connection, "import", _text(len(ids), len(edit.labels), source), edit)
    change = replace(change, images=(*ids, *(step.image for step in edit.labels if step.image not in set(ids))))
    return Added(tuple(ids), tuple(duplicates), tuple(problems), len(edit.labels), made, change)


def _text(added: int, labeled: int, source: Source) -> str:
    text = f"added {added:,} image{'s' * (added != 1)}"
    return f"{text}, {labeled:,} with a label from {_FROM[source]}" if labeled else text


def _known(connection: sqlite3.Connection, image: NewImage) -> tuple[int, str] | None:
    row: tuple[int, str] | None = connection.execute(
        "SELECT id, name FROM images WHERE uri = ? OR hash = ?", (image.uri, image.hash)
    ).fetchone()
    return row


def _insert(connection: sqlite3.Connection, image: NewImage) -> int:
    number = connection.execute(
        "INSERT INTO images(uri, name, hash, width, height, bytes, added_at, problem) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (image.uri, image.name, image.hash, image.width, image.height, image.bytes, time.time(), image.problem),
    ).lastrowid
    assert number is not None
    return number


def labels_by_name(
    connection: sqlite3.Connection, names: Mapping[int, str], source: Source
) -> tuple[Edit, tuple[str, ...]]:
    """The labels of images by the names of classes, and the names of the classes that are made for them.

    An image that has a label keeps it.
    """
    edit, made = Edit(), []
    numbers: dict[str, int | None] = {}
    for name in dict.fromkeys(names.values()):
        found = classes.named(connection, name)
        if found is None:
            try:
                numbers[name] = classes.new_class(connection, edit, name)
                made.append(name)
            except ProjectError:  # no name of a class: the images stay without a label
                numbers[name] = None
        else:
            numbers[name] = found[0]
    labels = {image: numbers[name] for image, name in names.items() if numbers[name] is not None}
    for image in _labeled(connection, labels):
        del labels[image]
    edit.set_labels(connection, labels, source)
    return edit, tuple(made)


def reject(connection: sqlite3.Connection, suggestions: Mapping[int, int]) -> tuple[Edit, str]:
    """The edit that notes that images are not of a class, and its text.

    :raises NotInProject: the project does not have one of the images or classes.
    """
    require_images(connection, suggestions)
    for each in set(suggestions.values()):
        classes.require(connection, each)
    known = rejected(connection)
    edit = Edit(rejections=[(*pair, True) for pair in suggestions.items() if pair not in known])
    count = len(edit.rejections)
    return edit, f"rejected {count:,} suggestion{'s' * (count != 1)}"


def _labeled(connection: sqlite3.Connection, ids: Iterable[int]) -> list[int]:
    query = "SELECT id FROM images WHERE class_id IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
    return [image for (image,) in connection.execute(query, (json.dumps(list(ids)),))]


_FROM = {"folder": "the names of folders", "table": "a table", "person": "names", "suggestion": "suggestions"}
