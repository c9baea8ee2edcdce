"""Starting and stopping: the socket, one process or several, and their signals."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from headstart.config import EngineSettings, InputSettings, ServeSettings
from headstart.errors import HeadstartError, RunError, SettingsError
from headstart.execution import available_cores
from headstart.serve.access import Access, allowed_hosts, choose_token, is_loopback
from headstart.serve.listening import address_of, listen, uvicorn_config
from headstart.serve.metrics import MULTIPROCESS_FOLDER

__all__ = ["Server", "open_server"]

_CORES_PER_WORKER = 8
"""The network and the decoders of one process use all cores; only Python's own part of a request is on one of them."""


@dataclass(frozen=True)
class Server:
    """A server that is about to start; its socket listens already."""

    run: str
    settings: ServeSettings
    engine: EngineSettings
    input: InputSettings
    access: Access
    paths: Path | None
    new_token: str | None  # made for this start: the person has to be told
    socket: socket.socket

    @property
    def url(self) -> str:
        """The address of the page."""
        return address_of(self.socket)

    @property
    def workers(self) -> int:
        """The number of processes."""
        return self.settings.workers or max(1, available_cores() // _CORES_PER_WORKER)

    def serve(self, announce: Callable[[], object]) -> None:
        """Serve until SIGTERM or Ctrl-C, and finish what has begun.

        :param announce: called once the classifier is open, or with several processes, before they open it.
        :raises HeadstartError: the classifier cannot be opened.
        """
        open_app = partial(
            _open_app, self.run, self.settings, self.engine, self.input, self.access, self.paths, self.workers
        )
        with self.socket:
            if self.workers == 1:
                app = open_app()
                announce()
                with suppress(KeyboardInterrupt):  # which the signal raises once more at the end
                    uvicorn.Server(self._config(app)).run(sockets=[self.socket])
                return
            announce()
            with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
                os.environ[MULTIPROCESS_FOLDER] = folder
                config = self._config(partial(_open_in_worker, open_app), factory=True)
                supervisor = Multiprocess(config, sockets=[self.socket])
                with suppress(KeyboardInterrupt):
                    supervisor.run()
                if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
                    raise RunError(f"{self.run}: cannot be served; the reason is above")

    def _config(self, app: ASGIApp | Callable[[], ASGIApp], *, factory: bool = False) -> uvicorn.Config:
        return uvicorn_config(app, self.settings.timeout, factory=factory, workers=self.workers)


def open_server(
    run: str,
    settings: ServeSettings,
    engine: EngineSettings,
    input_settings: InputSettings,
    *,
    paths: Path | None = None,
    token_file: Path | None = None,
    hosts: tuple[str, ...] = (),
) -> Server:
    """Check the settings and listen; requests wait until :meth:`Server.serve`.

    :param paths: the folder below which a JSON request may name files.
    :param hosts: further names by which the server may be asked for.
    :raises SettingsError: a setting is invalid, the folder is missing, or the address is in use.
    """
    settings.check()
    if engine.precision == "int8":
        raise SettingsError(
            "--precision int8 is calibrated on images, which a server does not have: choose another one"
        )
    if paths is not None and not paths.is_dir():
        raise SettingsError(f"--allow-paths {paths}: no such folder")
    loopback = is_loopback(settings.host)
    if settings.neighbors is None:
        settings = replace(settings, neighbors=loopback)
    token, is_new = choose_token(token_file, needed=not loopback)
    access = Access(token, allowed_hosts(settings.host, tuple(name.lower() for name in hosts)))
    listening = listen(settings.host, settings.port)
    return Server(run, settings, engine, input_settings, access, paths, token if is_new else None, listening)


def _open_app(
    run: str,
    settings: ServeSettings,
    engine: EngineSettings,
    input_settings: InputSettings,
    access: Access,
    paths: Path | None,
    workers: int,
) -> ASGIApp:
    _share_cores(workers)
    from headstart.artifacts.run_name import local_run
    from headstart.serve.app import create_app
    from headstart.serve.service import Service
    from headstart.workflow.predict import open_classifier

    run = local_run(run)
    classifier = open_classifier(run, input_settings)
    folder = Path(run) if Path(run).is_dir() else None
    service = Service(classifier, settings, engine, run=folder)
    return create_app(service, access, paths=paths, run=folder)


def _open_in_worker(open_app: Callable[[], ASGIApp]) -> ASGIApp:
    """Open the application in a process that is started again if it ends, unless it says that this is no use."""
    try:
        return open_app()
    except HeadstartError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(STARTUP_FAILURE)


def _share_cores(workers: int) -> None:
    """Give each of several processes its part of the cores: the threads of all would wait for each other otherwise."""
    if workers == 1:
        return
    import torch

    torch.set_num_threads(max(1, available_cores() // workers))
