"""What can be asked of a project, from any thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from headstart.data.projects import classes, edits, history, images
from headstart.data.projects.database import Database
from headstart.data.projects.errors import NotInProject
from headstart.data.projects.records import (
    Change,
    Counts,
    ImageQuery,
    ImageStep,
    ProjectClass,
    ProjectImage,
    ProjectPage,
)
from headstart.data.projects.uris import absolute_uri

__all__ = ["ProjectReader"]


class ProjectReader:
    """The questions; :class:`headstart.data.projects.Project` adds the changes."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self._database = database
        self._known: tuple[int, Counts, list[ProjectClass]] | None = None  # of a revision

    @property
    def revision(self) -> int:
        """That of the last change; 0 before the first."""
        with self._database.read() as connection:
            return history.last_revision(connection)

    def settings(self) -> dict[str, str]:
        """What is stored beside the labels, by name."""
        with self._database.read() as connection:
            return dict(connection.execute("SELECT key, value FROM settings").fetchall())

    def classes(self) -> list[ProjectClass]:
        """The classes in their order, with the number of images that have each."""
        with self._database.read() as connection:
            return self._summary(connection)[2]

    def counts(self) -> Counts:
        """How many images there are, and how many have labels and problems."""
        with self._database.read() as connection:
            return self._summary(connection)[1]

    def images(self, query: ImageQuery | None = None) -> ProjectPage:
        """Some images; by default the first 200."""
        query = query or ImageQuery()
        with self._database.read() as connection:
            revision, counts, of_classes = self._summary(connection)
            found = images.rows(connection, images.ids_of(connection, query), self._absolute)
        return ProjectPage(images.total_of(query, counts, of_classes), revision, found)

    def image_ids(self, query: ImageQuery) -> list[int]:
        """The ids of the images of a query."""
        with self._database.read() as connection:
            return images.ids_of(connection, query)

    def by_id(self, ids: Sequence[int]) -> list[ProjectImage]:
        """The images of these ids in their order; ids that the project does not have are left out."""
        with self._database.read() as connection:
            return images.rows(connection, ids, self._absolute)

    def image(self, number: int) -> ProjectImage:
        """The image of an id.

        :raises NotInProject: there is none.
        """
        found = self.by_id([number])
        if not found:
            raise NotInProject(f"the project has no image {number}")
        return found[0]

    def labels(self) -> dict[int, int]:
        """The class of each image that has one and can be used, by id."""
        with self._database.read() as connection:
            return images.present_labels(connection)

    def label_times(self) -> dict[int, float]:
        """When each image got its present label, by id, in seconds since 1970."""
        with self._database.read() as connection:
            return images.label_times(connection)

    def rejections(self) -> set[tuple[int, int]]:
        """The suggestions that were rejected, as (image id, class id)."""
        with self._database.read() as connection:
            return images.rejected(connection)

    def known_uris(self) -> set[str]:
        """The URIs of all images, absolute."""
        with self._database.read() as connection:
            return {self._absolute(uri) for uri in images.known_uris(connection)}

    def known_hashes(self, hashes: Sequence[str]) -> set[str]:
        """Those of these hashes whose content the project has."""
        with self._database.read() as connection:
            return images.known_hashes(connection, hashes)

    def history(self, limit: int = 100) -> list[Change]:
        """The last changes, newest first."""
        with self._database.read() as connection:
            return history.changes(connection, limit)

    def label_history(self, number: int) -> list[ImageStep]:
        """How the label of an image has changed, newest first."""
        with self._database.read() as connection:
            return history.of_image(connection, number)

    def can_undo(self) -> tuple[bool, bool]:
        """Whether there is a change to undo, and one to redo."""
        with self._database.read() as connection:
            return edits.can_undo(connection), edits.redoable(connection) is not None

    def _summary(self, connection: sqlite3.Connection) -> tuple[int, Counts, list[ProjectClass]]:
        """Revision, counts and classes; counted once per revision."""
        revision, known = history.last_revision(connection), self._known
        if known is None or known[0] != revision:
            known = self._known = revision, images.count(connection), classes.list_classes(connection)
        return known

    def _absolute(self, uri: str) -> str:
        return absolute_uri(self.folder, uri)
