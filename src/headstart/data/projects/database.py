"""Connections to ``project.sqlite``: one that writes, and a pool of those that read meanwhile."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headstart.data.projects.schema import connect, connect_to_read, prepare
from headstart.errors import OutputError, ProjectError

__all__ = ["Database"]

_DISK = {"database or disk is full": "the disk is full", "disk I/O error": "the disk reports an error"}


class Database:
    """The file of a project, for any number of threads.

    :raises ProjectError: it is damaged, or no project.
    :raises OutputError: it cannot be written, for example because the disk is full.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        self.path, self._read_only = path, read_only
        self._lock = threading.RLock()
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._closed = False
        with self._named_errors():
            self._writer = connect_to_read(path) if read_only else connect(path)
            try:
                prepare(self._writer, path, create=create)
            except BaseException:
                self._writer.close()
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent state of the tables for the length of a block, whatever is written meanwhile."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = connect_to_read(self.path)
        try:
            with self._named_errors():
                connection.execute("BEGIN")
                yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if self._closed:
                connection.close()
            else:
                self._idle.put(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of the block is on the disk after it, or where it raises, nothing.

        :raises OutputError: the disk is full, or cannot be written.
        """
        with self._lock, self._named_errors():
            if self._closed or self._read_only:
                raise ProjectError(f"{self.path}: the project is {'closed' if self._closed else 'open for reading'}")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # SQLite ends some transactions that fail by itself
                    self._writer.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close all connections that are not in use; the others close at the end of their blocks."""
        with self._lock:
            self._closed = True
            self._writer.close()
            while not self._idle.empty():
                self._idle.get_nowait().close()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            text = str(error)
            if reason := next((reason for sign, reason in _DISK.items() if sign in text), None):
                raise OutputError(
                    f"{self.path}: cannot be written ({reason}): free some space and repeat the last change; "
                    "everything before it is kept"
                ) from error
            if "readonly" in text or "unable to open" in text:
                raise OutputError(f"{self.path}: cannot be written ({text})") from error
            raise ProjectError(f"{self.path}: {text}") from error
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise ProjectError(f"{self.path} is damaged ({error}): restore it from a copy") from error
