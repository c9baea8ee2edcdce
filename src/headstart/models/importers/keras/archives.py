"""Reading named members of zip and tar archives into memory; nothing is unpacked to disk.

Archives of weights come from untrusted sources. An archive with a path that leads outside, with a link, or that unpacks
to more than :data:`LIMIT` is rejected as a whole, even if the members in question are not wanted.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from headstart.data.unpack import escapes_root
from headstart.errors import ModelError
from headstart.models.importers.keras.unsupported import UnsupportedNetwork

__all__ = ["LIMIT", "read_folder", "read_tar", "read_zip"]

LIMIT = 512 << 20
"""Maximum unpacked size of an archive or folder of weights, in bytes: twenty times that of MobileNetV2."""

NameFilter = Callable[[str], bool]


def read_zip(path: Path, wanted: NameFilter, *, limit: int = LIMIT) -> dict[str, bytes]:
    """Read the members whose name is ``wanted``; return their contents by name.

    :raises ModelError: not a zip archive, damaged, or unsafe.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                _check_inside(member.filename)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise ModelError(f"its member {member.filename} is a link, which is not followed")
            _check_size(sum(member.file_size for member in members), limit)
            return {each.filename: archive.read(each) for each in members if wanted(each.filename)}
    except ModelError:
        raise
    except Exception as failure:  # a damaged archive makes zipfile raise anything
        raise ModelError(f"not a zip archive, or damaged ({failure})") from failure


def read_tar(path: Path, wanted: NameFilter, *, limit: int = LIMIT) -> dict[str, bytes]:
    """As :func:`read_zip`, for a ``.tar`` or ``.tar.gz`` archive."""
    try:
        with path.open("rb") as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _read_tar(_LimitedStream(gzip.GzipFile(fileobj=raw) if gzipped else raw, limit), wanted)
    except ModelError:
        raise
    except Exception as failure:  # as above
        raise ModelError(f"not a tar archive, or damaged ({failure})") from failure


def read_folder(folder: Path, wanted: NameFilter, *, limit: int = LIMIT) -> dict[str, bytes]:
    """As :func:`read_zip`, for the files directly in a folder."""
    files = sorted(each for each in folder.iterdir() if each.is_file() and wanted(each.name))
    _check_size(sum(each.stat().st_size for each in files), limit)
    return {each.name: each.read_bytes() for each in files}


class _LimitedStream:
    """A stream that raises an error after ``limit`` bytes: a tar archive does not state its size."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, limit: int) -> None:
        self.stream = stream
        self.limit = limit
        self.read_so_far = 0

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.read_so_far += len(data)
        _check_size(self.read_so_far, self.limit)
        return data


def _read_tar(stream: _LimitedStream, wanted: NameFilter) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # only read() is used
        for member in archive:
            _check_inside(member.name)
            if member.issparse() or not (member.isfile() or member.isdir()):
                raise ModelError(f"its member {member.name} is a link or special file, which is not followed")
            file = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
            if file is not None:
                contents[member.name] = file.read()
    return contents


def _check_inside(name: str) -> None:
    if escapes_root(name):
        raise ModelError(f"its member {name} leads outside the archive, which is not allowed")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise UnsupportedNetwork(f"larger than the limit of {limit >> 20} MiB, which is ample for MobileNetV2")
