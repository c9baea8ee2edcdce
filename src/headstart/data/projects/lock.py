"""One writer per project: a lock that ends with its process, and the address of the page of whoever holds it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from headstart.data.projects.errors import ProjectInUse
from headstart.files import lock_file

__all__ = ["ProjectLock"]

_LOCK, _ADDRESS = "project.lock", "project.address"


class ProjectLock:
    """Holds the lock of a project's folder until it is closed, or the process ends in whatever way.

    :raises ProjectInUse: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._address = folder / _ADDRESS
        try:
            self._handle: int | None = lock_file(folder / _LOCK)
        except BlockingIOError:
            raise ProjectInUse(str(folder), _read(self._address)) from None
        self._address.unlink(missing_ok=True)  # of a process that was killed

    def tell(self, address: str) -> None:
        """Say where the page of this process is, for whoever tries to open the project meanwhile."""
        with suppress(OSError):  # the message is less helpful without it
            self._address.write_text(address, encoding="utf-8")

    def close(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            with suppress(OSError):
                self._address.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
