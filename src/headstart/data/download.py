"""Published files -> this disk: from the Hugging Face hub, by a plain address, from Kaggle.

What was interrupted goes on where it stopped. That is safe where the whole is compared with its SHA-256 at the end;
where no checksum is published, the server must say that its file is still the one that was begun.
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
from headstart.files import write_text
from headstart.progress import Progress, in_megabytes

__all__ = [
    "Published",
    "download",
    "fetch",
    "fetch_from_hub",
    "fetch_from_kaggle",
    "fetch_model_from_kaggle",
    "hub_answers",
    "verify",
]

_CHUNK = 1 << 18
_TRIES = 5  # in a row that bring nothing
_WAIT = 1.0  # seconds before the second of them; twice as many before each further one
_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class Published:
    """A file that lies somewhere for everybody to fetch."""

    file: str  # its name
    bytes: int
    sha256: str
    hub: str | None = None  # data set of the Hugging Face hub that holds it
    urls: tuple[str, ...] = ()  # where else it lies, tried in this order after the hub


def fetch(published: Published, folder: Path, *, progress: Progress | None = None) -> Path:
    """The file in ``folder``, fetched from the first place that has it; not again where it is whole already.

    :raises DownloadError: no place has it; the text tells what each said. What came of it stays in ``folder``.
    """
    progress = progress or Progress()
    path = folder / published.file
    if path.is_file():
        try:
            return verify(path, published, progress=progress)
        except DownloadError:
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    for place in filter(None, [published.hub, *published.urls]):
        if failures:
            progress.say(f"{failures[-1]}; trying {place}")
        try:
            if place == published.hub:
                return fetch_from_hub(published, folder, progress=progress)
            return download(place, path, published=published, progress=progress)
        except DownloadError as failure:
            failures.append(str(failure))
    raise DownloadError("\n  ".join([f"{published.file} could not be had:", *failures]))


def verify(path: Path, published: Published, *, progress: Progress | None = None) -> Path:
    """The path, if its bytes are those that are published.

    :raises DownloadError: they are not; the text tells what was expected and what was found.
    """
    size = path.stat().st_size
    if size != published.bytes:
        raise DownloadError(f"{path} has {size:,} bytes, but {published.file} as published has {published.bytes:,}")
    digest = file_digest(path, progress=progress)
    if digest != published.sha256:
        text = f"{path} is not {published.file} as published: its SHA-256 is {digest}"
        raise DownloadError(f"{text}, expected {published.sha256}")
    return path


def fetch_from_hub(published: Published, folder: Path, *, progress: Progress | None = None) -> Path:
    """The file from a data set of the Hugging Face hub, by the hub's own client (which draws its own bar).

    :raises DownloadError: the hub cannot be reached, does not give it, or gives other bytes.
    """
    from huggingface_hub import hf_hub_download

    place = f"{published.hub} on the Hugging Face hub"
    if not hub_answers():
        raise DownloadError(f"{place}: the hub cannot be reached (no such host by name)")
    (progress or Progress()).say(f"fetching {published.file}, {published.bytes / 1e6:,.0f} MB, from {place}")
    try:
        path = hf_hub_download(str(published.hub), published.file, repo_type="dataset", local_dir=folder)
    except Exception as failure:  # the client's errors for no network, no such file, no access have no common type
        reason = (str(failure).strip().splitlines() or [""])[0]
        raise DownloadError(f"{place}: {type(failure).__name__}: {reason}") from failure
    try:
        return verify(Path(path), published, progress=progress)
    except DownloadError:
        Path(path).unlink()
        raise


def hub_answers() -> bool:
    """Whether the hub's name can be looked up: its client would try again for half a minute where it cannot."""
    from huggingface_hub import constants

    if getproxies():
        return True  # names are the proxy's to look up
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        return False
    return True


def download(url: str, path: Path, *, published: Published | None = None, progress: Progress | None = None) -> Path:
    """Fetch ``url`` to ``path``, which is there whole or not at all; what came so far is kept in ``<path>.part``.

    A connection that breaks is made again, as long as each try brings something; a later call goes on too.

    :param published: what the file must be; None where nobody tells a checksum. Then what was begun is gone on with
        only where the server says that its file is still the same (RFC 9110, If-Range), else it is begun again.
    :raises DownloadError: the address does not give it (what came is kept, for the next call to go on from), or gives
        other bytes than are published (they are removed).
    :raises DataError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        work = _Download(url, path, published, progress or Progress(), stack)
        work.go_on()
    if published is not None:
        try:
            verify(work.part, published, progress=progress)
        except DownloadError as failure:
            work.part.unlink()
            raise DownloadError(f"{url}: {failure}; it was removed") from None
    work.version.unlink(missing_ok=True)
    os.replace(work.part, path)  # noqa: PTH105
    return path


@dataclass
class _Download:
    """A download from a plain address under way."""

    url: str
    path: Path
    published: Published | None
    progress: Progress
    stack: ExitStack  # of the stage that tells how far it is
    tell: Callable[[int], None] | None = field(default=None, init=False)  # takes bytes; once the size is known

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def version(self) -> Path:
        """Beside the part: what the server calls the version that it is of."""
        return self.path.with_name(f"{self.path.name}.part.version")

    @property
    def have(self) -> int:
        """How many bytes came that can be gone on from."""
        return _size(self.part) if self.published is not None or self.version.exists() else 0

    def go_on(self) -> None:
        """Try until all has come."""
        tries = 0
        whole = self.published is not None and self.have >= self.published.bytes
        while not whole:
            before, reason = _size(self.part), "the connection broke"
            try:
                whole = self.append()
            except (OSError, http.client.HTTPException) as failure:
                reason = self.reason(failure)
            tries = 0 if _size(self.part) > before else tries + 1
            if tries == _TRIES and not whole:
                kept = f"; the {self.have / 1e6:,.1f} MB that came are kept in {self.part}" if self.have else ""
                raise DownloadError(f"{self.url}: {reason}{kept}")
            time.sleep(_WAIT * 2 ** (tries - 1) if tries and not whole else 0)

    def append(self) -> bool:
        """One request for what is missing; whether all has come. Ends well too where the connection breaks."""
        have = self.have
        headers = {"User-Agent": "headstart", "Accept-Encoding": "identity"}  # else sizes would be of something else
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.published is None:
                headers["If-Range"] = self.version.read_text(encoding="utf-8")
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=headers), timeout=_TIMEOUT) as answer:
            goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if answer.status == 206 and not goes_on:
                self.forget()
                raise http.client.HTTPException("it answers with another part of the file than was asked for")
            length = answer.headers.get("Content-Length")
            total = None if length is None else int(length) + have * goes_on
            if self.published is None:
                self.note(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
            elif total not in (None, self.published.bytes):
                text = f"has {total:,} bytes there, but {self.published.bytes:,} as published"
                raise DownloadError(f"{self.url}: {text}")
            self.copy(answer, total, append=goes_on)
        wanted = total if self.published is None else self.published.bytes
        return wanted is None or _size(self.part) >= wanted

    def copy(self, answer: http.client.HTTPResponse, total: int | None, *, append: bool) -> None:
        if self.tell is None:
            size = total if self.published is None else self.published.bytes
            stage = self.progress.stage(f"fetching {self.path.name}", total=(size or 0) >> 20, unit="megabyte")
            self.tell = in_megabytes(self.stack.enter_context(stage))
            self.tell(_size(self.part) if append else 0)
        with self.part.open("ab" if append else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                self.tell(len(chunk))
                if self.published is not None and file.tell() > self.published.bytes:
                    text = f"sends more than the {self.published.bytes:,} bytes that are published"
                    raise DownloadError(f"{self.url}: {text}")

    def note(self, version: str) -> None:
        # Only a strong version may be gone on with: two files of one weak version need not have the same bytes.
        if version and not version.startswith("W/"):
            write_text(self.version, version)
        else:
            self.version.unlink(missing_ok=True)

    def forget(self) -> None:
        self.version.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def reason(self, failure: Exception) -> str:
        """Why a try failed.

        :raises DownloadError: the next would fail too.
        :raises DataError: the disk is full.
        """
        if isinstance(failure, HTTPError):
            failure.close()  # it holds the connection
            reason = f"the server answers {failure.code} {failure.reason}"
            if failure.code == 416:  # what came is longer than what is there: no beginning of it
                self.forget()
            elif failure.code < 500 and failure.code not in (408, 429):
                raise DownloadError(f"{self.url}: {reason}") from failure
            return reason
        if isinstance(failure, OSError) and failure.errno == errno.ENOSPC:
            text = "the disk is full; make room, and the same command goes on from there"
            raise DataError(f"{self.part}: {text}") from failure
        cause = failure.reason if isinstance(failure, URLError) else failure
        reason = str(cause) or type(cause).__name__
        if isinstance(cause, socket.gaierror):
            reason = "no such host by name"
        if isinstance(failure, URLError) and not isinstance(cause, TimeoutError | ConnectionResetError):
            raise DownloadError(f"{self.url}: cannot be reached ({reason})") from failure
        if not isinstance(cause, ConnectionError | TimeoutError | ssl.SSLError | http.client.HTTPException):
            raise DownloadError(f"{self.url}: {reason}") from failure
        return reason


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def fetch_from_kaggle(competition: str, *, progress: Progress | None = None) -> Path:
    """The folder where Kaggle's own client keeps the competition's files; it fetches them where they are not there yet.

    The client asks with the user's own credentials, goes on with what was interrupted, and compares the checksum.

    :raises DownloadError: the client is not installed, or says no.
    """
    page = f"https://www.kaggle.com/c/{competition}"
    by_hand = f"or download the zip at {page}/data and give it: --zip FILE"
    return _by_kaggle("competition_download", competition, f"{page}/rules", by_hand, progress or Progress())


def fetch_model_from_kaggle(handle: str, *, progress: Progress | None = None) -> Path:
    """The folder where Kaggle's own client keeps a model, "owner/model/framework/variation" with or without a version.

    :raises DownloadError: the client is not installed, or says no.
    """
    page = f"https://www.kaggle.com/models/{'/'.join(handle.split('/')[:2])}"
    by_hand = f"or download it at {page} and give its folder or .tar.gz: --model FILE"
    return _by_kaggle("model_download", handle, page, by_hand, progress or Progress())


def _by_kaggle(
    call: Literal["competition_download", "model_download"], name: str, terms: str, by_hand: str, progress: Progress
) -> Path:
    try:
        import kagglehub
    except ImportError:
        text = f"{name} comes from Kaggle, whose client is not installed"
        raise DownloadError(f'{text}: pip install "headstart[kaggle]"; {by_hand}') from None
    progress.say(f"fetching {name} by Kaggle's client")
    try:
        return Path(getattr(kagglehub, call)(name))
    except Exception as failure:  # no credentials, rules not accepted, no network: their errors have no common type
        _kaggle_says_no(name, failure, terms, by_hand)


def _kaggle_says_no(asked: str, failure: Exception, terms: str, by_hand: str) -> NoReturn:
    name = type(failure).__name__
    reason = " ".join(str(failure).split()) or name
    if name == "UnauthenticatedError":
        reason = (
            "no credentials are set: make a token at https://www.kaggle.com/settings and put it where that page says"
        )
    elif " 403 " in f" {reason} " or name == "KaggleApiHTTPError":
        reason = f"{reason} (are its rules accepted? {terms})"
    raise DownloadError(f"Kaggle does not give {asked}: {reason}; {by_hand}") from failure
