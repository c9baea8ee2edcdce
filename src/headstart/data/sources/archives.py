"""The image sources of zip archives and tar shards, ``zip:/photos.zip!cats/1.jpg`` and ``tar:/shards/0.tar!1.jpg``.

An archive is not unpacked. Where its members begin is read once per process; after that, each image is one read at a
known place, from any thread.
"""

from __future__ import annotations

import os
import re
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from headstart.data.formats import is_image_name
from headstart.data.sources.base import Content, FoundImage, Stamp
from headstart.data.sources.containers import container_names, files_of, split_files
from headstart.data.sources.local import MAX_FILE_BYTES
from headstart.data.sources.locations import local_path, location_stamp
from headstart.data.sources.readings import ReadOptions, SourceReading, read_cells, read_members
from headstart.data.sources.split_names import parse_split
from headstart.data.sources.table_file import SUFFIXES as TABLES
from headstart.data.sources.webdataset import has_labels, label_table, samples
from headstart.data.uri import display_name, printable
from headstart.description import LeftOut
from headstart.errors import DataError, ImageProblem

__all__ = ["ARCHIVES", "Archives", "Member", "index_of", "is_hidden", "read_member"]

_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
_ENCRYPTED = 0x1
_SYSTEM = frozenset({"__macosx", "@eadir"})


class Member(NamedTuple):
    """Where a member of an archive lies; of a zip archive, its header, which has a length of its own."""

    offset: int  # bytes
    packed: int
    size: int
    method: int = -1  # of zip; -1: the bytes as they are, without a header
    checksum: int = 0  # CRC-32
    encrypted: bool = False


@dataclass(frozen=True)
class Archives:
    """Zip archives or tar files: class folders in them, or samples of WebDataset.

    :param scheme: "zip" or "tar".
    """

    scheme: str

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the images of an archive, or of all in a folder.

        :raises DataError: an archive cannot be read, or two readings fit.
        """
        return self.read(root, ReadOptions()).images

    def read(self, root: str, options: ReadOptions) -> SourceReading:
        """Return the images with labels from the folders in the archives, or of WebDataset from files beside them.

        :raises DataError: an archive cannot be read, or two readings fit.
        """
        place = root.removeprefix(f"{self.scheme}:")
        if "!" in place and not Path(place).exists():
            return SourceReading([FoundImage(root)], "images")
        return self.read_files(place, files_of(display_name(place), (f".{self.scheme}",)), options)

    def read_files(self, place: str, files: Sequence[str], options: ReadOptions) -> SourceReading:
        """Return the images in archives, of which ``files`` are the URIs; as :meth:`read`."""
        indexes = {file: index_of(file) for file in files}
        if options.table and any(has_labels(index) for index in indexes.values()):
            return self._webdataset(place, files, options)
        names = container_names(files) if len(files) > 1 and options.levels != "none" else [""] * len(files)
        if len(set(names)) == 1 and parse_split(names[0]) is None:
            names = [""] * len(files)
        members, tables = [], 0
        for file, top in zip(files, names, strict=True):
            prefix = self._uri(file, "")
            for name in indexes[file]:
                if is_hidden(name):
                    continue
                if is_image_name(name):
                    members.append((f"{top}/{name}" if top else name, prefix + name))
                # Those at the top of a single archive are looked at before (archive_tables.py).
                tables += name.lower().endswith(TABLES) and (len(files) > 1 or "/" in name)
        members.sort(
            key=lambda member: member[0].split("/")
        )  # the order of a folder, however it is divided into shards
        count = f"{len(files):,} {self.scheme} archives" if len(files) > 1 else f"a {self.scheme} archive"
        found = read_members(place, members, options, source=count)
        if not tables:
            return found
        text = f"{tables:,} table{'s' * (tables != 1)} in {count}"
        left = LeftOut(text, "a table of labels must be at the top of a single archive, or be named with --labels")
        return SourceReading(found.images, found.source, found.folders, found.names, (), (left,), found.guesses)

    def _webdataset(self, place: str, files: Sequence[str], options: ReadOptions) -> SourceReading:
        split = split_files(place, files, options.split_folders)
        uris, splits, keys = [], [], []
        for file, of_file in zip(split.files, split.splits, strict=True):
            for image, beside in samples(file, index_of(file)):
                uris.append(self._uri(file, image))
                splits.append(of_file)
                keys.append((file, beside))
        table = label_table(place, keys, lambda file, name: read_member(file, index_of(file)[name], name))
        source = f"WebDataset in {len(files):,} {self.scheme} file{'s' * (len(files) != 1)}"
        found = read_cells(table, uris, splits, options, source=source)
        return SourceReading(
            found.images, source, (), split.names, found.columns, split.left_out, found.guesses, found.notes
        )

    def _uri(self, file: str, member: str) -> str:
        return f"{self.scheme}:{file}!{member}"

    def open(self, uri: str) -> Content:
        """Return the bytes of a member.

        :raises ImageProblem: it is not there, damaged, encrypted, or larger than 1 GiB.
        """
        path, member = self._find(uri)
        if member is None:
            raise ImageProblem(uri, "no such image in the archive")
        return read_member(path, member, uri)

    def stamp(self, uri: str) -> Stamp | None:
        """Return the stamp of the archive with the size of the image; None if it is not there."""
        try:
            path, member = self._find(uri)
        except ImageProblem:
            return None
        of_archive = location_stamp(path)
        return None if member is None or of_archive is None else of_archive._replace(size=member.size)

    def _find(self, uri: str) -> tuple[str, Member | None]:
        found = re.match(rf"{self.scheme}:(.*?\.{self.scheme})!(.*)", uri, re.IGNORECASE | re.DOTALL)
        if found is None:
            raise ImageProblem(uri, f"must be {self.scheme}:ARCHIVE.{self.scheme}!MEMBER")
        try:
            return found[1], index_of(found[1]).get(found[2])
        except DataError as error:
            raise ImageProblem(uri, str(error)) from error


ARCHIVES = (Archives("zip"), Archives("tar"))

_INDEXES: dict[str, tuple[Stamp, dict[str, Member]]] = {}
_LOCK = threading.Lock()


def index_of(location: str) -> dict[str, Member]:
    """Where the members of an archive lie, by name; read once, and again if the archive has changed.

    :raises DataError: it cannot be read.
    """
    path = local_path(location)
    stamp = Stamp.of_file(Path(path))
    if stamp is None:
        raise DataError(f"{path}: no such file")
    known = _INDEXES.get(path)
    if known is None or known[0] != stamp:
        with _LOCK:
            known = _INDEXES.get(path)
            if known is None or known[0] != stamp:
                known = _INDEXES[path] = stamp, _read_index(path)
    return known[1]


def _read_index(path: str) -> dict[str, Member]:
    try:
        if path.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                return {
                    printable(each.filename): Member(
                        each.header_offset,
                        each.compress_size,
                        each.file_size,
                        each.compress_type,
                        each.CRC,
                        bool(each.flag_bits & _ENCRYPTED),
                    )
                    for each in archive.infolist()
                    if not each.is_dir()
                }
        with tarfile.open(path, "r:") as shards:
            # A later member of the same name replaces the earlier one, as where a tar file is unpacked.
            return {
                printable(each.name.removeprefix("./")): Member(each.offset_data, each.size, each.size)
                for each in shards
                if each.isreg() and not each.issparse()
            }
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        with open(path, "rb") as file:  # noqa: PTH123
            packed = file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7")
        more = ": it is compressed, so that no image can be read without all before it; unpack it" if packed else ""
        raise DataError(f"{path} cannot be read as an archive ({error}){more}") from error


def read_member(location: str, member: Member, uri: str) -> bytes:
    """Read the bytes of a member.

    :raises ImageProblem: it is damaged, encrypted, packed in a way that is not read, or larger than 1 GiB.
    """
    if member.encrypted:
        raise ImageProblem(uri, "encrypted: unpack the archive with its password")
    if member.size > MAX_FILE_BYTES:
        raise ImageProblem(uri, f"{member.size:,} bytes are more than the {MAX_FILE_BYTES:,} allowed for an image")
    with open(local_path(location), "rb", buffering=0) as file:  # noqa: PTH123
        start = member.offset
        if member.method >= 0:
            header = os.pread(file.fileno(), _LOCAL_HEADER.size, start)
            if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
                raise ImageProblem(uri, "damaged: it is not where the archive says")
            _, name, extra = _LOCAL_HEADER.unpack(header)
            start += _LOCAL_HEADER.size + name + extra
        data = os.pread(file.fileno(), member.packed, start)
    if len(data) < member.packed:
        raise ImageProblem(uri, "truncated: the archive ends before the image does")
    return data if member.method < 0 else _unpacked(data, member, uri)


def _unpacked(data: bytes, member: Member, uri: str) -> bytes:
    if member.method == _DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
        except zlib.error as error:
            raise ImageProblem(uri, f"damaged in its archive: {error}") from error
    elif member.method != _STORED:
        name = zipfile.compressor_names.get(member.method, str(member.method))  # type: ignore[attr-defined]
        raise ImageProblem(uri, f"packed with {name}, which is not read in archives: unpack the archive")
    if len(data) != member.size or zlib.crc32(data) != member.checksum:
        raise ImageProblem(uri, "damaged in its archive: it differs from its checksum")
    return data


def is_hidden(name: str) -> bool:
    """Whether a member is no file of the person who made the archive: hidden, or made by an operating system."""
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in name.split("/"))
