"""The classes of a project: add, rename, merge and remove, as edits."""

from __future__ import annotations

import sqlite3
import unicodedata

from headstart.data.projects.edits import ClassState, Edit, class_key
from headstart.data.projects.errors import ChangeRefused, NotInProject
from headstart.data.projects.records import ProjectClass
from headstart.errors import ProjectError

__all__ = ["add", "class_name", "list_classes", "merge", "named", "new_class", "remove", "rename", "require"]

MAX_NAME = 200  # characters
MAX_CLASSES = 10_000


def class_name(text: str) -> str:
    """A name as it is stored: without spaces around it, and with accents in one code (NFC).

    :raises ProjectError: it is empty, too long, or has signs that cannot be shown.

    >>> class_name("  Cafe\\u0301 ") == "Caf\\xe9"
    True
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise ProjectError("a class needs a name")
    if len(name) > MAX_NAME:
        raise ProjectError(f"the name of a class has at most {MAX_NAME} characters, got {len(name):,}")
    if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in name):
        raise ProjectError(f"the name of a class is one line of text, got {name!r}")
    return name


def list_classes(connection: sqlite3.Connection) -> list[ProjectClass]:
    """The classes in their order, with the number of images that have each."""
    counts = dict(
        connection.execute(
            "SELECT class_id, count(*) FROM images WHERE problem IS NULL AND class_id IS NOT NULL GROUP BY class_id"
        ).fetchall()
    )
    rows = connection.execute("SELECT id, name FROM classes WHERE removed = 0 ORDER BY position, id")
    return [ProjectClass(number, name, counts.get(number, 0)) for number, name in rows]


def require(connection: sqlite3.Connection, number: int) -> ClassState:
    """The class of an id.

    :raises NotInProject: there is none.
    """
    row = connection.execute(
        "SELECT name, position, removed FROM classes WHERE id = ? AND removed = 0", (number,)
    ).fetchone()
    if row is None:
        raise NotInProject(f"the project has no class {number}")
    return ClassState(row[0], row[1], bool(row[2]))


def named(connection: sqlite3.Connection, name: str) -> tuple[int, str] | None:
    """The id and name of the class that has this name but for case, spaces and underscores.

    Names of single letters are an exception: ``a`` and ``A`` are two classes.
    """
    for number, found in connection.execute(
        "SELECT id, name FROM classes WHERE key = ? AND removed = 0", (class_key(name),)
    ):
        return int(number), str(found)
    return None


def add(connection: sqlite3.Connection, name: str) -> tuple[Edit, str]:
    """The edit that adds a class, and its text.

    :raises ProjectError: it is no name.
    :raises ChangeRefused: the name is taken.
    """
    edit = Edit()
    new_class(connection, edit, name)
    return edit, f"added the class {class_name(name)}"


def new_class(connection: sqlite3.Connection, edit: Edit, text: str) -> int:
    """Add a class to an edit, and return its id.

    :raises ChangeRefused: the name is taken.
    """
    name = class_name(text)
    _check_free(connection, name)
    last, count = connection.execute(
        "SELECT coalesce(max(position), 0), count(*) FILTER (WHERE removed = 0) FROM classes"
    ).fetchone()
    if count >= MAX_CLASSES:
        raise ChangeRefused(f"a project has at most {MAX_CLASSES:,} classes")
    before = ClassState(name, last + 1, removed=True)
    number = connection.execute(
        "INSERT INTO classes(name, key, position, removed) VALUES (?, ?, ?, 1)", (name, class_key(name), last + 1)
    ).lastrowid
    assert number is not None
    edit.classes.append((number, before, before._replace(removed=False)))
    return number


def rename(connection: sqlite3.Connection, number: int, text: str) -> tuple[Edit, str]:
    """The edit that renames a class, and what it does in words.

    :raises NotInProject: no such class.
    :raises ChangeRefused: the name is taken.
    """
    before, name = require(connection, number), class_name(text)
    if name == before.name:
        return Edit(), ""
    _check_free(connection, name, but=number)
    return Edit(classes=[(number, before, before._replace(name=name))]), f"renamed {before.name} to {name}"


def merge(connection: sqlite3.Connection, number: int, into: int) -> tuple[Edit, str]:
    """The edit that gives the images of a class to another one and removes it.

    :raises NotInProject: no such class.
    :raises ChangeRefused: it is the same one.
    """
    before, target = require(connection, number), require(connection, into)
    if number == into:
        raise ChangeRefused(f"{before.name} cannot be merged into itself")
    edit = _emptied(connection, number, before, into)
    return edit, f"merged {before.name} into {target.name}"


def remove(connection: sqlite3.Connection, number: int) -> tuple[Edit, str]:
    """The edit that removes a class; its images are unlabeled then.

    :raises NotInProject: no such class.
    """
    before = require(connection, number)
    return _emptied(connection, number, before, None), f"removed the class {before.name}"


def _emptied(connection: sqlite3.Connection, number: int, before: ClassState, into: int | None) -> Edit:
    edit = Edit(classes=[(number, before, before._replace(removed=True))])
    rows = connection.execute("SELECT id FROM images WHERE problem IS NULL AND class_id = ?", (number,)).fetchall()
    edit.set_labels(connection, dict.fromkeys((image for (image,) in rows), into), "person")
    return edit


def _check_free(connection: sqlite3.Connection, name: str, *, but: int | None = None) -> None:
    found = named(connection, name)
    if found is not None and found[0] != but:
        alike = "" if found[1] == name else f", which differs from {name} in case, spaces or underscores alone"
        raise ChangeRefused(f"there is a class {found[1]} already{alike}: merge the classes, or take another name")
