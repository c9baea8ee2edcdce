"""Bytes -> upright RGB, or a named problem; never a silent black or half grey image."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from headstart.data.jpeg import is_cut
from headstart.data.pixels import array_to_image, orientation, to_rgb, upright
from headstart.data.uri import to_path, to_uri
from headstart.errors import ImageProblem, SettingsError

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "NOT_PICTURES",
    "Inspection",
    "content_hash",
    "decode",
    "header_size",
    "inspect",
    "read_source",
]

Source: TypeAlias = "Path | str | bytes | npt.NDArray[Any]"

MAX_PIXELS = 178_956_970  # what Pillow too refuses beyond, unless told otherwise
MAX_BYTES = 1 << 30  # no picture of that many pixels needs a larger file

# Formats that Pillow names but that are not pictures, or that it opens by starting another program (EPS: Ghostscript).
NOT_PICTURES = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})

_TRUNCATED = "truncated: the file ends before the picture does"
_SIGNS_OF_TRUNCATION = ("truncated", "not enough", "expected to read", "incomplete", "eof")
_OTHER_FILES = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<svg": "an SVG drawing",
    b"%pdf": "a PDF document",
    b"pk\x03\x04": "a zip archive",
}
_HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1")
_OS_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "a folder",
    errno.ELOOP: "a link that leads to itself",
    errno.ENAMETOOLONG: "the name is too long",
}
# Pillow tells of odd EXIF, palettes and the like by warnings from its own modules.
_PILLOW = re.compile(r"PIL\.")


@dataclass(frozen=True)
class Inspection:
    """What is known of one image without keeping its pixels; ``problem`` is None where it can be used."""

    hash: str | None  # of the file's bytes; None where they cannot be read
    width: int | None  # upright, pixels
    height: int | None
    bytes: int | None
    problem: str | None


def decode(source: Source, *, max_pixels: int = MAX_PIXELS, least: int | None = None) -> Image.Image:
    """Decode a file, its bytes or an array to an upright picture of mode RGB; of an animation the first frame.

    Transparent parts lie on white. An array is (H, W) or (H, W, C) with 1, 3 or 4 channels, of uint8, uint16, bool, or
    float in [0, 1]. Safe to call from many threads. ImageProblem, with a reason in plain words, where there is no whole
    picture of at most ``max_pixels`` pixels.

    :param least: pixels that either side needs. A JPEG may come out a half, a quarter or an eighth as large, but not
        smaller than this: libjpeg then computes no more of it (benchmarks/large.py).

    >>> decode(np.zeros((2, 3), dtype=np.uint8)).size
    (3, 2)
    >>> decode(b"")
    Traceback (most recent call last):
    headstart.errors.ImageProblem: <bytes>: empty file
    """
    if isinstance(source, np.ndarray):
        return to_rgb(array_to_image(source, "<array>"))
    return _decode(read_source(source), _name(source), max_pixels, least=least)[0]


def inspect(source: Source, *, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Read a source once, hash it, and decode as much as it takes to know that :func:`decode` will work.

    A JPEG is decoded at an eighth of its size, for which all of its data are read but few pixels computed.
    """
    content: bytes | npt.NDArray[Any] | None = None
    try:
        if isinstance(source, np.ndarray):
            content = source
            width, height = array_to_image(source, "<array>").size
        else:
            content = read_source(source)
            width, height = _decode(content, _name(source), max_pixels, least=1)[1]
    except ImageProblem as problem:
        digest = None if content is None else content_hash(content)
        return Inspection(digest, None, None, _size(content), problem.reason)
    return Inspection(content_hash(content), width, height, _size(content), None)


def header_size(path: Path) -> tuple[int, int]:
    """Upright (width, height) in pixels by the file's header alone: little is read, and nothing is said of the rest.

    ImageProblem where there is no such file, or no header of a picture.
    """
    _prepare_pillow()
    try:
        if reason := _not_a_file(path.stat()):
            raise ImageProblem(_name(path), reason)
        with path.open("rb") as file, _first_that_opens(file, file.read(256), _name(path)) as image:
            width, height = image.size
            return (height, width) if image.format != "TIFF" and orientation(image) >= 5 else (width, height)
    except OSError as error:
        raise ImageProblem(_name(path), _OS_REASONS.get(error.errno or 0, f"damaged: {error}")) from error
    except ImageProblem:
        raise
    except Exception as error:  # on damaged headers decoders raise whatever comes up
        raise ImageProblem(_name(path), f"damaged: {error}") from error


def read_source(source: Path | str | bytes) -> bytes:
    """The bytes of a file (path or uri), or the bytes given. ImageProblem where they cannot be read."""
    if isinstance(source, bytes):
        return source
    path = source if isinstance(source, Path) else to_path(source)
    try:
        reason = _not_a_file(path.stat())
        if reason is None:
            return path.read_bytes()
    except OSError as error:
        reason = _OS_REASONS.get(error.errno or 0, f"cannot be read: {error.strerror}")
        if reason == "no such file" and path.is_symlink():
            reason = f"a link to a file that is not there: {os.fsencode(path.readlink()).decode(errors='replace')}"
        raise ImageProblem(_name(source), reason) from error
    except ValueError as error:  # a NUL in the name
        raise ImageProblem(_name(source), f"not a file name: {error}") from error
    raise ImageProblem(_name(source), reason)


def content_hash(content: bytes | npt.NDArray[Any]) -> str:
    """32 hexadecimal digits of BLAKE2b; of an array, its shape and type count in.

    >>> content_hash(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    if isinstance(content, bytes):
        return hashlib.blake2b(content, digest_size=16).hexdigest()
    digest = hashlib.blake2b(f"{content.dtype.str}{content.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(content).tobytes())
    return digest.hexdigest()


def _not_a_file(status: os.stat_result) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "a folder"
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return "not a regular file"
    if status.st_size > MAX_BYTES:
        return f"{status.st_size:,} bytes are more than the {MAX_BYTES:,} that the file of a picture may have"
    return None


def _name(source: Path | str | bytes) -> str:
    if isinstance(source, bytes):
        return "<bytes>"
    return to_uri(source) if isinstance(source, Path) else source


def _size(content: bytes | npt.NDArray[Any] | None) -> int | None:
    return len(content) if isinstance(content, bytes) else None if content is None else content.nbytes


def _decode(data: bytes, uri: str, max_pixels: int, *, least: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """The picture (of a JPEG no more than it takes for ``least``), and the upright (width, height) of the whole."""
    _prepare_pillow()
    try:
        with _open(data, uri) as image:
            width, height = image.size
            if width * height > max_pixels:
                allowed = f"more than the {max_pixels:,} pixels allowed (--max-pixels)"
                raise ImageProblem(uri, f"{width}x{height} is {allowed}")
            jpeg = image.format in ("JPEG", "MPO")
            if least is not None and jpeg:
                image.draft("RGB", (least, least))
            image.load()
            if jpeg and is_cut(data, image):
                raise ImageProblem(uri, _TRUNCATED)
            # After loading: for some formats getexif loads too, and its errors are not told.
            turn = orientation(image)
            if image.format == "TIFF":  # Pillow turns these by itself while it loads
                turn, (width, height) = 1, image.size
            picture = upright(to_rgb(image), turn)
            picture = image.copy() if picture is image else picture  # not a file any more, but pixels alone
            picture.info.clear()  # an orientation left there would turn it once more
    except ImageProblem:
        raise
    except MemoryError as error:
        raise ImageProblem(uri, "too large for the memory that is free") from error
    except Exception as error:  # on damaged files decoders raise whatever comes up
        raise ImageProblem(uri, _why(data, error)) from error
    return picture, (height, width) if turn >= 5 else (width, height)


def _prepare_pillow() -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        text = "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False: with it Pillow hands out half grey pictures"
        raise SettingsError(f"{text}; some code that runs before sets it to True")
    # Filters belong to the process. This one is added once, not taken away after each call (which no thread could do
    # safely), and leaves alone DecompressionBombWarning, with which Pillow protects other code.
    if ("ignore", None, UserWarning, _PILLOW, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=_PILLOW.pattern)


def _open(data: bytes, uri: str) -> ImageFile.ImageFile:
    return _first_that_opens(io.BytesIO(data), data[:256], uri)


def _first_that_opens(file: BinaryIO, data: bytes, uri: str) -> ImageFile.ImageFile:
    """``Image.open`` by content alone, without the formats of NOT_PICTURES and without its own limit of pixels.

    ``data`` is how the file begins.
    """
    if not data:
        raise ImageProblem(uri, "empty file")
    Image.init()
    begins_as = ""
    for name in Image.ID:
        factory, accept = Image.OPEN[name]
        accepted = accept(data[:16]) if accept else True
        if name in NOT_PICTURES or isinstance(accepted, str) or not accepted:
            continue
        try:
            file.seek(0)
            return factory(file, "")
        except Exception as error:  # another format may fit better
            if accept and not begins_as:
                begins_as = f"truncated or damaged: begins as {name}, but its header cannot be read ({error})"
    if begins_as:
        raise ImageProblem(uri, begins_as)
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kinds = [f", but {kind}" for sign, kind in _OTHER_FILES.items() if start.startswith(sign)]
    if data[4:12] in _HEIC:
        kinds = [", but HEIC, as telephones write it: convert it to JPEG"]
    raise ImageProblem(uri, f"not an image that Pillow reads{''.join(kinds[:1])}")


def _why(data: bytes, error: Exception) -> str:
    text = str(error) or type(error).__name__
    cut_riff = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)  # WebP does not say it
    if cut_riff or isinstance(error, EOFError) or any(sign in text.lower() for sign in _SIGNS_OF_TRUNCATION):
        return _TRUNCATED
    return f"damaged: {text}"
