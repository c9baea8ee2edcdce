"""What was changed, newest first."""

from __future__ import annotations

import sqlite3

from headstart.data.projects.records import Change, ImageStep

__all__ = ["changes", "last_revision", "of_image"]


def last_revision(connection: sqlite3.Connection) -> int:
    """The revision of the last change; 0 before the first."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM changes").fetchone()[0])


def changes(connection: sqlite3.Connection, limit: int) -> list[Change]:
    """The last changes, without the images of each."""
    rows = connection.execute(
        "SELECT id, at, kind, text, undone_by IS NOT NULL FROM changes ORDER BY id DESC LIMIT ?", (limit,)
    )
    return [Change(revision, at, kind, text, undone=bool(undone)) for revision, at, kind, text, undone in rows]


def of_image(connection: sqlite3.Connection, number: int) -> list[ImageStep]:
    """The changes of the label of an image."""
    rows = connection.execute(
        "SELECT changes.id, changes.at, changes.kind, before, after, after_source FROM label_history "
        "JOIN changes ON changes.id = change_id WHERE image_id = ? ORDER BY change_id DESC",
        (number,),
    )
    return [ImageStep(*row) for row in rows]
