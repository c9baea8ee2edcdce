"""The tables of ``project.sqlite``, and opening the file.

=================  ====================================================================================================
settings           key, value; ``format`` is the version of the tables
images             one row per image with its present label; ``uri`` is relative for an image in the project's folder
classes            also those that were removed, which undo brings back
changes            its id is the revision; ``what`` says as JSON which classes and rejections changed
label_history      labels before and after each change
rejections         suggestions that a person has rejected
=================  ====================================================================================================
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from headstart.data.sources.projects import PROJECT_FILE
from headstart.errors import ProjectError

__all__ = ["FILE_NAME", "FORMAT", "connect", "connect_to_read", "is_project", "prepare"]

FILE_NAME = PROJECT_FILE
FORMAT = 1

_BUSY_SECONDS = 30.0
_TABLES = """
CREATE TABLE settings(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE classes(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL, position INTEGER NOT NULL, removed INTEGER NOT NULL
);
CREATE UNIQUE INDEX classes_key ON classes(key) WHERE removed = 0;
CREATE TABLE changes(
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL, what TEXT NOT NULL,
    undone_by INTEGER
);
CREATE INDEX changes_undone ON changes(undone_by) WHERE undone_by IS NOT NULL;
CREATE TABLE images(
    id INTEGER PRIMARY KEY, uri TEXT NOT NULL UNIQUE, name TEXT NOT NULL, hash TEXT UNIQUE, width INTEGER,
    height INTEGER, bytes INTEGER, added_at REAL NOT NULL, problem TEXT, class_id INTEGER, source TEXT,
    change_id INTEGER
);
CREATE INDEX images_class ON images(class_id, id) WHERE problem IS NULL;
CREATE INDEX images_labeled ON images(id, class_id) WHERE problem IS NULL AND class_id IS NOT NULL;
CREATE INDEX images_problem ON images(id) WHERE problem IS NOT NULL;
CREATE INDEX images_name ON images(name, id, class_id, problem);
CREATE TABLE label_history(
    change_id INTEGER NOT NULL, image_id INTEGER NOT NULL, before INTEGER, before_source TEXT, after INTEGER,
    after_source TEXT, PRIMARY KEY(change_id, image_id)
) WITHOUT ROWID;
CREATE INDEX label_history_image ON label_history(image_id, change_id);
CREATE TABLE rejections(
    image_id INTEGER NOT NULL, class_id INTEGER NOT NULL, change_id INTEGER NOT NULL, PRIMARY KEY(image_id, class_id)
) WITHOUT ROWID;
"""


def is_project(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a labelling project."""
    try:
        return Path(folder, FILE_NAME).is_file()
    except (OSError, ValueError):
        return False


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading and writing; a transaction is on the disk before it counts as committed."""
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA trusted_schema = OFF")  # the file may be from somebody else
    return connection


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the file for reading alone, also while another process writes, and on a disk that is read-only."""
    address = path.absolute().as_uri()
    try:
        connection = _read_only(f"{address}?mode=ro")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # SQLite makes files beside it for a moment, which a read-only disk refuses
        connection = _read_only(f"{address}?immutable=1")
    return connection


def _read_only(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def prepare(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Make the tables of a new project, or check those of one that exists.

    :raises ProjectError: the file is no project, damaged, or of a newer version of headstart.
    """
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables and create:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} INSERT INTO settings VALUES ('format', '{FORMAT}'); COMMIT;"
            )
            return
        if "settings" not in tables:
            raise ProjectError(f"{path} is not a project of headstart")
        found = connection.execute("SELECT value FROM settings WHERE key = 'format'").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise ProjectError(f"{path} is damaged, or is not a project of headstart ({error})") from error
    if found is None or found[0] != str(FORMAT):
        version = found[0] if found else "unknown"
        raise ProjectError(
            f"{path} has the format {version}, and this version of headstart reads {FORMAT}: use a newer one"
        )
