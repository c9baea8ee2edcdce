"""The errors of a project that a caller tells apart."""

from __future__ import annotations

from headstart.errors import ProjectError

__all__ = ["ChangeRefused", "NotInProject", "ProjectInUse"]


class NotInProject(ProjectError):  # noqa: N818 - it reads as what it says
    """An image or a class that the project does not have."""


class ChangeRefused(ProjectError):  # noqa: N818
    """A change that is not possible now: a name that is taken, or nothing to undo."""


class ProjectInUse(ProjectError):  # noqa: N818
    """Another process has the project open for writing; ``address`` is that of its page, if it has said so."""

    def __init__(self, folder: str, address: str | None) -> None:
        self.folder, self.address = folder, address
        where = f" at {address}" if address else ""
        super().__init__(f"{folder}: the project is open already{where}; use that one, or stop it first")

    def __reduce__(self) -> tuple[type[ProjectInUse], tuple[str, str | None]]:
        return ProjectInUse, (self.folder, self.address)  # pickle would call it with the message alone
