"""Bytes -> upright RGB, or a named problem; never a silently black or half gray image."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from headstart.data import sources
from headstart.data.formats import EXCLUDED_FORMATS
from headstart.data.jpeg import is_truncated
from headstart.data.pixels import apply_orientation, array_to_image, exif_orientation, to_rgb
from headstart.data.sources.base import Content, ImageReference, StreamingSource
from headstart.errors import ImageProblem, SettingsError

__all__ = ["MAX_PIXELS", "Inspection", "Source", "content_hash", "decode", "header_size", "inspect", "read_content"]

Source: TypeAlias = "ImageReference | Path | str | bytes | npt.NDArray[Any]"
"""An image of a manifest, a path or URI, an encoded image, or pixels."""

MAX_PIXELS = 178_956_970
"""The default limit: that above which Pillow refuses an image as a decompression bomb."""

_TRUNCATED = "truncated: the file ends before the image does"
_SIGNS_OF_TRUNCATION = ("truncated", "not enough", "expected to read", "incomplete", "eof")
_OTHER_FILES = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<svg": "an SVG drawing",
    b"%pdf": "a PDF document",
    b"pk\x03\x04": "a zip archive",
}
_HEIC = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypmif1")
# Pillow reports unusual EXIF, palettes and the like as warnings from its own modules.
_PILLOW = re.compile(r"PIL\.")


@dataclass(frozen=True)
class Inspection:
    """What is known of one image without its pixels; ``problem`` is None if it can be used."""

    hash: str | None  # of the content; None if it cannot be read
    width: int | None  # upright, pixels
    height: int | None
    bytes: int | None
    problem: str | None


def decode(source: Source, *, max_pixels: int = MAX_PIXELS, min_side: int | None = None) -> Image.Image:
    """Decode an image to an upright image of mode RGB; of an animation, the first frame.

    Transparent parts become white. An array is (H, W) or (H, W, C) with 1, 3 or 4 channels, of uint8, uint16, bool, or
    float in [0, 1]. Safe to call from several threads.

    :param source: an image of a manifest, a path or URI, the bytes of a file, or an array.
    :param min_side: pixels that either side needs. A JPEG may be decoded at a half, a quarter or an eighth of its size,
        but not smaller than this: libjpeg then computes no more of it (benchmarks/speed/large_images.py).
    :raises ImageProblem: with the reason, if there is no complete image of at most ``max_pixels`` pixels.

    >>> decode(np.zeros((2, 3), dtype=np.uint8)).size
    (3, 2)
    >>> decode(b"")
    Traceback (most recent call last):
    headstart.errors.ImageProblem: <bytes>: empty file
    """
    content, name = read_content(source), _name(source)
    if isinstance(content, np.ndarray):
        return to_rgb(array_to_image(content, name))
    return _decode(content, name, max_pixels, min_side=min_side)[0]


def inspect(source: Source, *, max_pixels: int = MAX_PIXELS) -> Inspection:
    """Read an image once, hash it, and decode as much as is needed to know that :func:`decode` will succeed.

    A JPEG is decoded at an eighth of its size: all of its data are read, but few pixels are computed.
    """
    content: Content | None = None
    try:
        content = read_content(source)
        if isinstance(content, np.ndarray):
            width, height = array_to_image(content, _name(source)).size
        else:
            width, height = _decode(content, _name(source), max_pixels, min_side=1)[1]
    except ImageProblem as problem:
        digest = None if content is None else content_hash(content)
        return Inspection(digest, None, None, _size(content), problem.reason)
    return Inspection(content_hash(content), width, height, _size(content), None)


def header_size(source: Source) -> tuple[int, int]:
    """Return the upright (width, height) in pixels from the header alone: the rest is neither read nor checked.

    :raises ImageProblem: the image cannot be read, or does not begin with the header of an image.
    """
    _prepare_pillow()
    name = _name(source)
    try:
        file = _open_file(source)
        if isinstance(file, np.ndarray):
            return array_to_image(file, name).size
        with file, _first_that_opens(file, file.read(256), name) as image:
            width, height = image.size
            return (height, width) if image.format != "TIFF" and exif_orientation(image) >= 5 else (width, height)
    except ImageProblem:
        raise
    except Exception as error:  # decoders raise anything on damaged headers
        raise ImageProblem(name, f"damaged: {error}") from error


def read_content(source: Source) -> Content:
    """Return the bytes of an image, or its pixels.

    :raises ImageProblem: it cannot be read.
    """
    return source if isinstance(source, bytes | np.ndarray) else sources.reference(source).read()


def content_hash(content: Content) -> str:
    """Return 32 hexadecimal digits of BLAKE2b; for an array, of its type and shape as well.

    >>> content_hash(b"")
    'cae66941d9efbd404e4d88758ea67670'
    """
    if isinstance(content, bytes):
        return hashlib.blake2b(content, digest_size=16).hexdigest()
    digest = hashlib.blake2b(f"{content.dtype.str}{content.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(content).tobytes())
    return digest.hexdigest()


def _open_file(source: Source) -> BinaryIO | npt.NDArray[Any]:
    """The image as a file whose end need not be read, where its source allows it."""
    if not isinstance(source, bytes | np.ndarray):
        image = sources.reference(source)
        if isinstance(image.source, StreamingSource):
            return image.source.stream(image.uri)
    content = read_content(source)
    return io.BytesIO(content) if isinstance(content, bytes) else content


def _name(source: Source) -> str:
    if isinstance(source, bytes):
        return "<bytes>"
    return "<array>" if isinstance(source, np.ndarray) else sources.reference(source).uri


def _size(content: Content | None) -> int | None:
    return len(content) if isinstance(content, bytes) else None if content is None else content.nbytes


def _decode(
    data: bytes, uri: str, max_pixels: int, *, min_side: int | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """The image (a JPEG perhaps reduced, down to ``min_side``), and the upright (width, height) at full size."""
    _prepare_pillow()
    try:
        with _open(data, uri) as image:
            width, height = image.size
            if width * height > max_pixels:
                allowed = f"more than the {max_pixels:,} pixels allowed (--max-pixels)"
                raise ImageProblem(uri, f"{width}x{height} is {allowed}")
            jpeg = image.format in ("JPEG", "MPO")
            if min_side is not None and jpeg:
                image.draft("RGB", (min_side, min_side))
            image.load()
            if jpeg and is_truncated(data, image):
                raise ImageProblem(uri, _TRUNCATED)
            # After loading: for some formats getexif loads as well, and exif_orientation would hide the errors.
            turn = exif_orientation(image)
            if image.format == "TIFF":  # Pillow applies the orientation of these while it loads
                turn, (width, height) = 1, image.size
            rgb = apply_orientation(to_rgb(image), turn)
            rgb = image.copy() if rgb is image else rgb  # pixels alone, without the file
            rgb.info.clear()  # an orientation left there would be applied once more
    except ImageProblem:
        raise
    except MemoryError as error:
        raise ImageProblem(uri, "too large for the free memory") from error
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageProblem(uri, _why(data, error)) from error
    return rgb, (height, width) if turn >= 5 else (width, height)


def _prepare_pillow() -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        text = "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False: otherwise Pillow returns half gray images"
        raise SettingsError(f"{text}; some code of this program sets it to True")
    # Filters are global to the process. This one is added once, not removed after each call (no thread could do that
    # safely), and does not cover DecompressionBombWarning, with which Pillow protects other code.
    if ("ignore", None, UserWarning, _PILLOW, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=_PILLOW.pattern)


def _open(data: bytes, uri: str) -> ImageFile.ImageFile:
    return _first_that_opens(io.BytesIO(data), data[:256], uri)


def _first_that_opens(file: BinaryIO, data: bytes, uri: str) -> ImageFile.ImageFile:
    """``Image.open`` by content alone, without EXCLUDED_FORMATS and without Pillow's own limit of pixels.

    ``data`` is the beginning of the file.
    """
    if not data:
        raise ImageProblem(uri, "empty file")
    Image.init()
    begins_as = ""
    for name in Image.ID:
        factory, accept = Image.OPEN[name]
        accepted = accept(data[:16]) if accept else True
        if name in EXCLUDED_FORMATS or isinstance(accepted, str) or not accepted:
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
        kinds = [", but HEIC, a format of phone cameras: convert it to JPEG"]
    raise ImageProblem(uri, f"not an image that Pillow reads{''.join(kinds[:1])}")


def _why(data: bytes, error: Exception) -> str:
    text = str(error) or type(error).__name__
    cut_riff = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)  # WebP does not say it
    if cut_riff or isinstance(error, EOFError) or any(sign in text.lower() for sign in _SIGNS_OF_TRUNCATION):
        return _TRUNCATED
    return f"damaged: {text}"
