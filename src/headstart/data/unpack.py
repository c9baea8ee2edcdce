"""Archives from elsewhere -> a folder: whole or not there, and nothing written outside of it.

What an archive says of itself (sizes, counts, kinds) is never trusted: names are checked one by one, only plain files
and folders are made, and what comes out is counted while it comes. Owners, modes and times are left in the archive.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from headstart.errors import DataError
from headstart.progress import Progress, in_megabytes

__all__ = ["Limits", "leads_outside", "room", "unpack", "unpacked_size"]

_CHUNK = 1 << 20
_HEADERS = 1 << 20  # bytes of headers before a member of a tar: its name and attributes, which are read into memory
_READ_AHEAD = 64 << 10  # a tar is read in records; some bytes of the next header come with the data before it
_ZEROS = bytes(512)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; one that holds more is refused."""

    members: int = 250_000
    bytes: int = 8 << 30  # unpacked, together
    ratio: int = 100  # bytes unpacked for each byte of the archive, once they are more than 64 MiB

    def most(self, archive_bytes: int) -> int:
        """Bytes that may come out of an archive of this size."""
        return min(self.bytes, max(self.ratio * archive_bytes, 64 << 20))


def unpack(archive: Path, into: Path, *, limits: Limits | None = None, progress: Progress | None = None) -> Path:
    """Unpack a zip, tar or gzipped tar (told by content, not by name) into a folder that is not there yet.

    The files are written beside it and renamed at the end: when this is killed, there is nothing at ``into``, and the
    next call removes what was left beside it.

    :raises DataError: no such archive, of another kind, damaged or unsafe (a name that leads outside, a link or device,
        a name twice, more than the limits), no room on the disk, or ``into`` is there already.
    """
    if into.exists():
        raise DataError(f"{into} is there already; unpacking makes a new folder")
    beside = into.with_name(f".{into.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with _told(archive):
            size = archive.stat().st_size
            is_zip = zipfile.is_zipfile(archive)
        room(into.parent, unpacked_size(archive), f"to unpack {archive.name}")
        stage = (progress or Progress()).stage(f"unpacking {archive.name}", total=size >> 20, unit="megabyte")
        with _told(archive), stage as advance:
            beside.mkdir(parents=True)
            writer = _Writer(beside, limits or Limits(), size)
            (_unpack_zip if is_zip else _unpack_tar)(archive, writer, in_megabytes(advance))
        os.replace(beside, into)  # noqa: PTH105
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return into


def leads_outside(name: str) -> bool:
    r"""Whether a member's name is no path below the archive's root, on this system or another.

    >>> [leads_outside(name) for name in ("a/b.jpg", "./a", "../a", "a/../../b", "/a", "..\\a", "C:a", "")]
    [False, False, True, True, True, True, True, True]
    """
    path = PurePosixPath(name.replace("\\", "/"))
    return not name or "\0" in name or path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(name).drive)


def room(folder: Path, size: int, purpose: str) -> None:
    """Make sure that ``size`` bytes fit where ``folder`` is, or will be.

    :raises DataError: they do not; the text tells both numbers.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if free < size:
        text = f"{size / 1e6:,.0f} MB are needed {purpose}, but {free / 1e6:,.0f} MB are free at {there}"
        raise DataError(f"{text}: make room, or choose another disk with --out")


def unpacked_size(archive: Path) -> int:
    """Bytes that an archive needs unpacked, by what it says of itself; of a gzipped tar, its own size at least."""
    try:
        with zipfile.ZipFile(archive) as file:
            return sum(member.file_size for member in file.infolist())
    except (zipfile.BadZipFile, OSError):
        return archive.stat().st_size if archive.exists() else 0


class _Writer:
    """Makes the members' files and folders below ``root``, and counts."""

    def __init__(self, root: Path, limits: Limits, archive_bytes: int) -> None:
        self.root = root
        self.limits = limits
        self.most = limits.most(archive_bytes)
        self.members = 0
        self.bytes = 0

    def member(self, name: str, *, plain: bool) -> Path:
        """The place of the next member, whose name and kind are looked at first."""
        self.members += 1
        if self.members > self.limits.members:
            raise DataError(f"holds more than {self.limits.members:,} files, and is refused as a bomb")
        if leads_outside(name):
            raise DataError(f"its member {name!r} leads outside of the folder; the archive is refused")
        if not plain:
            raise DataError(f"its member {name!r} is a link or no plain file; the archive is refused")
        return self.root.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)

    def count(self, size: int) -> None:
        """So many more bytes came out of the archive."""
        self.bytes += size
        if self.bytes > self.most:
            raise DataError(f"unpacks to more than {self.most / 1e6:,.0f} MB, and is refused as a bomb")

    def write(self, path: Path, source: IO[bytes], *, counted: Callable[[int], object]) -> None:
        """One file, which must not be there: a second of the same name would hide the first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                while chunk := source.read(_CHUNK):
                    counted(len(chunk))
                    file.write(chunk)
        except FileExistsError:
            name = path.relative_to(self.root)
            raise DataError(f"its member {str(name)!r} is there twice; the archive is refused") from None


def _unpack_zip(path: Path, writer: _Writer, advance: Callable[[int], object]) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # The upper half is the file's mode, where a Unix wrote the archive; 0 where another system did.
            kind = stat.S_IFMT(member.external_attr >> 16)
            place = writer.member(member.filename, plain=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if member.is_dir():
                place.mkdir(parents=True, exist_ok=True)
                continue
            with archive.open(member) as source:  # it checks the CRC at its end
                writer.write(place, source, counted=writer.count)
            advance(member.compress_size)


def _unpack_tar(path: Path, writer: _Writer, advance: Callable[[int], object]) -> None:
    with path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = _Stream(gzip.GzipFile(fileobj=raw) if gzipped else raw, writer.count)
        told = 0
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # it only reads
            while (member := archive.next()) is not None:
                place = writer.member(member.name, plain=(member.isreg() or member.isdir()) and not member.issparse())
                source = archive.extractfile(member)
                if source is None:
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    stream.allow(member.size + _READ_AHEAD)
                    writer.write(place, source, counted=_uncounted)  # the stream counts
                stream.allow(_HEADERS)
                advance(raw.tell() - told)
                told = raw.tell()
            # tarfile takes a cut or damaged header for the end; the real one is a block of zeros.
            if stream.at(archive.offset, len(_ZEROS)) != _ZEROS:
                raise DataError("ends too early, or is damaged: fetch it again")
        stream.allow(writer.most)
        while stream.read(_CHUNK):  # gzip looks at its checksum when it comes to its end
            pass


def _uncounted(size: int) -> None:
    pass


class _Stream:
    """The bytes of a tar, counted; it stops where more come than was allowed, and remembers the last of them."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, count: Callable[[int], object]) -> None:
        self.stream = stream
        self.count = count
        self.position = 0
        self.until = _HEADERS
        self.last = (b"", b"")  # the two last pieces

    def allow(self, size: int) -> None:
        """So many bytes may be read from here on."""
        self.until = self.position + size

    def at(self, position: int, size: int) -> bytes:
        """Bytes of which the last were read not long ago; fewer where the stream ended."""
        last = b"".join(self.last)
        start = position - (self.position - len(last))
        return last[start : start + size] if start >= 0 else b""

    def read(self, size: int) -> bytes:
        """The next bytes."""
        data = self.stream.read(size)
        self.position += len(data)
        self.last = (self.last[1], data) if data else self.last
        self.count(len(data))
        if self.position > self.until:
            raise DataError("has a header of more than 1 MiB, and is refused as a bomb")
        return data


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    """Errors in plain words, with the archive's name in front."""
    try:
        yield
    except DataError as refusal:
        raise DataError(f"{archive}: {refusal}") from refusal.__cause__
    except FileNotFoundError as failure:
        if failure.filename != str(archive):
            raise
        raise DataError(f"{archive}: no such archive") from None
    except OSError as failure:
        if failure.errno == errno.ENOSPC:
            raise DataError(f"{archive} cannot be unpacked: the disk is full") from failure
        raise DataError(f"{archive} cannot be unpacked: {failure.strerror or failure}") from failure
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as failure:
        raise DataError(f"{archive} is neither a zip nor a tar archive, or is damaged ({failure})") from failure
    except ValueError as failure:  # numbers that make no sense in a header
        raise DataError(f"{archive} is damaged ({failure})") from failure
