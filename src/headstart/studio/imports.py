"""Folders of this machine, added in the background: one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headstart.data.projects import Project
from headstart.data.projects.ingest import Ingested, LabelsFrom, add_folder
from headstart.data.uri import printable
from headstart.errors import HeadstartError

__all__ = ["FolderImports"]

_SHOWN = 100  # problems and duplicates that an event tells; the project has all of them

Tell = Callable[[str, dict[str, object]], None]


class FolderImports:
    """Adds folders in a thread, and tells how far it has come.

    :param tell: is called with "images" and how many images of the folder were looked at.
    """

    def __init__(self, project: Project, tell: Tell, *, allowed: Sequence[Path], max_pixels: int) -> None:
        self._project, self._tell = project, tell
        self._allowed, self._max_pixels = allowed, max_pixels
        self._stopped = threading.Event()
        self.last: dict[str, object] | None = None  # the last event, for pages that are opened later
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="headstart-folder")

    def start(self, folder: Path, labels: LabelsFrom) -> None:
        """Add a folder after those that were started before."""
        self._thread.submit(self._add, folder, labels)

    def close(self) -> None:
        """Stop after the images that are being looked at; the same folder goes on from there the next time."""
        self._stopped.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _add(self, folder: Path, labels: LabelsFrom) -> None:
        def tell(state: str, **facts: object) -> None:
            self.last = {"folder": printable(str(folder)), "state": state, **facts}
            self._tell("images", self.last)

        try:
            found = add_folder(
                self._project,
                folder,
                labels=labels,
                allowed=self._allowed,
                advance=lambda done, total: tell("running", done=done, total=total),
                stopped=self._stopped.is_set,
                max_pixels=self._max_pixels,
            )
        except (HeadstartError, OSError) as failure:
            tell("failed", message=printable(str(failure)))
            return
        tell("stopped" if self._stopped.is_set() else "done", **summary(found))


def summary(found: Ingested) -> dict[str, object]:
    """What became of the images, in numbers, with the first problems and duplicates."""
    return {
        "added": len(found.ids),
        "labeled": found.labeled,
        "classes_added": found.classes,
        "duplicates": len(found.duplicates),
        "problems": len(found.problems),
        "first_problems": [{"name": name, "reason": reason} for name, reason in found.problems[:_SHOWN]],
        "revision": found.revision,
    }
