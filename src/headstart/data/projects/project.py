"""A labelling project, for any number of threads."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.data.projects import classes, edits, history, images
from headstart.data.projects.database import Database
from headstart.data.projects.edits import Edit
from headstart.data.projects.lock import ProjectLock
from headstart.data.projects.reader import ProjectReader
from headstart.data.projects.records import Added, Change, NewImage, Source
from headstart.data.projects.schema import FILE_NAME, is_project
from headstart.errors import OutputError, ProjectError
from headstart.files import reason_of

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Project"]

Listener = Callable[[Change], None]


class Project(ProjectReader):
    """Images, classes and labels with their history. A method that changes it returns when the change is on the disk.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Project.open(folder, create=True) as project:
    ...     cat = project.add_class("cat")
    ...     [each.name for each in project.classes()], project.undo().text, project.classes()
    (['cat'], 'undid: added the class cat', [])
    """

    def __init__(self, folder: Path, database: Database, lock: ProjectLock | None) -> None:
        super().__init__(folder, database)
        self._lock = lock
        self._listeners: list[Listener] = []
        self._telling = threading.RLock()  # changes are told in their order

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, create: bool = False, read_only: bool = False) -> Self:
        """Open the project of a folder.

        :param create: make it if it is missing.
        :param read_only: for reading alone, also while another process has it open.
        :raises ProjectInUse: another process has it open for writing.
        :raises ProjectError: there is no project, or it is damaged.
        :raises OutputError: it cannot be made or written there.
        """
        root = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve would follow links
        if not create and not is_project(root):
            raise ProjectError(f"{root}: no project of headstart studio (it has no {FILE_NAME})")
        try:
            if create:
                root.mkdir(parents=True, exist_ok=True)
            lock = None if read_only else ProjectLock(root)
        except OSError as failure:
            raise OutputError(f"{root}: cannot be written ({reason_of(failure)}): choose another folder") from failure
        try:
            return cls(root, Database(root / FILE_NAME, create=create, read_only=read_only), lock)
        except BaseException:
            if lock is not None:
                lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and let other processes write."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

    def tell_address(self, address: str) -> None:
        """Say where the page of this process is: whoever opens the project meanwhile is told."""
        if self._lock is not None:
            self._lock.tell(address)

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Call a function after each change, in the order of changes; it must not wait for another thread.

        :returns: a function that ends it.
        """
        self._listeners.append(callback)

        def stop() -> None:
            with suppress(ValueError):
                self._listeners.remove(callback)

        return stop

    def set_setting(self, key: str, value: str) -> None:
        """Store a value beside the labels."""
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, value))

    def add_images(self, new: Iterable[NewImage], *, source: Source = "folder") -> Added:
        """Add images, and label those that have a label; those whose content is there already are told, not added.

        :param source: where the labels are from.
        """
        given = list(new)
        with self._changes() as (connection, made):
            added = images.add(connection, given, source)
            if added.change is not None:
                made.append(added.change)
        return added

    def set_labels(self, labels: Mapping[int, int | None], *, source: Source = "person") -> Change:
        """Give images (by id) a class (by id), or None for no label. Images with a problem are left out.

        :raises NotInProject: it does not have one of the images or classes; nothing is changed then.
        """
        with self._changes() as (connection, made):
            images.require_images(connection, labels)
            names = {each: classes.require(connection, each).name for each in set(labels.values()) if each is not None}
            edit = Edit()
            edit.set_labels(connection, labels, source)
            kind = "accept" if source == "suggestion" else "label"
            made.append(self._commit(connection, kind, _label_text(edit, names), edit))
        return made[0]

    def label_by_name(self, names: Mapping[int, str], *, source: Source) -> tuple[Change, tuple[str, ...]]:
        """Give images (by id) classes by name; an image that has a label keeps it.

        :returns: the change, and the names of the classes that were made.
        :raises NotInProject: it does not have one of the images; nothing is changed then.
        """
        with self._changes() as (connection, made):
            images.require_images(connection, names)
            edit, classes_made = images.labels_by_name(connection, names, source)
            made.append(self._commit(connection, "label", _label_text(edit, {}), edit))
        return made[0], classes_made

    def reject(self, suggestions: Mapping[int, int]) -> Change:
        """Note that images (by id) are not of a class (by id), which is not suggested for them again.

        :raises NotInProject: it does not have one of the images or classes; nothing is changed then.
        """
        return self._change("reject", lambda connection: images.reject(connection, suggestions))

    def add_class(self, name: str) -> Change:
        """Add a class.

        :raises ProjectError: it is no name.
        :raises ChangeRefused: the name is taken.
        """
        return self._change("add class", lambda connection: classes.add(connection, name))

    def rename_class(self, class_id: int, name: str) -> Change:
        """Rename a class.

        :raises NotInProject: no such class.
        :raises ChangeRefused: the name is taken.
        """
        return self._change("rename class", lambda connection: classes.rename(connection, class_id, name))

    def merge_classes(self, class_id: int, into: int) -> Change:
        """Give all images of a class to another one, and remove it.

        :raises NotInProject: no such class.
        """
        return self._change("merge classes", lambda connection: classes.merge(connection, class_id, into))

    def remove_class(self, class_id: int) -> Change:
        """Remove a class; its images are unlabeled then.

        :raises NotInProject: no such class.
        """
        return self._change("remove class", lambda connection: classes.remove(connection, class_id))

    def undo(self) -> Change:
        """Take back the last change but those that add images. This is a change itself, so that no history is lost.

        :raises ChangeRefused: there is nothing to undo.
        """
        with self._changes() as (connection, made):
            made.append(edits.undo(connection))
        return made[0]

    def redo(self) -> Change:
        """Make the change again that was undone last.

        :raises ChangeRefused: nothing was undone, or something else was changed since.
        """
        with self._changes() as (connection, made):
            made.append(edits.redo(connection))
        return made[0]

    def _change(self, kind: str, make: Callable[[sqlite3.Connection], tuple[Edit, str]]) -> Change:
        """Make one edit, with its text, in a transaction."""
        with self._changes() as (connection, made):
            edit, text = make(connection)
            made.append(self._commit(connection, kind, text, edit))
        return made[0]

    @staticmethod
    def _commit(connection: sqlite3.Connection, kind: str, text: str, edit: Edit) -> Change:
        """Commit an edit, unless it changes nothing."""
        if edit:
            return edits.commit(connection, kind, text, edit)
        return Change(history.last_revision(connection), time.time(), kind, "nothing changed")

    @contextmanager
    def _changes(self) -> Iterator[tuple[sqlite3.Connection, list[Change]]]:
        """A transaction; after it, the changes of the list are told to the listeners."""
        with self._telling:
            made: list[Change] = []
            with self._database.write() as connection:
                before = history.last_revision(connection)
                yield connection, made
            for change in made:
                if change.revision > before:
                    for listener in tuple(self._listeners):
                        listener(change)


def _label_text(edit: Edit, names: Mapping[int, str]) -> str:
    given = {step.after for step in edit.labels}
    what = f"labeled {_count(len(edit.labels), 'image')}"
    if given == {None}:
        return f"removed the label of {_count(len(edit.labels), 'image')}"
    only = names.get(next(iter(given)) or 0) if len(given) == 1 else None
    return what if only is None else f"{what} as {only}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
