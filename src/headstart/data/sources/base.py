"""The image source seam: where images come from, and the registry of sources by URI scheme.

Whatever reads images (inspection, feature extraction in processes, thumbnails) does so through a source. A new one is a
class with the methods of :class:`ImageSource` and one call of :func:`register_source`; then ``SCHEME:...`` can be given
wherever a folder of images can. See ``tests/data/sources/test_seam.py`` for images in zip archives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt

from headstart.data.uri import to_path, to_uri
from headstart.errors import HeadstartError, ImageProblem

__all__ = [
    "Content",
    "FoundImage",
    "ImageReference",
    "ImageSource",
    "Stamp",
    "StreamingSource",
    "VersionedSource",
    "image_uri",
    "is_elsewhere",
    "reference",
    "register_source",
    "source_of",
]

Content: TypeAlias = "bytes | npt.NDArray[Any]"
"""An encoded image, or pixels as :func:`headstart.data.decode.decode` accepts them."""

_SETTLED = 2_000_000_000  # nanoseconds; FAT, the file system with the coarsest clock in use, counts in steps of 2 s


class Stamp(NamedTuple):
    """What identifies a version of an image's content without reading it."""

    size: int  # bytes
    inode: int  # or another number that differs between files, for example of a checksum
    modified: int  # nanoseconds since 1970: the last change of the content
    changed: int  # the last change of the content, the name or the permissions

    def settled(self, now: int) -> bool:
        """Whether any later change would have a different time."""
        return now - max(self.modified, self.changed) > _SETTLED

    @classmethod
    def of_file(cls, path: Path) -> Stamp | None:
        """Return the stamp of a file; None if its status cannot be read."""
        try:
            found = path.stat()
        except (OSError, ValueError):
            return None
        return cls(found.st_size, found.st_ino & (1 << 64) - 1, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that a source lists; label, split and group are None if the source does not know them."""

    uri: str
    label: str | None = None
    split: str | None = None
    group: str | None = None


class ImageSource(Protocol):
    """A place that images are read from. It is pickled on its way to worker processes, so it must be small."""

    @property
    def scheme(self) -> str:
        """The scheme of its URIs: "zip" for ``zip:/photos.zip!/cats/1.jpg``."""

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the images below ``root``, which is a URI of this scheme.

        :raises DataError: they cannot be listed.
        """

    def open(self, uri: str) -> Content:
        """Return the bytes of an image, or its pixels. Called from several threads at once.

        :raises ImageProblem: it cannot be read.
        """

    def stamp(self, uri: str) -> Stamp | None:
        """Return what identifies the current content, cheaply; None if unknown: the image is then read every time."""


@runtime_checkable
class StreamingSource(Protocol):
    """An :class:`ImageSource` that can also read the beginning of an image without the rest."""

    def stream(self, uri: str) -> BinaryIO:
        """Open an image for reading; the file can seek.

        :raises ImageProblem: it cannot be read.
        """


class VersionedSource(Protocol):
    """An :class:`ImageSource` that knows versions of images, which other processes would have to ask for.

    It is told by its method: an isinstance check of a protocol would take longer than all else done for an image here.
    """

    def at(self, uri: str) -> ImageSource:
        """Return a source of this image that knows its version."""


@dataclass(frozen=True)
class ImageReference:
    """One image of a source: small, and picklable for other processes."""

    uri: str
    source: ImageSource

    def read(self) -> Content:
        """Return the bytes of the image, or its pixels.

        :raises ImageProblem: it cannot be read.
        """
        try:
            return self.source.open(self.uri)
        except (HeadstartError, MemoryError):
            raise
        except Exception as error:  # one image that a source fails on is set aside, as a damaged file is
            raise ImageProblem(self.uri, f"cannot be read: {type(error).__name__}: {error}") from error

    def stamp(self) -> Stamp | None:
        """Return what identifies the current content; None if unknown."""
        return self.source.stamp(self.uri)


_SOURCES: dict[str, ImageSource] = {}


def register_source(source: ImageSource) -> None:
    """Read URIs of the source's scheme from it; a source of the same scheme is replaced.

    In other processes only what they are given is known, so a source's module must be importable there.
    """
    _SOURCES[source.scheme] = source


def source_of(uri: str) -> ImageSource:
    """Return the source of a URI, by its scheme; a text without a registered scheme is the path of a local file.

    >>> source_of("/photos/a.jpg").scheme, source_of("array:7").scheme
    ('file', 'array')
    """
    return _SOURCES.get(uri.partition(":")[0], _SOURCES["file"])


def is_elsewhere(name: str) -> bool:
    """Whether a name in a table is a URI of a registered source, ``SCHEME://...``, and not that of a local file.

    >>> is_elsewhere("s3://bucket/a.jpg"), is_elsewhere("file:///a.jpg"), is_elsewhere("a.jpg")
    (True, False, False)
    """
    return "://" in name and source_of(name).scheme != "file"


def image_uri(image: str | Path) -> str:
    """Return the URI of an image that a person names: a path, or a URI of a registered source.

    >>> image_uri("array:7"), image_uri("/photos/../a.jpg")
    ('array:7', '/a.jpg')
    """
    if isinstance(image, Path):
        return to_uri(image)
    return to_uri(to_path(image)) if source_of(image).scheme == "file" else image


def reference(image: str | Path | ImageReference) -> ImageReference:
    """Return the reference of a path or URI."""
    if isinstance(image, ImageReference):
        return image
    uri = to_uri(image) if isinstance(image, Path) else image
    source = source_of(uri)
    return ImageReference(uri, source.at(uri) if hasattr(source, "at") else source)  # a VersionedSource
