"""Frames of files as images: pages of TIFF files and frames of DICOM files, as ``frame:/scans/a.tif!2``."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from headstart.data.dicom import UnsupportedDicomError, read_header, single_frame
from headstart.data.more_formats import format_of
from headstart.data.sources.base import Content, FoundImage, Stamp, StreamingSource, reference
from headstart.data.tiff_pages import page_offsets, starting_at
from headstart.errors import DataError, ImageProblem

__all__ = ["FrameSource", "count_frames", "frame_uri"]

_SUFFIXES = (".tif", ".tiff", ".dcm", ".dicom", "")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_latest = threading.local()  # the file that this thread read last: its frames are mostly read one after the other


@dataclass(frozen=True)
class FrameSource:
    """Frames by the URI of their file and their number, from 0 on."""

    scheme: ClassVar[str] = "frame"

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the one frame of a URI, or all frames of a file if it has no number.

        :raises DataError: the URI names no file.
        """
        file, number = _parts(root)
        if number is not None:
            return [FoundImage(root)]
        return [FoundImage(frame_uri(file, frame), group=file) for frame in range(count_frames(file))]

    def open(self, uri: str) -> Content:
        """Return the bytes of a file of this frame alone.

        :raises ImageProblem: the file cannot be read, or has no such frame.
        """
        file, number = _parts(uri)
        content = _read(file)
        if number is None or not isinstance(content, bytes):
            return content
        try:
            if content.startswith(_TIFF):
                pages = page_offsets(io.BytesIO(content))
                if number < len(pages):
                    return starting_at(content, pages[number])
            elif _is_dicom(content[:256]):
                if number < read_header(io.BytesIO(content)).frames:
                    return single_frame(content, number)
            elif number == 0:
                return content
        except UnsupportedDicomError as error:
            raise ImageProblem(uri, str(error)) from error
        except Exception as error:  # readers raise anything on damaged files
            raise ImageProblem(uri, f"damaged: {error}") from error
        raise ImageProblem(uri, f"there is no frame {number}; the first is 0")

    def stamp(self, uri: str) -> Stamp | None:
        """Return the stamp of the file, with the frame."""
        file, number = _parts(uri)
        found = reference(file).stamp()
        return (
            None if found is None else found._replace(inode=(found.inode ^ (0 if number is None else number + 1) << 32))
        )


def frame_uri(file: str, number: int) -> str:
    """Return the URI of a frame.

    >>> frame_uri("/scans/a.tif", 2)
    'frame:/scans/a.tif!2'
    """
    return f"{FrameSource.scheme}:{file}!{number}"


def count_frames(uri: str) -> int:
    """Return how many frames a TIFF or DICOM file has; 1 for any other file, and for one that cannot be read.

    A file with another suffix than theirs is not opened.
    """
    name = uri.rpartition("/")[2]
    if f".{name.rpartition('.')[2].lower()}" not in _SUFFIXES and "." in name:
        return 1
    try:
        with _stream(uri) as file:
            start = file.read(256)
            if start.startswith(_TIFF):
                return max(1, len(page_offsets(file)))
            if _is_dicom(start):
                file.seek(0)
                return read_header(file).frames
    except Exception:  # a file that cannot be read stays one image, of which inspection tells the problem
        return 1
    return 1


def _is_dicom(start: bytes) -> bool:
    found = format_of(start)
    return found is not None and found.name == "DICOM" and found.available


def _stream(uri: str) -> BinaryIO:
    image = reference(uri)
    if isinstance(image.source, StreamingSource):
        return image.source.stream(image.uri)
    content = image.read()
    return io.BytesIO(content if isinstance(content, bytes) else b"")


def _read(file: str) -> Content:
    image = reference(file)
    key = (file, image.stamp())
    known = getattr(_latest, "file", None)
    if known is not None and known[0] == key and key[1] is not None:
        kept: Content = known[1]
        return kept
    _latest.file = None  # before the next one is read: not both in memory
    content = image.read()
    _latest.file = (key, content)
    return content


def _parts(uri: str) -> tuple[str, int | None]:
    name = uri.removeprefix(f"{FrameSource.scheme}:")
    file, mark, number = name.rpartition("!")
    if mark and number.isdecimal():
        return file, int(number)
    if not name:
        raise DataError(f"{uri} names no file: write frame:FILE!NUMBER")
    return name, None
