"""The image sources of other machines, by fsspec: ``s3://``, ``gs://``, ``https://``, ``hf://`` and ``abfs://``.

What a listing says of each file (size, time, ETag) is its stamp, so that no file is asked about again. Files are read
many at once (:mod:`headstart.data.sources.prefetch`), and copies of them are kept in a cache of bounded size.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from headstart.data.sources.base import Content, Stamp
from headstart.data.sources.file_cache import LIMIT, cache_limit, file_cache
from headstart.data.sources.local import MAX_FILE_BYTES
from headstart.data.sources.s3_objects import read_objects
from headstart.errors import DataError, ImageProblem
from headstart.execution import open_executor

__all__ = [
    "SCHEMES",
    "RemoteImage",
    "fetch",
    "file_system",
    "is_remote",
    "know",
    "learn_stamps",
    "local_copy",
    "remote_stamp",
]

SCHEMES: Mapping[str, str] = {
    "s3": 'pip install "headstart[remote]"',
    "http": 'pip install "headstart[remote]"',
    "https": 'pip install "headstart[remote]"',
    "hf": "pip install huggingface_hub",
    "gs": "pip install gcsfs",
    "abfs": "pip install adlfs",
}
"""The schemes of remote files, and what installs the package of each."""

_ATTEMPTS = 4  # of a request; s3fs and gcsfs try several times themselves
_PASSING = (TimeoutError, ConnectionError)
_CLIENTS = ("aiohttp", "httpx", "requests")  # packages whose errors may pass; those of S3's client have been retried
_AT_ONCE = 32  # requests for what is known of single files

T = TypeVar("T")


def is_remote(uri: str) -> bool:
    """Whether a URI is of a file on another machine.

    >>> is_remote("s3://bucket/a.jpg"), is_remote("/photos/a.jpg"), is_remote("tar:s3://bucket/a.tar!1.jpg")
    (True, False, False)
    """
    scheme, separator, _ = uri.partition("://")
    return bool(separator) and scheme in SCHEMES


_SYSTEMS: dict[tuple[int, str], Any] = {}
_LOCK = threading.Lock()


def file_system(uri: str) -> Any:
    """Return fsspec's file system of a URI, one for all threads of this process.

    :raises DataError: its package is not installed, or it cannot be set up.
    """
    scheme = uri.partition("://")[0]
    key = (os.getpid(), scheme)  # connections do not survive a fork
    with _LOCK:
        if key not in _SYSTEMS:
            import fsspec

            try:
                _SYSTEMS[key] = fsspec.filesystem(scheme, skip_instance_cache=True)
            except (ImportError, ValueError) as error:
                install = SCHEMES.get(scheme, "pip install fsspec")
                text = f"{scheme}:// needs a package that is not installed ({error}): run {install}"
                raise DataError(text) from error
        return _SYSTEMS[key]


def retrying(call: Callable[[], T]) -> T:
    """Call, and again after a growing wait if that fails in a way that may pass."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return call()
        except Exception as error:  # noqa: PERF203 - each attempt is a request
            if attempt == _ATTEMPTS or not _may_pass(error):
                raise
            time.sleep(0.1 * 4**attempt * (0.5 + random.random()))
    raise AssertionError("the last attempt returns or raises")


def _may_pass(error: Exception) -> bool:
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status >= 500 or status in (408, 429)
    return isinstance(error, _PASSING) or type(error).__module__.split(".")[0] in _CLIENTS


_STAMPS: dict[str, Stamp | None] = {}


def know(uri: str, information: Mapping[str, Any]) -> Stamp | None:
    """Keep what a listing says of a file for the rest of the process."""
    found = _STAMPS[uri] = _stamp(information)
    return found


def _stamp(information: Mapping[str, Any]) -> Stamp | None:
    size = information.get("size")
    tags = (information.get(name) for name in ("ETag", "etag", "blob_id", "md5Hash", "content_md5"))
    tag = next((str(each) for each in tags if each), "")
    times = (information.get(name) for name in ("LastModified", "last_modified", "mtime", "updated", "Last-Modified"))
    modified = next((found for each in times if (found := _nanoseconds(each))), 0)
    if size is None or not (tag or modified):
        return None
    number = int.from_bytes(hashlib.blake2b(tag.encode(), digest_size=8).digest(), "little") if tag else 0
    return Stamp(int(size), number, modified, modified)


def _nanoseconds(moment: object) -> int:
    if isinstance(moment, str):
        with suppress(ValueError):
            moment = datetime.fromisoformat(moment.replace("Z", "+00:00"))
        if isinstance(moment, str):
            with suppress(ValueError, TypeError):
                moment = parsedate_to_datetime(moment)
    if isinstance(moment, datetime):
        return int(moment.timestamp() * 1e9)
    return int(moment * 1e9) if isinstance(moment, int | float) else 0


def remote_stamp(uri: str) -> Stamp | None:
    """Return the stamp of a remote file, as a listing said it, else by asking; None if unknown."""
    if uri not in _STAMPS:
        try:
            return know(uri, retrying(lambda: file_system(uri).info(uri)))
        except Exception:  # what is wrong is said where the file is read
            return None
    return _STAMPS[uri]


def learn_stamps(uris: Iterable[str]) -> None:
    """Learn the stamps of many files, by the listings of their folders where there are such, else many at once."""
    folders: dict[str, list[str]] = {}
    for uri in uris:
        if is_remote(uri) and uri not in _STAMPS:
            folders.setdefault(uri.rpartition("/")[0], []).append(uri)
    single = []
    for folder, inside in folders.items():
        if len(inside) > 2 and not folder.startswith("http"):
            with suppress(Exception):  # without the permission to list, files may still be read
                system = file_system(folder)
                for each in retrying(partial(system.ls, folder, detail=True)):
                    know(system.unstrip_protocol(each["name"]), each)
        single += [uri for uri in inside if uri not in _STAMPS]
    if single:
        with open_executor(len(single), workers=_AT_ONCE, kind="threads") as executor:
            list(executor.map(remote_stamp, single))


@dataclass(frozen=True)
class RemoteImage:
    """Reads single remote files; the listing is in :class:`headstart.data.sources.remote_files.RemoteFiles`.

    :param version: of the image that a reference names, so that other processes need not ask for it.
    """

    scheme: str
    version: Stamp | None = None

    def at(self, uri: str) -> RemoteImage:
        """Return the source of one image, which knows its stamp."""
        return replace(self, version=_STAMPS.get(uri))

    def open(self, uri: str) -> Content:
        """Return the bytes of a file, from the cache if this version of it is there.

        :raises ImageProblem: it cannot be read, or is larger than 1 GiB.
        """
        stamp = self.stamp(uri)
        if stamp is not None and stamp.size > MAX_FILE_BYTES:
            raise ImageProblem(uri, f"{stamp.size:,} bytes are more than the {MAX_FILE_BYTES:,} allowed for an image")
        key = _key(uri, stamp)
        if key is not None and (known := file_cache().get(key)) is not None:
            return known
        try:
            data: bytes = retrying(lambda: file_system(uri).cat_file(uri))
        except Exception as error:
            raise ImageProblem(uri, _reason(error)) from error
        if key is not None:
            file_cache().put(key, data)
        return data

    def stamp(self, uri: str) -> Stamp | None:
        """Return the stamp that a listing said, else that of the file now; None if unknown."""
        return self.version or remote_stamp(uri)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, DataError):
        return str(error)
    text = "permission denied" if isinstance(error, PermissionError) else "cannot be read"
    return f"{text}: {type(error).__name__}: {error}"[:300]


def _key(uri: str, stamp: Stamp | None) -> str | None:
    """The key of a version of a file in the cache; None if it is not known which version there is."""
    return None if stamp is None or cache_limit() == 0 else f"{uri} {tuple(stamp)}"


def fetch(images: Sequence[tuple[str, Stamp | None]]) -> None:
    """Read files of one scheme into the cache, all at once; one that cannot be read is left to who needs it."""
    cache = file_cache()
    wanted = {}
    for uri, stamp in images:
        key = None if stamp is not None and stamp.size > MAX_FILE_BYTES else _key(uri, stamp)
        if key is not None and not cache.path(key).exists():
            wanted[uri] = key
    if not wanted:
        return
    with suppress(Exception):
        for uri, data in _read_all(list(wanted)):
            cache.put(wanted[uri], data)


def _read_all(uris: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the content of files of one scheme; those that cannot be read are left out."""
    system, left = file_system(uris[0]), list(uris)
    if uris[0].startswith("s3://"):
        found, left = read_objects(system, uris)
        yield from found.items()
    if left:
        data, asked = system.cat(left, on_error="return"), set(left)
        for name, each in data.items() if isinstance(data, dict) else [(left[0], data)]:
            uri = name if name in asked else system.unstrip_protocol(name)
            if uri in asked and isinstance(each, bytes):
                yield uri, each


def local_copy(uri: str) -> Path:
    """Return the path of a copy of a remote file, an archive or a table; it is fetched if it is not in the cache.

    :raises DataError: it cannot be fetched, or is larger than the cache may be.
    """
    stamp = remote_stamp(uri)
    try:
        size = retrying(lambda: file_system(uri).info(uri))["size"] if stamp is None else stamp.size
        if size is not None and size > cache_limit():
            raise DataError(f"{uri} has {size / 1e9:.1f} GB, more than the cache of remote files may: set {LIMIT}")
        key = f"{uri} {tuple(stamp or ())}{Path(uri).suffix}"
        with _copying(uri):
            return file_cache().fill(key, lambda path: _download(uri, path), size or 0)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{uri}: {_reason(error)}") from error


def _download(uri: str, path: Path) -> None:
    retrying(lambda: file_system(uri).get_file(uri, str(path)))


_COPYING: dict[str, threading.Lock] = {}


def _copying(uri: str) -> threading.Lock:
    """A lock, so that several threads do not fetch the same file."""
    with _LOCK:
        return _COPYING.setdefault(uri, threading.Lock())
