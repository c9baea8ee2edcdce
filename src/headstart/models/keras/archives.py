"""Reads named members of zip and tar archives into memory; nothing is unpacked to disk.

An archive of weights comes from elsewhere. One with paths that lead outside, with links, or that unpacks to more than
:data:`LIMIT` is refused as a whole, whether or not the members in question are wanted.

The errors raised here do not name the file; who calls knows it.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from headstart.data.unpack import leads_outside
from headstart.errors import ModelError

__all__ = ["LIMIT", "read_folder", "read_tar", "read_zip"]

LIMIT = 512 << 20
"""Bytes that an archive or folder of weights may hold unpacked: twenty times those of MobileNetV2."""

Wanted = Callable[[str], bool]


def read_zip(path: Path, wanted: Wanted, *, limit: int = LIMIT) -> dict[str, bytes]:
    """Contents of the members whose name is ``wanted``, by name.

    :raises ModelError: not a zip archive, damaged, or unsafe.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                _refuse_outside(member.filename)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise ModelError(f"its member {member.filename} is a link, which is not followed")
            _refuse_size(sum(member.file_size for member in members), limit)
            return {each.filename: archive.read(each) for each in members if wanted(each.filename)}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as failure:
        raise ModelError(f"not a zip archive, or damaged ({failure})") from failure


def read_tar(path: Path, wanted: Wanted, *, limit: int = LIMIT) -> dict[str, bytes]:
    """As :func:`read_zip`, of a ``.tar`` or ``.tar.gz``."""
    try:
        with path.open("rb") as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            return _read_tar(_Bounded(gzip.GzipFile(fileobj=raw) if gzipped else raw, limit), wanted)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as failure:
        raise ModelError(f"not a tar archive, or damaged ({failure})") from failure


def read_folder(folder: Path, wanted: Wanted, *, limit: int = LIMIT) -> dict[str, bytes]:
    """As :func:`read_zip`, of the files right in a folder."""
    files = sorted(each for each in folder.iterdir() if each.is_file() and wanted(each.name))
    _refuse_size(sum(each.stat().st_size for each in files), limit)
    return {each.name: each.read_bytes() for each in files}


class _Bounded:
    """A stream that ends in an error after ``limit`` bytes: a tar archive says its size nowhere."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, limit: int) -> None:
        self.stream = stream
        self.limit = limit
        self.read_so_far = 0

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.read_so_far += len(data)
        _refuse_size(self.read_so_far, self.limit)
        return data


def _read_tar(stream: _Bounded, wanted: Wanted) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # it only reads
        for member in archive:
            _refuse_outside(member.name)
            if member.issparse() or not (member.isfile() or member.isdir()):
                raise ModelError(f"its member {member.name} is a link or no plain file, which is not followed")
            file = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
            if file is not None:
                contents[member.name] = file.read()
    return contents


def _refuse_outside(name: str) -> None:
    if leads_outside(name):
        raise ModelError(f"its member {name} leads outside of the archive, which is not followed")


def _refuse_size(size: int, limit: int) -> None:
    if size > limit:
        raise ModelError(f"holds more than the {limit >> 20} MiB that are read, which no MobileNetV2 needs")
