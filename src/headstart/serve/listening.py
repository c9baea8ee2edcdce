"""The socket of a server, and how uvicorn answers on it."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from headstart.errors import SettingsError
from headstart.files import reason_of

__all__ = ["address_of", "listen", "uvicorn_config"]

_BACKLOG = 1024  # connections that the system holds while all are busy
_CONNECTIONS = 1000  # at once per process; further ones are answered with status 503


def address_of(listening: socket.socket) -> str:
    """The address of the page on a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens already: requests wait until they are answered.

    :raises SettingsError: there is no such address, or it is in use.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as failure:
        raise SettingsError(f"--host {host}: no such address ({reason_of(failure)})") from failure
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)  # otherwise a second server would bind as well, and fail only when it listens
    except OSError as failure:
        listening.close()
        raise SettingsError(
            f"cannot listen on {host}, port {port} ({reason_of(failure)}): choose another one with --port, "
            "or any free one with --port 0"
        ) from failure
    listening.set_inheritable(True)
    return listening


def uvicorn_config(
    app: ASGIApp | Callable[[], ASGIApp], timeout: float, *, factory: bool = False, workers: int = 1
) -> uvicorn.Config:
    """How uvicorn answers.

    :param timeout: seconds within which a request must arrive, and again be answered.
    """
    return uvicorn.Config(
        app,
        factory=factory,
        workers=workers,
        access_log=False,
        log_level="error",  # not of each request that is no HTTP
        server_header=False,
        ws="none",
        lifespan="on",
        backlog=_BACKLOG,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=int(2 * timeout) + 5,
        timeout_worker_healthcheck=30,
    )
