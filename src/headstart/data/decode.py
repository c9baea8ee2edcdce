"""Bytes -> upright RGB, or a named problem; never a silently black or half gray image."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.WebPImagePlugin import WebPImageFile

from headstart.data import jpeg, png, sources, zeros
from headstart.data.budget import DECODING
from headstart.data.deep import is_deep_color, load_low_bytes, read_deep, wrong_layout
from headstart.data.dicom import UnsupportedDicomError
from headstart.data.formats import PLOT_SOFTWARE
from headstart.data.opening import open_image
from headstart.data.pixels import apply_orientation, array_to_image, deep_array, exif_orientation, to_rgb
from headstart.data.sources.base import Content, ImageReference, StreamingSource
from headstart.data.value_range import PixelValues, ValueRange
from headstart.data.webp import OneFrame
from headstart.errors import ImageProblem, SettingsError

__all__ = [
    "MAX_PIXELS",
    "Inspection",
    "Source",
    "content_hash",
    "decode",
    "decoded",
    "header_size",
    "inspect",
    "read_content",
]

Source: TypeAlias = "ImageReference | Path | str | bytes | npt.NDArray[Any]"
"""An image of a manifest, a path or URI, an encoded image, or pixels."""

T = TypeVar("T")

MAX_PIXELS = 178_956_970
"""The default limit: that above which Pillow refuses an image as a decompression bomb."""

_TRUNCATED = "truncated: the file ends before the image does"
_SIGNS_OF_TRUNCATION = ("truncated", "need_more_input", "not enough", "expected to read", "incomplete", "eof")
_SIGN_OF_LARGE_TEXT = "MAX_TEXT_"  # Pillow's limits on the texts and the color profile of a PNG file
# Pillow reports unusual EXIF, palettes and the like as warnings from its own modules.
_PILLOW = re.compile(r"PIL\.")

_BYTES_PER_PIXEL = 8  # Pillow takes 4 for every color mode; the image is in memory as decoded, and converted to RGB
_BYTES_PER_MOVING_PIXEL = 16  # of formats for animations, whose decoders keep whole frames with transparency
_BYTES_PER_DEEP_PIXEL = 24  # both bytes of each color apart, together, and reduced to 8 bits
_BYTES_PER_COEFFICIENT = 2  # of a progressive JPEG, which libjpeg keeps at full size whatever size is decoded
_SMALL = 4 << 20  # bytes; images that need less are not counted, since thousands are decoded per second
_MENDING = 30  # bytes of memory per byte of a truncated JPEG, which is decoded in several ways


@dataclass(frozen=True)
class Inspection:
    """What is known of one image without its pixels; ``problem`` is None if it can be used."""

    hash: str | None  # of the content; None if it cannot be read
    width: int | None  # upright, pixels
    height: int | None
    bytes: int | None
    problem: str | None
    values: PixelValues | None = None  # None for 8 bits


def decode(
    source: Source,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side: int | None = None,
    value_ranges: Sequence[ValueRange] = (),
) -> Image.Image:
    """Decode an image to an upright image of mode RGB; of an animation, the first frame.

    Transparent parts become white. An array is (H, W) or (H, W, C) with 1, 3 or 4 channels, of uint8, uint16, bool, or
    float in [0, 1]. Safe to call from several threads.

    :param source: an image of a manifest, a path or URI, the bytes of a file, or an array.
    :param min_side: pixels that either side needs. A JPEG may be decoded at a half, a quarter or an eighth of its size,
        but not smaller than this: libjpeg then computes no more of it (benchmarks/speed/large_images.py).
    :param value_ranges: black and white of pixels that are not 8-bit. A type without one has its full range, for
        example 0 to 65535 for uint16 and 0 to 1 for floats: an image is never scaled by its own brightest pixel.
    :raises ImageProblem: with the reason, if there is no complete image of at most ``max_pixels`` pixels.

    >>> decode(np.zeros((2, 3), dtype=np.uint8)).size
    (3, 2)
    >>> decode(np.full((1, 1), 4095, np.uint16)).getpixel((0, 0))
    (16, 16, 16)
    >>> decode(np.full((1, 1), 4095, np.uint16), value_ranges=[ValueRange("uint16", 0, 4095)]).getpixel((0, 0))
    (255, 255, 255)
    >>> decode(b"")
    Traceback (most recent call last):
    headstart.errors.ImageProblem: <bytes>: empty file
    """
    with decoded(source, max_pixels=max_pixels, min_side=min_side, value_ranges=value_ranges) as image:
        return image


@contextmanager
def decoded(
    source: Source,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side: int | None = None,
    value_ranges: Sequence[ValueRange] = (),
) -> Iterator[Image.Image]:
    """:func:`decode` for the length of a block, within the process's budget of memory.

    Where several threads decode large images, each waits until enough of the others have left their blocks. Not to be
    nested in one thread.
    """
    content, name = read_content(source), _name(source)
    if isinstance(content, np.ndarray):
        yield to_rgb(array_to_image(content, name, value_ranges))
        return
    use = partial(_upright, data=content, value_ranges=value_ranges)
    with ExitStack() as memory:
        image = _load(content, name, max_pixels, min_side, memory, use)
        del content, use  # the file, of up to a hundred megabytes
        yield image


def inspect(source: Source, *, max_pixels: int = MAX_PIXELS, value_ranges: Sequence[ValueRange] = ()) -> Inspection:
    """Read an image once, hash it, and decode as much as is needed to know that :func:`decode` will succeed.

    A JPEG is decoded at an eighth of its size: all of its data are read, but few pixels are computed. Of pixels that
    are not 8-bit, the range of the values is recorded.
    """
    content: Content | None = None
    try:
        content = read_content(source)
        if isinstance(content, np.ndarray):
            size, values = _look_at_array(content, _name(source), value_ranges)
        else:
            with ExitStack() as memory:
                size, values = _load(content, _name(source), max_pixels, 1, memory, partial(_look, data=content))
    except ImageProblem as problem:
        digest = None if content is None else content_hash(content)
        return Inspection(digest, None, None, _size(content), problem.reason)
    return Inspection(content_hash(content), *size, _size(content), None, values)


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
        with file, open_image(file, file.read(256), name) as image:
            width, height = image.size
            turned = image.format != "TIFF" and exif_orientation(image, header_only=True) >= 5
            return (height, width) if turned else (width, height)
    except ImageProblem as problem:
        content = read_content(source) if _SIGN_OF_LARGE_TEXT in problem.reason else None
        mended = _mended(content, problem.reason) if isinstance(content, bytes) else None
        if mended is None:
            raise
    except Exception as error:  # decoders raise anything on damaged headers
        raise ImageProblem(name, f"damaged: {error}") from error
    return header_size(mended)


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


def _load(
    data: bytes, uri: str, max_pixels: int, min_side: int | None, memory: ExitStack, use: Callable[[_Loaded], T]
) -> T:
    """What ``use`` makes of the loaded image (a JPEG perhaps reduced, down to ``min_side``).

    The memory of the pixels is held by ``memory``.
    """
    try:
        return _load_once(data, uri, max_pixels, min_side, memory, use)
    except ImageProblem as problem:
        memory.close()
        with DECODING.hold(_MENDING * len(data)):
            mended = _mended(data, problem.reason)
        if mended is None:
            raise
    return _load_once(mended, uri, max_pixels, min_side, memory, use)


def _mended(data: bytes, reason: str) -> bytes | None:
    """A file with the same pixels that Pillow reads; None if there is none."""
    if _SIGN_OF_LARGE_TEXT in reason:
        return png.without_text(data)
    return jpeg.with_end(data) if reason == _TRUNCATED and data.startswith(b"\xff\xd8") else None


@dataclass(frozen=True)
class _Loaded:
    """An image with its pixels, and its (width, height) at full size, as stored."""

    image: ImageFile.ImageFile
    size: tuple[int, int]
    low: Image.Image | None = None  # the lower bytes of 16 bits per color

    @property
    def turn(self) -> int:
        """The orientation that is left to apply: of a TIFF, none, since Pillow does so while it loads."""
        # After loading: for some formats getexif loads as well, and exif_orientation would hide the errors.
        return 1 if self.image.format == "TIFF" else exif_orientation(self.image)


def _load_once(
    data: bytes, uri: str, max_pixels: int, min_side: int | None, memory: ExitStack, use: Callable[[_Loaded], T]
) -> T:
    _prepare_pillow()
    try:
        with _open(data, uri) as image:
            if image.info.get("Software") == PLOT_SOFTWARE:
                raise ImageProblem(uri, "a plot that headstart wrote")
            size = image.size
            if size[0] * size[1] > max_pixels:
                allowed = f"more than the {max_pixels:,} pixels allowed (--max-pixels)"
                raise ImageProblem(uri, f"{size[0]}x{size[1]} is {allowed}")
            if (layout := wrong_layout(image)) is not None:
                raise ImageProblem(uri, layout)
            is_jpeg = image.format in ("JPEG", "MPO")
            if min_side is not None and is_jpeg:
                image.draft("RGB", (min_side, min_side))
            if (needed := _bytes_needed(image, size)) > _SMALL:
                memory.enter_context(DECODING.hold(needed))
            low = load_low_bytes(image, lambda: _open(data, uri))
            if isinstance(image, WebPImageFile):
                image.__class__ = OneFrame
            image.load()
            if is_jpeg and jpeg.is_truncated(data, image):
                raise ImageProblem(uri, _TRUNCATED)
            if (missing := zeros.missing_blocks(data, image)) is not None:
                raise ImageProblem(uri, missing)
            if (damaged := png.damaged_chunk(data)) is not None:
                raise ImageProblem(uri, f"damaged: {damaged}")
            return use(_Loaded(image, image.size if image.format == "TIFF" else size, low))
    except ImageProblem:
        raise
    except MemoryError as error:
        raise ImageProblem(uri, "too large for the free memory") from error
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageProblem(uri, _why(data, error)) from error


def _bytes_needed(image: ImageFile.ImageFile, size: tuple[int, int]) -> int:
    coefficients = size[0] * size[1] * len(image.getbands()) if image.info.get("progressive") else 0
    per_pixel = _BYTES_PER_MOVING_PIXEL if image.format in ("WEBP", "AVIF") else _BYTES_PER_PIXEL
    per_pixel = _BYTES_PER_DEEP_PIXEL if is_deep_color(image) else per_pixel
    return image.width * image.height * per_pixel + coefficients * _BYTES_PER_COEFFICIENT


def _upright(loaded: _Loaded, data: bytes, value_ranges: Sequence[ValueRange]) -> Image.Image:
    image, turn = loaded.image, loaded.turn
    deep = read_deep(image, data, loaded.low)
    rgb = to_rgb(image if deep is None else Image.fromarray(deep.to_8_bit(value_ranges)))
    rgb = apply_orientation(rgb, turn)
    if rgb is image:  # the pixels alone, without the file; not copied, since those of a photograph take 160 MB
        rgb = image._new(image.im)
    rgb.info.clear()  # an orientation left there would be applied once more
    return rgb


def _look(loaded: _Loaded, data: bytes) -> tuple[tuple[int, int], PixelValues | None]:
    """The upright (width, height) at full size, and what is known of the values."""
    image, (width, height) = loaded.image, loaded.size
    size = (height, width) if loaded.turn >= 5 else (width, height)
    deep = read_deep(image, data, loaded.low)
    if deep is not None:
        return size, deep.summary()
    if image.mode != "RGB" or image.has_transparency_data:
        to_rgb(image.crop((0, 0, min(image.width, 64), min(image.height, 64))))  # raises what it would on the whole
    return size, None


def _look_at_array(
    array: npt.NDArray[Any], uri: str, value_ranges: Sequence[ValueRange]
) -> tuple[tuple[int, int], PixelValues | None]:
    deep = deep_array(array, uri, value_ranges)
    # Floats in memory are in [0, 1] by agreement, or have the range that is given: there is nothing to find out.
    return (array.shape[1], array.shape[0]), None if deep is None or deep.dtype == "float" else deep.summary()


def _prepare_pillow() -> None:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        text = "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False: otherwise Pillow returns half gray images"
        raise SettingsError(f"{text}; some code of this program sets it to True")
    # Filters are global to the process. This one is added once, not removed after each call (no thread could do that
    # safely), and does not cover DecompressionBombWarning, with which Pillow protects other code.
    if ("ignore", None, UserWarning, _PILLOW, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=_PILLOW.pattern)


def _open(data: bytes, uri: str) -> ImageFile.ImageFile:
    return open_image(io.BytesIO(data), data[:256], uri)


def _why(data: bytes, error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, UnsupportedDicomError):
        return text
    cut_riff = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)  # WebP does not say it
    if cut_riff or isinstance(error, EOFError) or any(sign in text.lower() for sign in _SIGNS_OF_TRUNCATION):
        return _TRUNCATED
    return f"damaged: {text}"
