"""Bring images into a project: uploaded files and archives, which it keeps, and folders, whose images stay there."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from headstart.data.decode import MAX_PIXELS, inspect
from headstart.data.formats import begins_like_image, is_image_name
from headstart.data.manifest import Manifest
from headstart.data.projects.project import Project
from headstart.data.projects.records import Added, Duplicate, NewImage, Source
from headstart.data.projects.uris import IMAGES
from headstart.data.sources.read import read_images
from headstart.data.sources.split_names import parse_split
from headstart.data.unpack import Limits, escapes_root
from headstart.data.uri import printable, to_path
from headstart.errors import DataError, OutputError
from headstart.execution import available_cores, open_executor
from headstart.files import reason_of, write_bytes

__all__ = ["Ingested", "LabelsFrom", "UploadedFile", "add_folder", "add_uploads", "check_allowed"]

T = TypeVar("T")

LabelsFrom = Literal["subfolders", "table", "none"]
"""Where labels are read: the names of folders, a table beside the images, or nowhere."""

_MAX_NAME = 1024  # characters
_CHUNK, _CHUNK_BYTES = 64, 128_000_000  # images that are added in one transaction
_MAX_MEMBER = 256_000_000  # bytes of an image in an archive, which is in memory at once
_SYSTEM = frozenset({"__macosx", "@eadir"})
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class UploadedFile:
    """A file that was sent: its path below the folder that was dropped, and its content."""

    name: str
    content: BinaryIO
    size: int  # bytes


@dataclass
class Ingested:
    """What became of files, added up over the parts in which they came."""

    ids: list[int] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    labeled: int = 0
    classes: list[str] = field(default_factory=list)
    ignored: int = 0  # files that are no images: texts, and what systems put into folders
    revision: int = 0

    def add(self, added: Added) -> None:
        """Count what became of one part."""
        self.ids += added.ids
        self.duplicates += added.duplicates
        self.problems += added.problems
        self.labeled += added.labeled
        self.classes += added.classes
        if added.change is not None:
            self.revision = added.change.revision


def add_uploads(
    project: Project, files: Iterable[UploadedFile], *, labels: LabelsFrom = "none", max_pixels: int = MAX_PIXELS
) -> Ingested:
    """Add uploaded images, and those in zip archives. The project keeps the files, by the hash of their content.

    With ``labels="subfolders"``, an image's class is the folder directly above it, or the one above that where it is
    the name of a split: ``photos/cat/1.jpg`` and ``photos/cat/train/1.jpg`` are of the class cat.

    :raises OutputError: the disk is full; what was added before is kept.
    """
    done = Ingested(revision=project.revision)
    inspect_one = partial(_inspected, labels=labels, max_pixels=max_pixels)
    with open_executor(_CHUNK, kind="threads") as executor:
        for part in _chunks(_expanded(files, done), lambda item: len(item[1])):
            found = list(executor.map(inspect_one, part))
            known = project.known_hashes([new.hash for new, _ in found if new.hash is not None])
            for new, content in found:
                if new.problem is None and new.hash not in known:
                    known.add(new.hash or "")
                    _keep(project, new.uri, content)  # before its row, which nothing may be missing for
            done.add(project.add_images([new for new, _ in found], source="folder"))
    return done


def add_folder(
    project: Project,
    folder: Path,
    *,
    labels: LabelsFrom = "subfolders",
    allowed: Sequence[Path] = (),
    advance: Callable[[int, int], object] = lambda *_: None,
    stopped: Callable[[], bool] = lambda: False,
    max_pixels: int = MAX_PIXELS,
) -> Ingested:
    """Add the images below a folder of this machine, which stay where they are. Those that are known are not read.

    :param allowed: images that a link leads out of these folders to are left out; none: all links are followed.
    :param advance: is called with the number of images looked at, and of all.
    :raises DataError: there are no images, or two readings of the folders fit.
    """
    manifest = _read(folder, labels)
    known = project.known_uris()
    rows = [row for row, uri in enumerate(manifest.uris) if uri not in known]
    done, source = Ingested(revision=project.revision), _source_of(manifest, labels)
    uris, names, seen, total = manifest.uris, manifest.labels, 0, len(rows)
    advance(0, total)
    roots = [os.path.realpath(each) for each in allowed]
    with open_executor(total, workers=2 * available_cores(), kind="threads") as executor:
        look = partial(_inspected_at, folder=folder, roots=roots, max_pixels=max_pixels)
        for part in _chunks(iter(rows)):
            if stopped():
                break
            looked = list(executor.map(look, [(uris[row], names[row]) for row in part]))
            done.add(project.add_images([each for each in looked if each is not None], source=source))
            outside = [uris[row] for row, each in zip(part, looked, strict=True) if each is None]
            done.problems += [(_clean(_relative(uri, folder)), _OUTSIDE) for uri in outside]
            seen += len(part)
            advance(seen, total)
    return done


_OUTSIDE = "a link that leads out of the folders that were named on the command line"


def check_allowed(path: Path, allowed: Sequence[Path]) -> Path:
    """A folder that a request names, without links.

    :raises DataError: it is not below one of the allowed folders, or there is no such folder there. The message is the
        same in both cases: of what is outside nothing is told.
    """
    try:
        real = os.path.realpath(path)
        inside = any(os.path.commonpath([root, real]) == root for root in map(os.path.realpath, allowed))
        if inside and Path(real).is_dir():
            return Path(real)
    except (OSError, ValueError):
        pass
    raise DataError(
        f"{printable(str(path))}: no such folder below those that were named on the command line: name one, or start "
        "headstart studio with --allow-paths FOLDER"
    )


def _expanded(files: Iterable[UploadedFile], done: Ingested) -> Iterator[tuple[str, bytes | str]]:
    """The images of the files, with those in archives: name, and content or problem."""
    for file in files:
        start = file.content.read(16)
        file.content.seek(0)
        if start.startswith(_ZIP) and not is_image_name(file.name):
            yield from _members(file, done)
        elif _is_image(file.name, start):
            yield file.name, file.content.read()
        else:
            done.ignored += 1


def _members(file: UploadedFile, done: Ingested) -> Iterator[tuple[str, bytes | str]]:
    """The images in an archive. What it states of itself is not trusted: the bytes that come out are counted."""
    limits, total = Limits(), 0
    most = limits.max_bytes(file.size)
    try:
        with zipfile.ZipFile(file.content) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            if len(members) > limits.members:
                done.problems.append((file.name, f"contains more than {limits.members:,} files"))
                return
            for member in members:
                name = member.filename
                if not _is_image(name, b"") or escapes_root(name):
                    done.ignored += 1
                    continue
                content = _unpacked(archive, member)
                total += len(content)
                if total > most:
                    reason = f"unpacks to more than {most / 1e6:,.0f} MB: the rest of the archive is left out"
                    done.problems.append((file.name, reason))
                    return
                yield name, content
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError) as error:
        done.problems.append((file.name, f"the archive is damaged ({error})"))


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | str:
    """The content of a member, or its problem."""
    try:
        with archive.open(member) as source:
            content = source.read(_MAX_MEMBER + 1)
    except Exception as error:  # the errors of zipfile and of the decompressors have no common type
        encrypted = "password" in str(error)
        return "encrypted: unpack the archive with its password" if encrypted else f"damaged in its archive ({error})"
    return content if len(content) <= _MAX_MEMBER else f"unpacks to more than {_MAX_MEMBER / 1e6:,.0f} MB"


def _is_image(name: str, start: bytes) -> bool:
    parts = name.replace("\\", "/").split("/")
    if any(part.startswith(".") or part.lower() in _SYSTEM for part in parts if part not in (".", "..")):
        return False
    return is_image_name(parts[-1]) or begins_like_image(start)


def _inspected(item: tuple[str, bytes | str], *, labels: LabelsFrom, max_pixels: int) -> tuple[NewImage, bytes]:
    """One uploaded image."""
    name, content = _clean(item[0].replace("\\", "/")), item[1]
    if isinstance(content, str):
        return NewImage(f"problem:{name}", name, None, None, None, None, content), b""
    found = inspect(content, max_pixels=max_pixels)
    assert found.hash is not None
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
    suffix = suffix if suffix.isascii() and is_image_name(name) else ""
    uri = f"{IMAGES}/{found.hash[:2]}/{found.hash}{suffix}"
    label = _label(name) if labels == "subfolders" else None
    new = NewImage(uri, name, found.hash, found.width, found.height, found.bytes, found.problem, label)
    return new, content


def _clean(name: str) -> str:
    """A name to show: parts with slashes between, without those that lead elsewhere."""
    text = printable(unicodedata.normalize("NFC", name))
    text = "".join(sign if sign.isprintable() else "�" for sign in text)
    return "/".join(part for part in text.split("/") if part not in ("", ".", ".."))[-_MAX_NAME:] or "image"


def _label(name: str) -> str | None:
    folders = [part for part in name.split("/")[:-1] if parse_split(part) is None]
    return folders[-1] if folders else None


def _keep(project: Project, uri: str, content: bytes) -> None:
    path = project.folder / uri
    if path.is_file() and path.stat().st_size == len(content):
        return
    try:
        write_bytes(path, content)
    except OSError as failure:
        raise OutputError(
            f"{path}: cannot be written ({reason_of(failure)}): free some space and add the images again; "
            "what was added before is kept"
        ) from failure


def _read(folder: Path, labels: LabelsFrom) -> Manifest:
    if labels == "none":
        return read_images(folder, labels=False, folder_levels="none")
    return read_images(folder, labels=None if labels == "table" else False)


def _source_of(manifest: Manifest, labels: LabelsFrom) -> Source:
    table = manifest.description is not None and manifest.description.table is not None
    return "table" if labels == "table" and table else "folder"


def _inspected_at(
    image: tuple[str, str | None], *, folder: Path, roots: Sequence[str], max_pixels: int
) -> NewImage | None:
    """One image of a folder, by its URI and label; None if a link leads out of ``roots``."""
    uri, label = image
    if roots and Path(to_path(uri)).is_absolute():
        real = os.path.realpath(to_path(uri))
        if not any(os.path.commonpath([root, real]) == root for root in roots):
            return None
    found = inspect(uri, max_pixels=max_pixels)
    name = _clean(_relative(uri, folder))
    return NewImage(uri, name, found.hash, found.width, found.height, found.bytes, found.problem, label)


def _relative(uri: str, folder: Path) -> str:
    path = str(to_path(uri))
    return os.path.relpath(path, folder) if path.startswith(f"{os.path.abspath(folder)}{os.sep}") else path  # noqa: PTH100


def _chunks(items: Iterator[T], size: Callable[[T], int] = lambda _: 0) -> Iterator[list[T]]:
    """Parts of at most 64 items, or fewer that are large together."""
    part: list[T] = []
    total = 0
    for item in items:
        part.append(item)
        total += size(item)
        if len(part) == _CHUNK or total > _CHUNK_BYTES:
            yield part
            part, total = [], 0
    if part:
        yield part
