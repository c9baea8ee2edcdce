"""An edit of labels, classes and rejections: applied, recorded as a change, and turned back by undo."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from headstart.data.label_checks import name_key
from headstart.data.projects.errors import ChangeRefused
from headstart.data.projects.records import Change

__all__ = ["ClassState", "Edit", "LabelStep", "can_undo", "class_key", "commit", "redo", "redoable", "undo"]

_BACK = ("undo", "redo")
_NOT_UNDONE = ("import", *_BACK)  # images stay in a project


def class_key(name: str) -> str:
    """What is equal for names of classes that are taken for the same; single letters differ by case.

    >>> class_key("Golden_Retriever") == class_key("golden retriever"), class_key("a") == class_key("A")
    (True, False)
    """
    return name if len(name) == 1 else name_key(name)


class ClassState(NamedTuple):
    """A class as it is stored."""

    name: str
    position: int
    removed: bool


class LabelStep(NamedTuple):
    """The label of an image before and after."""

    image: int
    before: int | None
    before_source: str | None
    after: int | None
    after_source: str | None


@dataclass
class Edit:
    """What changes, with the states before and after; the reverse of an edit is an edit."""

    labels: list[LabelStep] = field(default_factory=list)
    classes: list[tuple[int, ClassState, ClassState]] = field(default_factory=list)
    rejections: list[tuple[int, int, bool]] = field(default_factory=list)  # image, class, whether it is rejected after

    def __bool__(self) -> bool:
        return bool(self.labels or self.classes or self.rejections)

    def reversed(self) -> Edit:
        """The edit that takes this one back."""
        return Edit(
            [LabelStep(step.image, *step[3:5], *step[1:3]) for step in self.labels],
            [(number, after, before) for number, before, after in self.classes],
            [(image, number, not after) for image, number, after in self.rejections],
        )

    def set_labels(self, connection: sqlite3.Connection, labels: Mapping[int, int | None], source: str | None) -> None:
        """Add what differs from the present labels; images with a problem have none."""
        rows = connection.execute(
            "SELECT id, class_id, source FROM images WHERE problem IS NULL AND id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(labels)),),
        )
        for image, before, before_source in rows.fetchall():
            after = labels[image]
            after_source = None if after is None else source
            if (before, before_source) != (after, after_source):
                self.labels.append(LabelStep(image, before, before_source, after, after_source))


def commit(connection: sqlite3.Connection, kind: str, text: str, edit: Edit, *, of: int | None = None) -> Change:
    """Apply an edit and record it, within a transaction.

    :param of: the revision of the change that is undone or redone.
    """
    what = {"classes": edit.classes, "rejections": edit.rejections, "of": of}
    at = time.time()
    revision = connection.execute(
        "INSERT INTO changes(at, kind, text, what) VALUES (?, ?, ?, ?)", (at, kind, text, json.dumps(what))
    ).lastrowid
    assert revision is not None
    connection.executemany(
        "UPDATE classes SET name = ?, key = ?, position = ?, removed = ? WHERE id = ?",
        [
            (state.name, class_key(state.name), state.position, state.removed, number)
            for number, state in _in_order(edit)
        ],
    )
    connection.executemany(
        "INSERT INTO label_history VALUES (?, ?, ?, ?, ?, ?)", [(revision, *step) for step in edit.labels]
    )
    connection.executemany(
        "UPDATE images SET class_id = ?, source = ?, change_id = ? WHERE id = ?",
        [(step.after, step.after_source, revision, step.image) for step in edit.labels],
    )
    for image, number, after in edit.rejections:
        if after:
            connection.execute("INSERT OR REPLACE INTO rejections VALUES (?, ?, ?)", (image, number, revision))
        else:
            connection.execute("DELETE FROM rejections WHERE image_id = ? AND class_id = ?", (image, number))
    return Change(revision, at, kind, text, tuple(step.image for step in edit.labels))


def undo(connection: sqlite3.Connection) -> Change:
    """Take back the last change that is not undone yet.

    :raises ChangeRefused: there is none.
    """
    marks = ", ".join("?" * len(_NOT_UNDONE))
    row = connection.execute(
        f"SELECT id, text FROM changes WHERE undone_by IS NULL AND kind NOT IN ({marks}) ORDER BY id DESC LIMIT 1",
        _NOT_UNDONE,
    ).fetchone()
    if row is None:
        raise ChangeRefused("there is nothing to undo")
    change = _commit_back(connection, "undo", f"undid: {row[1]}", _recorded(connection, row[0]).reversed(), row[0])
    connection.execute("UPDATE changes SET undone_by = ? WHERE id = ?", (change.revision, row[0]))
    return change


def redo(connection: sqlite3.Connection) -> Change:
    """Make the change again that was undone last, if no other one was made since.

    :raises ChangeRefused: there is none.
    """
    row = redoable(connection)
    if row is None:
        raise ChangeRefused("there is nothing to redo")
    change = _commit_back(connection, "redo", f"redid: {row[1]}", _recorded(connection, row[0]), row[0])
    connection.execute("UPDATE changes SET undone_by = NULL WHERE id = ?", (row[0],))
    return change


def _commit_back(connection: sqlite3.Connection, kind: str, text: str, edit: Edit, of: int) -> Change:
    try:
        return commit(connection, kind, text, edit, of=of)
    except sqlite3.IntegrityError:  # images that were added meanwhile have made a class of that name
        raise ChangeRefused(f"{kind} is not possible: another class has taken the name meanwhile") from None


def redoable(connection: sqlite3.Connection) -> tuple[int, str] | None:
    """The change that redo would make again: revision and text."""
    marks = ", ".join("?" * len(_NOT_UNDONE))
    row: tuple[int, str, int] | None = connection.execute(
        "SELECT id, text, undone_by FROM changes WHERE undone_by IS NOT NULL ORDER BY undone_by DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    (last,) = connection.execute(f"SELECT max(id) FROM changes WHERE kind NOT IN ({marks})", _NOT_UNDONE).fetchone()
    return row[:2] if row[2] > last else None


def can_undo(connection: sqlite3.Connection) -> bool:
    """Whether there is a change to take back."""
    marks = ", ".join("?" * len(_NOT_UNDONE))
    query = f"SELECT 1 FROM changes WHERE undone_by IS NULL AND kind NOT IN ({marks}) ORDER BY id DESC LIMIT 1"
    return connection.execute(query, _NOT_UNDONE).fetchone() is not None


def _recorded(connection: sqlite3.Connection, revision: int) -> Edit:
    """The edit of an earlier change."""
    (text,) = connection.execute("SELECT what FROM changes WHERE id = ?", (revision,)).fetchone()
    what = json.loads(text)
    steps = connection.execute(
        "SELECT image_id, before, before_source, after, after_source FROM label_history WHERE change_id = ?",
        (revision,),
    )
    return Edit(
        [LabelStep(*step) for step in steps],
        [(number, ClassState(*before), ClassState(*after)) for number, before, after in what["classes"]],
        [(image, number, after) for image, number, after in what["rejections"]],
    )


def _in_order(edit: Edit) -> Iterable[tuple[int, ClassState]]:
    """The new states of classes: first those that give up their name, since another one may take it."""
    states = [(number, after) for number, _, after in edit.classes]
    return sorted(states, key=lambda state: not state[1].removed)
