"""Published files -> this disk: from the Hugging Face hub, by a plain address, from Kaggle.

What was interrupted goes on where it stopped. That is safe since the whole is compared with its SHA-256 at the end.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import getproxies

from headstart.data.digests import file_digest
from headstart.errors import DataError, DownloadError
from headstart.progress import Progress, in_megabytes

__all__ = ["Published", "fetch", "fetch_from_hub", "fetch_from_kaggle", "fetch_url", "hub_answers", "verify"]

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
            return fetch_url(place, path, published, progress=progress)
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


def fetch_url(url: str, path: Path, published: Published, *, progress: Progress | None = None) -> Path:
    """The file from a plain address, going on from ``<path>.part`` where an earlier call stopped.

    A connection that breaks is made again, as long as each try brings something.

    :raises DownloadError: the address does not give it (``.part`` is kept, for the next call to go on from), or gives
        other bytes (``.part`` is removed).
    :raises DataError: the disk is full.
    """
    part = path.with_name(path.name + ".part")
    stage = (progress or Progress()).stage(f"fetching {path.name}", total=published.bytes >> 20, unit="megabyte")
    with stage as advance:
        tell = in_megabytes(advance)
        tell(_size(part))
        tries = 0
        while _size(part) < published.bytes:
            before = _size(part)
            try:
                _append(url, part, published.bytes, tell)
                reason = "the connection broke"
            except (OSError, http.client.HTTPException) as failure:
                reason = _reason(failure, url, part)
            tries = 0 if _size(part) > before else tries + 1
            if tries == _TRIES:
                kept = f"; the {_size(part) / 1e6:,.1f} MB that came are kept in {part}" if _size(part) else ""
                raise DownloadError(f"{url}: {reason}{kept}")
            time.sleep(_WAIT * 2 ** (tries - 1) if tries else 0)
    try:
        verify(part, published, progress=progress)
    except DownloadError as failure:
        part.unlink()
        raise DownloadError(f"{url}: {failure}; it was removed") from None
    os.replace(part, path)  # noqa: PTH105
    return path


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(url: str, part: Path, size: int, tell: Callable[[int], None]) -> None:
    """One request for what is missing of ``part``; ends well too where the connection breaks."""
    have = _size(part)
    headers = {"User-Agent": "headstart", "Accept-Encoding": "identity"}  # else its size would be another
    request = urllib.request.Request(url, headers=headers | ({"Range": f"bytes={have}-"} if have else {}))
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        goes_on = bool(have) and answer.status == 206 and _starts_at(answer.headers, have)
        length = answer.headers.get("Content-Length")
        total = None if length is None else int(length) + have * goes_on
        if total not in (None, size):
            raise DownloadError(f"{url}: has {total:,} bytes there, but {size:,} as published")
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                tell(len(chunk))
                if file.tell() > size:
                    raise DownloadError(f"{url}: sends more than the {size:,} bytes that are published")


def _starts_at(headers: Message, position: int) -> bool:
    return re.match(rf"bytes {position}-", headers.get("Content-Range", "")) is not None


def _reason(failure: Exception, url: str, part: Path) -> str:
    """Why a try failed. DownloadError: the next would fail too."""
    if isinstance(failure, HTTPError):
        failure.close()  # it holds the connection
        reason = f"the server answers {failure.code} {failure.reason}"
        if failure.code < 500 and failure.code not in (408, 429):
            raise DownloadError(f"{url}: {reason}") from failure
        return reason
    if isinstance(failure, OSError) and failure.errno == errno.ENOSPC:
        raise DataError(f"{part}: the disk is full; make room, and the same command goes on from there") from failure
    if isinstance(failure, URLError) and isinstance(failure.reason, socket.gaierror):
        raise DownloadError(f"{url}: cannot be reached (no such host by name)") from failure
    return str(failure) or type(failure).__name__


def fetch_from_kaggle(competition: str, *, progress: Progress | None = None) -> Path:
    """The folder where Kaggle's own client keeps the competition's files; it fetches them where they are not there yet.

    The client asks with the user's own credentials, goes on with what was interrupted, and compares the checksum.

    :raises DownloadError: the client is not installed, or says no.
    """
    by_hand = f"or download the zip at https://www.kaggle.com/c/{competition}/data and give it: --zip FILE"
    try:
        import kagglehub
    except ImportError:
        text = f"{competition} comes from Kaggle, whose client is not installed"
        raise DownloadError(f'{text}: pip install "headstart[kaggle]"; {by_hand}') from None
    (progress or Progress()).say(f"fetching {competition} by Kaggle's client")
    try:
        return Path(kagglehub.competition_download(competition))
    except Exception as failure:  # no credentials, rules not accepted, no network: their errors have no common type
        _kaggle_says_no(competition, failure, by_hand)


def _kaggle_says_no(competition: str, failure: Exception, by_hand: str) -> NoReturn:
    name = type(failure).__name__
    reason = " ".join(str(failure).split()) or name
    if name == "UnauthenticatedError":
        reason = (
            "no credentials are set: make a token at https://www.kaggle.com/settings and put it where that page says"
        )
    elif " 403 " in f" {reason} " or name == "KaggleApiHTTPError":
        reason = f"{reason} (are the rules accepted? https://www.kaggle.com/c/{competition}/rules)"
    raise DownloadError(f"Kaggle does not give {competition}: {reason}; {by_hand}") from failure
