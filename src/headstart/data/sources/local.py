"""The image source of local files."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from headstart.data.sources.base import Content, FoundImage, Stamp
from headstart.data.sources.folders import read_folder
from headstart.data.uri import display_name, to_path, to_uri
from headstart.errors import DataError, ImageProblem

__all__ = ["MAX_FILE_BYTES", "LocalFiles"]

MAX_FILE_BYTES = 1 << 30
"""No image of the default ``max_pixels`` needs a larger file."""

_OS_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "a folder",
    errno.ELOOP: "a link that leads to itself",
    errno.ENAMETOOLONG: "the name is too long",
}


@dataclass(frozen=True)
class LocalFiles:
    """Files by path; see :mod:`headstart.data.uri` for their URIs."""

    scheme: ClassVar[str] = "file"

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the images of a folder, or one file.

        :raises DataError: no such folder or file, a folder that cannot be listed, or ambiguous folder names.
        """
        path = to_path(root)
        if path.is_dir():
            return read_folder(path).images
        if not path.is_file():
            raise DataError(f"{root}: no such folder or file")
        return [FoundImage(to_uri(path))]

    def open(self, uri: str) -> Content:
        """Return the bytes of a file.

        :raises ImageProblem: it cannot be read, is not a regular file, or is larger than 1 GiB.
        """
        # By plain calls of the system: a GPU decodes files faster than Python makes paths of them.
        try:
            name = display_name(uri)
            if reason := _not_regular(os.stat(name)):  # noqa: PTH116
                raise ImageProblem(uri, reason)
            with open(name, "rb", buffering=0) as file:  # noqa: PTH123
                return file.read()
        except ImageProblem:
            raise
        except (OSError, ValueError) as error:
            raise _problem(uri, error) from error

    def stream(self, uri: str) -> BinaryIO:
        """Open a file for reading.

        :raises ImageProblem: as for :meth:`open`.
        """
        with _regular_file(uri) as path:
            return path.open("rb")

    def stamp(self, uri: str) -> Stamp | None:
        """Return the stamp of the file; None if its status cannot be read."""
        return Stamp.of_file(to_path(uri))


@contextmanager
def _regular_file(uri: str) -> Iterator[Path]:
    """Yield the path, and turn errors of the system into an ImageProblem."""
    path = to_path(uri)
    try:
        if reason := _not_regular(path.stat()):
            raise ImageProblem(uri, reason)
        yield path
    except ImageProblem:
        raise
    except (OSError, ValueError) as error:
        raise _problem(uri, error) from error


def _problem(uri: str, error: OSError | ValueError) -> ImageProblem:
    """The problem that an error of the system is."""
    if not isinstance(error, OSError):  # a NUL in the name
        return ImageProblem(uri, f"not a file name: {error}")
    reason = _OS_REASONS.get(error.errno or 0, f"cannot be read: {error.strerror}")
    if reason == "no such file" and (path := to_path(uri)).is_symlink():
        target = os.fsencode(path.readlink()).decode(errors="replace")
        reason = f"a link to a file that does not exist: {target}"
    return ImageProblem(uri, reason)


def _not_regular(status: os.stat_result) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return "not a regular file"
    if status.st_size > MAX_FILE_BYTES:
        return f"{status.st_size:,} bytes are more than the {MAX_FILE_BYTES:,} allowed for the file of an image"
    return None
