"""Unpack archives from the internet into a folder: completely or not at all, and nothing outside of it.

What an archive states (sizes, counts, kinds) is never trusted: each name is checked, only regular files and folders are
created, and the bytes that come out are counted. Owners, modes and times are ignored.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from headstart.errors import DataError
from headstart.events import Events, in_megabytes

__all__ = ["Limits", "check_free_space", "escapes_root", "unpack", "unpacked_size"]

_CHUNK = 1 << 20
_HEADERS = 1 << 20  # bytes of headers before a member of a tar: names and attributes, which are read into memory
_READ_AHEAD = 64 << 10  # a tar is read in records, which may contain the beginning of the next header
_ZEROS = bytes(512)


@dataclass(frozen=True)
class Limits:
    """The most that an archive may contain; larger ones are refused."""

    members: int = 250_000
    bytes: int = 8 << 30  # unpacked, in total
    ratio: int = 100  # unpacked bytes per byte of the archive, above 64 MiB

    def max_bytes(self, archive_bytes: int) -> int:
        """Return the number of bytes that may come out of an archive of this size."""
        return min(self.bytes, max(self.ratio * archive_bytes, 64 << 20))


def unpack(archive: Path, into: Path, *, limits: Limits | None = None, events: Events | None = None) -> Path:
    """Unpack a zip, tar or gzipped tar (detected from the content, not the name) into a folder that must not exist yet.

    The files are written to a temporary folder next to it, which is renamed at the end: if the process is killed,
    ``into`` does not exist, and the next call removes the temporary folder.

    :raises DataError: the archive does not exist, is of another kind, damaged or unsafe (a path outside the folder, a
        link or device, a duplicate name, more than the limits), the disk has too little space, or ``into`` exists.
    """
    if into.exists():
        raise DataError(f"{into} exists already: unpack into a new folder")
    temporary = into.with_name(f".{into.name}.unpacking")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with _named_errors(archive):
            size = archive.stat().st_size
            is_zip = zipfile.is_zipfile(archive)
            unpacked = unpacked_size(archive)
        check_free_space(into.parent, unpacked, f"to unpack {archive.name}")
        stage = (events or Events()).stage(f"unpacking {archive.name}", total=size >> 20, unit="megabyte")
        with _named_errors(archive), stage as advance:
            temporary.mkdir(parents=True)
            writer = _Writer(temporary, limits or Limits(), size)
            (_unpack_zip if is_zip else _unpack_tar)(archive, writer, in_megabytes(advance))
        os.replace(temporary, into)  # noqa: PTH105
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return into


def escapes_root(name: str) -> bool:
    r"""Whether a member's name is not a path below the archive's root, on this system or another.

    >>> [escapes_root(name) for name in ("a/b.jpg", "./a", "../a", "a/../../b", "/a", "..\\a", "C:a", "")]
    [False, False, True, True, True, True, True, True]
    """
    path = PurePosixPath(name.replace("\\", "/"))
    return not name or "\0" in name or path.is_absolute() or ".." in path.parts or bool(PureWindowsPath(name).drive)


def check_free_space(folder: Path, size: int, purpose: str) -> None:
    """Check that ``size`` bytes fit on the disk where ``folder`` is or will be.

    :raises DataError: they do not; the text gives both numbers.
    """
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < size:
        text = f"{size / 1e6:,.0f} MB are needed {purpose}, but {free / 1e6:,.0f} MB are free at {existing}"
        raise DataError(f"{text}: free some space, or choose another disk with --out")


def unpacked_size(archive: Path) -> int:
    """Return the unpacked size in bytes that an archive states; for a gzipped tar, its own size as a lower bound."""
    try:
        with zipfile.ZipFile(archive) as file:
            return sum(member.file_size for member in file.infolist())
    except (zipfile.BadZipFile, OSError):
        return archive.stat().st_size if archive.exists() else 0


class _Writer:
    """Creates the files and folders of the members below ``root``, and counts their bytes."""

    def __init__(self, root: Path, limits: Limits, archive_bytes: int) -> None:
        self.root = root
        self.limits = limits
        self.max_bytes = limits.max_bytes(archive_bytes)
        self.members = 0
        self.bytes = 0

    def member(self, name: str, *, regular: bool) -> Path:
        """Check the name and kind of the next member, and return its path."""
        self.members += 1
        if self.members > self.limits.members:
            raise DataError(f"contains more than {self.limits.members:,} files, and is refused as a decompression bomb")
        if escapes_root(name):
            raise DataError(f"its member {name!r} is a path outside the folder; the archive is refused")
        if not regular:
            raise DataError(f"its member {name!r} is a link or not a regular file; the archive is refused")
        return self.root.joinpath(*PurePosixPath(name.replace("\\", "/")).parts)

    def count(self, size: int) -> None:
        """Count bytes that came out of the archive."""
        self.bytes += size
        if self.bytes > self.max_bytes:
            raise DataError(
                f"unpacks to more than {self.max_bytes / 1e6:,.0f} MB, and is refused as a decompression bomb"
            )

    def write(self, path: Path, source: IO[bytes], *, count: Callable[[int], object]) -> None:
        """Write one file, which must not exist: a second one of the same name would replace the first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                while chunk := source.read(_CHUNK):
                    count(len(chunk))
                    file.write(chunk)
        except FileExistsError:
            name = path.relative_to(self.root)
            raise DataError(f"it has two members {str(name)!r}; the archive is refused") from None


def _unpack_zip(path: Path, writer: _Writer, advance: Callable[[int], object]) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # The upper half is the file's mode if a Unix wrote the archive; 0 if another system did.
            kind = stat.S_IFMT(member.external_attr >> 16)
            target = writer.member(member.filename, regular=kind in (0, stat.S_IFREG, stat.S_IFDIR))
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            with archive.open(member) as source:  # checks the CRC at its end
                writer.write(target, source, count=writer.count)
            advance(member.compress_size)


def _unpack_tar(path: Path, writer: _Writer, advance: Callable[[int], object]) -> None:
    with path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = _Stream(gzip.GzipFile(fileobj=raw) if gzipped else raw, writer.count)
        advanced = 0
        with tarfile.open(fileobj=stream, mode="r|") as archive:  # type: ignore[call-overload]  # it only reads
            while (member := archive.next()) is not None:
                target = writer.member(
                    member.name, regular=(member.isreg() or member.isdir()) and not member.issparse()
                )
                source = archive.extractfile(member)
                if source is None:
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    stream.allow(member.size + _READ_AHEAD)
                    writer.write(target, source, count=_ignore)  # the stream counts
                stream.allow(_HEADERS)
                advance(raw.tell() - advanced)
                advanced = raw.tell()
            # tarfile takes a truncated or damaged header for the end; the real end is a block of zeros.
            if stream.recent(archive.offset, len(_ZEROS)) != _ZEROS:
                raise DataError("ends too early, or is damaged: download it again")
        stream.allow(writer.max_bytes)
        while stream.read(_CHUNK):  # gzip checks the checksum at its end
            pass


def _ignore(size: int) -> None:
    pass


class _Stream:
    """The bytes of a tar: counts them, fails if more come than were allowed, and remembers the last ones."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, count: Callable[[int], object]) -> None:
        self.stream = stream
        self.count = count
        self.position = 0
        self.limit = _HEADERS
        self.last = (b"", b"")  # the last two chunks

    def allow(self, size: int) -> None:
        """Allow this many bytes to be read from the current position."""
        self.limit = self.position + size

    def recent(self, position: int, size: int) -> bytes:
        """Return bytes that were read a short while ago; fewer if the stream has ended."""
        last = b"".join(self.last)
        start = position - (self.position - len(last))
        return last[start : start + size] if start >= 0 else b""

    def read(self, size: int) -> bytes:
        """Read the next bytes."""
        data = self.stream.read(size)
        self.position += len(data)
        self.last = (self.last[1], data) if data else self.last
        self.count(len(data))
        if self.position > self.limit:
            raise DataError("has a header of more than 1 MiB, and is refused as a decompression bomb")
        return data


@contextmanager
def _named_errors(archive: Path) -> Iterator[None]:
    """Raise errors as DataError, with the name of the archive."""
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
    except ValueError as failure:  # invalid numbers or names in a header
        raise DataError(f"{archive} is damaged ({failure})") from failure
    except Exception as failure:  # the errors of zipfile, tarfile and the decompressors have no common type
        reason = str(failure) or type(failure).__name__
        raise DataError(f"{archive} is neither a zip nor a tar archive, or is damaged ({reason})") from failure
