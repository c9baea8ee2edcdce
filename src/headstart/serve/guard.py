"""What every request passes through before a route sees it: access, limits on its body, headers, counting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstart.report.page import script_hash
from headstart.serve.access import Access
from headstart.serve.problems import Refusal, problem_response

__all__ = ["PAGE_POLICY", "REPORT_POLICY", "BodyLimits", "Guard"]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script_hash()}'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""The report has its styles and its script in the page; no other script runs, whoever has written the run."""

_HELD_REQUESTS = 8  # bodies of the largest size that may be in memory or in temporary files at once
_SMALL_BODY = 1_000_000  # bytes; for such bodies a quarter of that is kept free
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class BodyLimits(Protocol):
    """The settings of a server that limit the body of a request."""

    max_megabytes: int
    timeout: float  # seconds within which it must arrive


Observe = Callable[[str, int, float], object]
"""Is told of each request: path, status and seconds."""


@dataclass
class _Held:
    """Bytes of all bodies that are being read or answered."""

    limit: int
    bytes: int = 0


@dataclass
class _Body:
    """The body of one request, counted and timed while it arrives."""

    receive: Receive
    limits: BodyLimits
    held: _Held
    deadline: float
    bytes: int = 0
    complete: bool = False

    async def __call__(self) -> Message:
        if self.complete:  # what comes next is the end of the connection, which may take as long as it likes
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), max(0.0, self.deadline - time.monotonic()))
        except (asyncio.TimeoutError, TimeoutError):
            raise Refusal(
                HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {self.limits.timeout:g} seconds"
            ) from None
        size = len(message.get("body", b""))
        self.bytes += size
        self.held.bytes += size
        self.complete = not message.get("more_body", False)
        _check_size(self.bytes, self.limits)
        limit = self.held.limit if self.bytes <= _SMALL_BODY else self.held.limit * 3 // 4
        if self.held.bytes > limit:
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, "too much is being sent to this server at once: try again later"
            )
        return message


@dataclass
class Guard:
    """An ASGI application around another.

    :param is_open: whether a path needs no token, since it tells nothing; the page at / signs in by itself.
    :param policy: the Content-Security-Policy of answers that have none.
    """

    app: ASGIApp
    access: Access
    limits: BodyLimits
    is_open: Callable[[str], bool]
    observe: Observe | None = None
    policy: str = PAGE_POLICY
    _held: _Held = field(init=False)

    def __post_init__(self) -> None:
        self._held = _Held(_HELD_REQUESTS * _max_bytes(self.limits))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websockets
        began, status, path = time.monotonic(), 500, scope["path"]
        body = _Body(receive, self.limits, self._held, began + self.limits.timeout)

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**_HEADERS, "Content-Security-Policy": self.policy}.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._answer(scope, body, send_counted)
        finally:
            self._held.bytes -= body.bytes
            if self.observe is not None:
                self.observe(path, status, time.monotonic() - began)

    async def _answer(self, scope: Scope, body: _Body, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self.access.check_host(headers)
            if scope["method"] not in ("GET", "HEAD"):
                self.access.check_origin(headers)
                _check_size(_stated_size(headers), self.limits)
            # The page signs in by itself.
            if not self.is_open(scope["path"]) and (scope["path"], scope["method"]) != ("/", "GET"):
                self.access.check_token(headers)
        except Refusal as refusal:
            await problem_response(refusal)(scope, body, send)
            return
        await self.app(scope, body, send)


def _max_bytes(limits: BodyLimits) -> int:
    return limits.max_megabytes * 1_000_000


def _check_size(size: int, limits: BodyLimits) -> None:
    if size > _max_bytes(limits):
        raise Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the request is larger than the {limits.max_megabytes} megabytes that this server accepts",
        )


def _stated_size(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if len(text) < 20 and text.isascii() and text.isdecimal() else 0  # the server checks the others
