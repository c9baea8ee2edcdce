"""Copies of remote files on this machine, of bounded size: those that were not used for longest are removed first."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from headstart import paths
from headstart.errors import DataError, SettingsError

__all__ = ["LIMIT", "FileCache", "cache_limit", "file_cache"]

LIMIT = "HEADSTART_REMOTE_CACHE"
"""The environment variable with the size of the cache, in GB."""

_DEFAULT = 20.0  # GB
_FRESH = 600  # seconds for which a use is not noted again
_TEMPORARY = ".part"


def cache_limit() -> int:
    """The most bytes that copies may take: ``HEADSTART_REMOTE_CACHE`` in GB, by default 20; 0: nothing is kept.

    :raises SettingsError: it is not a number.
    """
    text = os.environ.get(LIMIT) or str(_DEFAULT)
    try:
        size = float(text)
    except ValueError:
        size = -1
    if not 0 <= size < 1e6:
        what = "the size of the cache of remote files in GB"
        raise SettingsError(f"{LIMIT} must be {what}, for example 20, got {text!r}")
    return int(size * 1e9)


class FileCache:
    """Files by key in one folder, which several processes share.

    Each process counts what it writes, and looks at the whole folder after each twentieth of the limit; by as much per
    process the limit may be exceeded for a while.

    :param limit: bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._written = limit  # of which nothing is known, so that the first file looks
        self._lock = threading.Lock()

    def path(self, key: str) -> Path:
        """Where the file of a key is, or would be; it has the suffix of the key, by which readers know its kind."""
        suffix = re.search(r"\.[a-zA-Z0-9]{1,8}$", key)
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self.folder / digest[:2] / (digest[2:] + (suffix[0] if suffix else ""))

    def get(self, key: str) -> bytes | None:
        """Return the content of a file; None if it is not there."""
        try:
            with self.path(key).open("rb") as file:
                _note_use(file.fileno())
                return file.read()
        except OSError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Write a file; one that cannot be written is not an error."""
        if len(data) <= self.limit:
            with suppress(OSError):
                self.fill(key, lambda path: path.write_bytes(data), len(data))

    def fill(self, key: str, write: Callable[[Path], object], size: int) -> Path:
        """Return the path of a file, which ``write`` writes if it is not there.

        :param size: bytes that it will have.
        :raises OSError: it cannot be written.
        """
        path = self.path(key)
        with suppress(OSError):
            _note_use(path)
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{_TEMPORARY}")
        try:
            write(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        with self._lock:
            self._written += size
            if self._written > self.limit // 20:
                self._written = 0
                self.sweep(path)
        return path

    def sweep(self, keep: Path | None = None) -> None:
        """Remove the files that were not used for longest, until nine tenths of the limit are kept."""
        found = []
        for folder in self.folder.glob("??"):
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(OSError):
                        status = entry.stat()
                        found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        if total <= self.limit:
            return
        for used, size, name in sorted(found):
            if name == str(keep) or (name.endswith(_TEMPORARY) and time.time() - used < _FRESH):
                continue
            with suppress(OSError):
                Path(name).unlink()
                total -= size
            if total <= self.limit * 0.9:
                return


def _note_use(file: Path | int) -> None:
    """Note in the time of modification that a file was used. Raises OSError if there is none."""
    if time.time() - os.stat(file).st_mtime > _FRESH:  # noqa: PTH116 - of an open file, too
        os.utime(file)


_CACHES: dict[tuple[Path, int], FileCache] = {}


def file_cache() -> FileCache:
    """Return the cache in the cache folder of this machine.

    :raises DataError: the folder cannot be made.
    """
    key = paths.remote(), cache_limit()
    if key not in _CACHES:
        try:
            key[0].mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"the cache of remote files cannot be written: {error}; set HEADSTART_CACHE") from error
        _CACHES[key] = FileCache(*key)
    return _CACHES[key]
