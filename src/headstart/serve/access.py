"""Who may ask: a token, the names under which the server may be asked for, and no other site's pages."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from headstart.errors import SettingsError
from headstart.files import reason_of
from headstart.serve.problems import Refusal

__all__ = ["COOKIE", "TOKEN_VARIABLE", "Access", "allowed_hosts", "choose_token", "is_loopback"]

COOKIE = "headstart"
TOKEN_VARIABLE = "HEADSTART_TOKEN"
_MIN_LENGTH = 16  # characters
_SAME_SITE = ("same-origin", "none")  # "none": the person typed the address, or opened a bookmark


@dataclass(frozen=True)
class Access:
    """The rules by which a request is let in."""

    token: str | None = None  # None: only programs of this machine reach the server
    hosts: tuple[str, ...] | None = None  # names by which the server may be asked for; None: any
    name: str = COOKIE  # of the cookie: browsers send it to all ports of a host, so two servers there need two names

    @property
    def cookie(self) -> str:
        """What a browser keeps after it was given the token; the token cannot be computed from it."""
        return hmac.new((self.token or "").encode(), f"{self.name} serve: cookie".encode(), hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether a text is the token; takes as long for any text of its length."""
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())

    def check_host(self, headers: Headers) -> None:
        """Refuse requests for another host: a page of that name may have been led to this address (DNS rebinding).

        :raises Refusal: the request names another host, or none.
        """
        if self.hosts is not None and _host_of(headers.get("host", "")) not in self.hosts:
            raise Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this server is not asked for by that name: use its address, or allow the name with --allow-host",
            )

    def check_origin(self, headers: Headers) -> None:
        """Refuse what pages of other sites send.

        :raises Refusal: a browser says that the request comes from another site.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        elsewhere = site not in _SAME_SITE if site is not None else not _same_origin(origin, headers.get("host", ""))
        if elsewhere:
            raise Refusal(HTTPStatus.FORBIDDEN, "requests that change or compute something must come from this site")

    def check_token(self, headers: Headers) -> None:
        """Let in whoever has the token, as a header or as the cookie made from it.

        :raises Refusal: neither is right.
        """
        if self.token is None:
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return
        cookie = cookie_parser(headers.get("cookie", "")).get(self.name, "")
        if hmac.compare_digest(cookie.encode(), self.cookie.encode()):
            return
        raise Refusal(
            HTTPStatus.UNAUTHORIZED, "a token is needed: send it as Authorization: Bearer TOKEN, or sign in at /"
        )


def choose_token(file: Path | None, *, needed: bool) -> tuple[str | None, bool]:
    """The token from a file, from ``HEADSTART_TOKEN``, or if one is needed, a new one; and whether it is new.

    :raises SettingsError: the file cannot be read, or the token is short.
    """
    if file is not None:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as failure:
            raise SettingsError(f"--token-file {file}: cannot be read ({reason_of(failure)})") from failure
        return _checked(token, f"--token-file {file}"), False
    if token := os.environ.get(TOKEN_VARIABLE, "").strip():
        return _checked(token, TOKEN_VARIABLE), False
    return (secrets.token_urlsafe(32), True) if needed else (None, False)


def _checked(token: str, source: str) -> str:
    if len(token) < _MIN_LENGTH or not (token.isascii() and token.isprintable()) or " " in token:
        raise SettingsError(
            f"{source}: a token has at least {_MIN_LENGTH} letters, digits and signs of ASCII, and no space; for "
            "example python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, further: Sequence[str]) -> tuple[str, ...] | None:
    """The names by which the server may be asked for.

    On loopback those of this machine and ``further``. On other addresses any, unless ``further`` says which: a browser
    keeps the cookie for the name under which it was given, so that another name is of no use there.
    """
    if is_loopback(host):
        return ("localhost", "127.0.0.1", "::1", host, *further)
    return (host, "localhost", "127.0.0.1", "::1", *further) if further else None


def _host_of(header: str) -> str:
    """The name in a Host header, without the port and the brackets of an IPv6 address."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _same_origin(origin: str | None, host: str) -> bool:
    """Whether a page of this site, or a program that is no browser, sent the request."""
    try:
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
