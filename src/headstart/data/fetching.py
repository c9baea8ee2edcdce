"""A file at an address -> this disk, whole. What was interrupted goes on where it stopped, if the file is the same."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError

from headstart.errors import DataError
from headstart.files import write_text
from headstart.progress import Progress

__all__ = ["download", "sha256_of"]

_CHUNK = 1 << 16
_TRIES = 4  # in a row that bring nothing
_WAIT = 0.5  # seconds before the second of them; twice as many before each further one
_TIMEOUT = 60  # seconds without a byte


def download(url: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Fetch ``url`` to ``path``, which is there whole or not at all; what came so far is kept in ``<path>.part``.

    A later call goes on from there, where the server says that its file is still the one that was begun (RFC 9110,
    If-Range); else it starts again.

    :param sha256: what the content must have, where it is known.
    :raises DataError: the address cannot be reached or does not give the file, or gives another than ``sha256`` says.
    """
    part, known = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.version")
    path.parent.mkdir(parents=True, exist_ok=True)
    tries = 0
    while True:
        before = _size(part)
        try:
            if _append(url, part, known, progress or Progress()):
                break
            reason = "the connection broke"
        except (OSError, http.client.HTTPException) as failure:
            reason = _reason(failure)
            if (
                isinstance(failure, HTTPError) and failure.code == 416
            ):  # what came is not the beginning of what is there
                known.unlink(missing_ok=True)
            elif _is_final(failure):
                raise DataError(f"{url}: {reason}") from failure
        tries = 0 if _size(part) > before else tries + 1
        if tries == _TRIES:
            raise DataError(f"{url}: {reason}")
        time.sleep(_WAIT * 2 ** (tries - 1) if tries else 0)
    known.unlink(missing_ok=True)
    found = sha256_of(part)
    if sha256 is not None and found != sha256:
        part.unlink()
        raise DataError(
            f"{url}: gives another file than is wanted, SHA-256 {found} instead of {sha256}; it was removed"
        )
    os.replace(part, path)  # noqa: PTH105
    return path


def sha256_of(path: Path) -> str:
    """64 hexadecimal digits of a file's content."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _append(url: str, part: Path, known: Path, progress: Progress) -> bool:
    """One request for what is missing; whether the whole has come."""
    have = _size(part) if known.exists() else 0
    headers = {"User-Agent": "headstart", "Accept-Encoding": "identity"}  # else sizes would be of something else
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known.read_text(encoding="utf-8")}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        # Only a strong version may be gone on with: two files of one weak version need not have the same bytes.
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if answer.status == 206 and not goes_on:
            known.unlink()
            raise http.client.HTTPException("it answers with another part of the file than was asked for")
        if version and not version.startswith("W/"):
            write_text(known, version)
        else:
            known.unlink(missing_ok=True)
        length = answer.headers.get("Content-Length")
        wanted = None if length is None else int(length) + have * goes_on
        stage = progress.stage(f"fetching {part.stem}", total=(wanted or 0) >> 20, unit="megabyte")
        with stage as advance, part.open("ab" if goes_on else "wb") as file:
            _copy(answer, file.write, advance)
    return wanted is None or _size(part) == wanted


def _copy(answer: http.client.HTTPResponse, write: Callable[[bytes], object], advance: Callable[[int], object]) -> None:
    told = copied = 0
    while chunk := answer.read(_CHUNK):
        write(chunk)
        copied += len(chunk)
        advance((copied >> 20) - told)
        told = copied >> 20


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_final(failure: Exception) -> bool:
    """Whether the next try would fail too."""
    if isinstance(failure, HTTPError):
        return failure.code < 500 and failure.code not in (408, 429)
    return isinstance(failure, URLError) or not isinstance(
        failure, ConnectionError | TimeoutError | http.client.HTTPException
    )


def _reason(failure: Exception) -> str:
    if isinstance(failure, HTTPError):
        failure.close()  # it holds the connection
        return f"the server answers {failure.code} {failure.reason}"
    if isinstance(failure, URLError):
        return f"it cannot be reached: {failure.reason}"
    return str(failure) or type(failure).__name__
