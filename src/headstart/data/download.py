"""Download published files from the Hugging Face hub, from a URL, or from Kaggle.

An interrupted download is resumed. That is safe where the complete file is compared with its SHA-256 at the end; where
no checksum is published, the server must confirm that its file is still the same version.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import getproxies

from headstart.data.digests import file_digest
from headstart.errors import DataError, DownloadError
from headstart.events import Events, in_megabytes
from headstart.files import write_text

__all__ = [
    "RemoteFile",
    "download",
    "fetch",
    "fetch_from_hub",
    "fetch_from_kaggle",
    "fetch_model_from_kaggle",
    "hub_is_reachable",
    "verify",
]

_CHUNK = 1 << 18
_TRIES = 5  # consecutive tries without any data
_WAIT = 1.0  # seconds before the second of them; doubled before each further one
_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class RemoteFile:
    """A file that is published for download."""

    file: str  # its name
    bytes: int
    sha256: str
    hub: str | None = None  # data set of the Hugging Face hub that contains it
    urls: tuple[str, ...] = ()  # tried in this order after the hub


def fetch(published: RemoteFile, folder: Path, *, events: Events | None = None) -> Path:
    """Return the file in ``folder``, downloaded from the first place that has it unless it is complete already.

    :raises DownloadError: no place has it; the text gives the answer of each. Partial data stay in ``folder``.
    """
    events = events or Events()
    path = folder / published.file
    if path.is_file():
        try:
            return verify(path, published, events=events)
        except DownloadError:
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    for place in filter(None, [published.hub, *published.urls]):
        if failures:
            events.notice(f"{failures[-1]}; trying {place}")
        try:
            if place == published.hub:
                return fetch_from_hub(published, folder, events=events)
            return download(place, path, published=published, events=events)
        except DownloadError as failure:
            failures.append(str(failure))
    raise DownloadError("\n  ".join([f"{published.file} could not be downloaded:", *failures]))


def verify(path: Path, published: RemoteFile, *, events: Events | None = None) -> Path:
    """Check that a file is the published one, and return its path.

    :raises DownloadError: it is not; the text gives what was expected and what was found.
    """
    size = path.stat().st_size
    if size != published.bytes:
        raise DownloadError(f"{path} has {size:,} bytes, but {published.file} as published has {published.bytes:,}")
    digest = file_digest(path, events=events)
    if digest != published.sha256:
        text = f"{path} is not {published.file} as published: its SHA-256 is {digest}"
        raise DownloadError(f"{text}, expected {published.sha256}")
    return path


def fetch_from_hub(published: RemoteFile, folder: Path, *, events: Events | None = None) -> Path:
    """Download a file of a data set of the Hugging Face hub with the hub's client, which draws its own progress bar.

    :raises DownloadError: the hub cannot be reached, refuses the file, or sends other bytes.
    """
    from huggingface_hub import hf_hub_download

    place = f"{published.hub} on the Hugging Face hub"
    if not hub_is_reachable():
        raise DownloadError(f"{place}: the hub cannot be reached (unknown host)")
    (events or Events()).notice(f"downloading {published.file}, {published.bytes / 1e6:,.0f} MB, from {place}")
    try:
        path = hf_hub_download(str(published.hub), published.file, repo_type="dataset", local_dir=folder)
    except Exception as failure:  # the client's errors for no network, no file, no access have no common type
        reason = (str(failure).strip().splitlines() or [""])[0]
        raise DownloadError(f"{place}: {type(failure).__name__}: {reason}") from failure
    try:
        return verify(Path(path), published, events=events)
    except DownloadError:
        Path(path).unlink()
        raise


def hub_is_reachable() -> bool:
    """Return whether the host name of the hub can be resolved; its client would retry for half a minute if not."""
    from huggingface_hub import constants

    if getproxies():
        return True  # the proxy resolves names
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def download(url: str, path: Path, *, published: RemoteFile | None = None, events: Events | None = None) -> Path:
    """Download ``url`` to ``path``, which exists completely or not at all; partial data are kept in ``<path>.part``.

    A broken connection is reopened as long as each try brings data; a later call resumes as well.

    :param published: what the file must be; None if no checksum is known. Then partial data are only resumed if the
        server confirms that its file is still the same (RFC 9110, If-Range); otherwise the download starts over.
    :raises DownloadError: the server does not send the file (partial data are kept for the next call), or sends other
        bytes than the published ones (they are removed).
    :raises DataError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        work = _Download(url, path, published, events or Events(), stack)
        work.run()
    if published is not None:
        try:
            verify(work.part, published, events=events)
        except DownloadError as failure:
            work.part.unlink()
            raise DownloadError(f"{url}: {failure}; it was removed") from None
    work.version.unlink(missing_ok=True)
    os.replace(work.part, path)  # noqa: PTH105
    return path


@dataclass
class _Download:
    """A download from a URL in progress."""

    url: str
    path: Path
    published: RemoteFile | None
    events: Events
    stack: ExitStack  # closes the stage of the progress events
    advance: Callable[[int], None] | None = field(default=None, init=False)  # takes bytes; set once the size is known

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def version(self) -> Path:
        """The file next to the part with the server's name of the version that it is a part of."""
        return self.path.with_name(f"{self.path.name}.part.version")

    @property
    def resumable(self) -> int:
        """The number of bytes from which the download can be resumed."""
        return _size(self.part) if self.published is not None or self.version.exists() else 0

    def run(self) -> None:
        """Try until the file is complete."""
        tries = 0
        complete = self.published is not None and self.resumable >= self.published.bytes
        while not complete:
            before, reason = _size(self.part), "the connection broke"
            try:
                complete = self.append()
            except (OSError, http.client.HTTPException) as failure:
                reason = self.reason(failure)
            tries = 0 if _size(self.part) > before else tries + 1
            if tries == _TRIES and not complete:
                size = self.resumable
                partial = f"; the {size / 1e6:,.1f} MB received are kept in {self.part}" if size else ""
                raise DownloadError(f"{self.url}: {reason}{partial}")
            time.sleep(_WAIT * 2 ** (tries - 1) if tries and not complete else 0)

    def append(self) -> bool:
        """Request what is missing; return whether the file is complete. A connection that just ends is no error."""
        start = self.resumable
        headers = {"User-Agent": "headstart", "Accept-Encoding": "identity"}  # sizes are those of the file itself
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.published is None:
                headers["If-Range"] = self.version.read_text(encoding="utf-8")
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=headers), timeout=_TIMEOUT) as answer:
            resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            if answer.status == 206 and not resumed:
                self.discard()
                raise http.client.HTTPException("the server sent another range of the file than requested")
            length = answer.headers.get("Content-Length")
            total = None if length is None else int(length) + start * resumed
            if self.published is None:
                self.remember_version(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
            elif total not in (None, self.published.bytes):
                text = f"the server has {total:,} bytes, but {self.published.bytes:,} are published"
                raise DownloadError(f"{self.url}: {text}")
            self.copy(answer, total, append=resumed)
        wanted = total if self.published is None else self.published.bytes
        return wanted is None or _size(self.part) >= wanted

    def copy(self, answer: http.client.HTTPResponse, total: int | None, *, append: bool) -> None:
        if self.advance is None:
            size = total if self.published is None else self.published.bytes
            stage = self.events.stage(f"downloading {self.path.name}", total=(size or 0) >> 20, unit="megabyte")
            self.advance = in_megabytes(self.stack.enter_context(stage))
            self.advance(_size(self.part) if append else 0)
        with self.part.open("ab" if append else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                self.advance(len(chunk))
                if self.published is not None and file.tell() > self.published.bytes:
                    text = f"the server sends more than the {self.published.bytes:,} bytes published"
                    raise DownloadError(f"{self.url}: {text}")

    def remember_version(self, version: str) -> None:
        # Only strong validators allow resuming: two files with the same weak one need not have the same bytes.
        if version and not version.startswith("W/"):
            write_text(self.version, version)
        else:
            self.version.unlink(missing_ok=True)

    def discard(self) -> None:
        self.version.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def reason(self, failure: Exception) -> str:
        """Return why a try failed, if the next may succeed.

        :raises DownloadError: the next would fail as well.
        :raises DataError: the disk is full.
        """
        if isinstance(failure, HTTPError):
            failure.close()  # it keeps the connection open
            reason = f"the server answers {failure.code} {failure.reason}"
            if failure.code == 416:  # the part is longer than the file, so it is no part of it
                self.discard()
            elif failure.code < 500 and failure.code not in (408, 429):
                raise DownloadError(f"{self.url}: {reason}") from failure
            return reason
        if isinstance(failure, OSError) and failure.errno == errno.ENOSPC:
            text = "the disk is full: free some space; the same command then resumes"
            raise DataError(f"{self.part}: {text}") from failure
        cause = failure.reason if isinstance(failure, URLError) else failure
        reason = str(cause) or type(cause).__name__
        if isinstance(cause, socket.gaierror):
            reason = "unknown host"
        if isinstance(failure, URLError) and not isinstance(cause, TimeoutError | ConnectionResetError):
            raise DownloadError(f"{self.url}: cannot be reached ({reason})") from failure
        if not isinstance(cause, ConnectionError | TimeoutError | ssl.SSLError | http.client.HTTPException):
            raise DownloadError(f"{self.url}: {reason}") from failure
        return reason


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def fetch_from_kaggle(competition: str, *, events: Events | None = None) -> Path:
    """Return the folder where Kaggle's client stores the files of a competition; it downloads them if necessary.

    The client uses the user's own credentials, resumes interrupted downloads and verifies the checksum.

    :raises DownloadError: the client is not installed, or Kaggle refuses.
    """
    page = f"https://www.kaggle.com/c/{competition}"
    by_hand = f"or download the zip from {page}/data and pass it with --zip FILE"
    return _call_kaggle("competition_download", competition, f"{page}/rules", by_hand, events or Events())


def fetch_model_from_kaggle(handle: str, *, events: Events | None = None) -> Path:
    """Return the folder of a model, "owner/model/framework/variation" with or without a version, in the client's cache.

    :raises DownloadError: the client is not installed, or Kaggle refuses.
    """
    page = f"https://www.kaggle.com/models/{'/'.join(handle.split('/')[:2])}"
    by_hand = f"or download it from {page} and pass its folder or .tar.gz with --model FILE"
    return _call_kaggle("model_download", handle, page, by_hand, events or Events())


def _call_kaggle(
    call: Literal["competition_download", "model_download"], name: str, terms: str, by_hand: str, events: Events
) -> Path:
    try:
        import kagglehub
    except ImportError:
        text = f"{name} is published on Kaggle, whose client is not installed"
        raise DownloadError(f'{text}: pip install "headstart[kaggle]"; {by_hand}') from None
    events.notice(f"downloading {name} with Kaggle's client")
    try:
        return Path(getattr(kagglehub, call)(name))
    except Exception as failure:  # no credentials, rules not accepted, no network: their errors have no common type
        _raise_refused(name, failure, terms, by_hand)


def _raise_refused(what: str, failure: Exception, terms: str, by_hand: str) -> NoReturn:
    name = type(failure).__name__
    reason = " ".join(str(failure).split()) or name
    if name == "UnauthenticatedError":
        reason = (
            "no credentials are set: create a token at https://www.kaggle.com/settings and store it as that page says"
        )
    elif " 403 " in f" {reason} " or name == "KaggleApiHTTPError":
        reason = f"{reason} (are its rules accepted? {terms})"
    raise DownloadError(f"Kaggle refuses {what}: {reason}; {by_hand}") from failure
