"""Starting and stopping: the project, the socket, and the process that answers."""

from __future__ import annotations

import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from headstart.config import FitSettings, StudioSettings
from headstart.data.projects import Project, is_project
from headstart.errors import SettingsError
from headstart.serve.access import Access, allowed_hosts, choose_token, is_loopback
from headstart.serve.listening import address_of, listen, uvicorn_config
from headstart.studio.app import create_app
from headstart.studio.context import Studio
from headstart.studio.learning import settings_of

__all__ = ["StudioServer", "open_studio"]

_PROJECTS = Path("projects")
_PHOTOS = "photos"  # the setting of a project for the folder that it was made of


@dataclass(frozen=True)
class StudioServer:
    """A server that is about to start; its socket listens already, and the project is open."""

    studio: Studio
    access: Access
    photos: Path | None  # to add in the background
    new_token: str | None  # made for this start: the person has to be told
    socket: socket.socket

    @property
    def url(self) -> str:
        """The address of the page."""
        return address_of(self.socket)

    def serve(self, announce: Callable[[], object]) -> None:
        """Serve until SIGTERM or Ctrl-C, and finish what has begun.

        :param announce: called once requests are answered soon.
        """
        studio = self.studio
        try:
            studio.project.tell_address(self.url)
            if self.photos is not None:
                studio.imports.start(self.photos, "table")
            with self.socket:
                app = create_app(studio, self.access)
                announce()
                if studio.settings.browser and is_loopback(studio.settings.host):
                    _show(self.url)
                with suppress(KeyboardInterrupt):  # which the signal raises once more at the end
                    _Server(uvicorn_config(app, studio.settings.timeout), studio).run(sockets=[self.socket])
        finally:
            studio.close()
            studio.project.close()


class _Server(uvicorn.Server):
    """Ends the streams of events at the first signal: uvicorn waits for all answers to end."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self._studio = studio

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self._studio.hub.close()
        super().handle_exit(signal.Signals(sig), frame)


def open_studio(
    place: Path | None,
    settings: StudioSettings,
    fit: FitSettings | None = None,
    *,
    keep_model: bool = True,
    project: Path | None = None,
    folders: Sequence[Path] = (),
    token_file: Path | None = None,
    hosts: tuple[str, ...] = (),
) -> StudioServer:
    """Check the settings, open the project and listen; requests wait until :meth:`StudioServer.serve`.

    :param place: a folder of images, or the folder of a project; None: an empty project.
    :param fit: the network, and what fits do.
    :param keep_model: whether the network that the project had before is taken instead.
    :param project: where the project is; None: ``place`` if it is one, else ``projects/NAME``, as ``place`` is named.
    :param folders: further folders of this machine that requests may name.
    :param hosts: further names by which the server may be asked for.
    :raises SettingsError: a setting is invalid, a folder is missing, or the address is in use.
    :raises ProjectInUse: another process has the project open.
    """
    settings.check()
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"--allow-paths {folder}: no such folder")
    folder, photos = _places(place, project)
    opened = Project.open(folder, create=True)
    try:
        if photos is not None:
            _check_photos(opened, photos)
        network = settings_of(opened, fit or FitSettings(), keep_model=keep_model)
        loopback = is_loopback(settings.host)
        token, is_new = choose_token(token_file, needed=not loopback)
        names = allowed_hosts(settings.host, tuple(name.lower() for name in hosts))
        access = Access(token, names, "headstart-studio")
        allowed = [each.absolute() for each in (photos, *folders) if each is not None and each.is_dir()]
        listening = listen(settings.host, settings.port)
    except BaseException:
        opened.close()
        raise
    return StudioServer(
        Studio(opened, settings, allowed, network), access, photos, token if is_new else None, listening
    )


def _places(place: Path | None, project: Path | None) -> tuple[Path, Path | None]:
    """The folder of the project, and that of images to add to it."""
    if place is None:
        return project or _PROJECTS / "untitled", None
    if is_project(place):
        if project is not None:
            raise SettingsError(f"--project {project} is given, but {place} is a project already: name one of both")
        return place, None
    if not place.exists():
        raise SettingsError(
            f"{place}: no such folder or file; for a new project without images: headstart studio --project {place}"
        )
    return project or _PROJECTS / (_name_of(place)), place.absolute()


def _check_photos(project: Project, photos: Path) -> None:
    """Check that a project that was found by the name of a folder is that of this folder."""
    before = project.settings().get(_PHOTOS)
    if before is None and project.counts().images == 0:
        project.set_setting(_PHOTOS, str(photos))
    elif before != str(photos):
        raise SettingsError(
            f"{project.folder} is the project of {before or 'other images'}, not of {photos}: choose another one with "
            "--project FOLDER"
        )


def _show(url: str) -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return  # a browser of the terminal would take its place, and run no script
    with suppress(webbrowser.Error):
        webbrowser.open(url)


def _name_of(place: Path) -> str:
    resolved = place.resolve()
    return (resolved.name if place.is_dir() else resolved.stem) or "photos"
