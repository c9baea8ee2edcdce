"""Open the file of an image by its content alone, with Pillow or with the packages of further formats."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, ImageFile

from headstart.data.deep import tiff_layout
from headstart.data.formats import EXCLUDED_FORMATS
from headstart.data.more_formats import format_of
from headstart.errors import ImageProblem

__all__ = ["open_image"]

_OTHER_FILES = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"<svg": "an SVG drawing",
    b"%pdf": "a PDF document",
    b"pk\x03\x04": "a zip archive",
}


def open_image(file: BinaryIO, start: bytes, uri: str) -> ImageFile.ImageFile:
    """Open an image, without the formats of ``EXCLUDED_FORMATS`` and without Pillow's own limit of pixels.

    :param start: the first 256 bytes of the file.
    :param uri: its name, for messages.
    :raises ImageProblem: it is no image that is read.
    """
    if not start:
        raise ImageProblem(uri, "empty file")
    if (found := format_of(start)) is not None:
        if not found.available:
            raise ImageProblem(
                uri,
                f'{found.text}, which needs {found.package}: run "pip install headstart[{found.extra}]", or convert it',
            )
        file.seek(0)
        return found.open(file)
    Image.init()
    begins_as = ""
    for name in Image.ID:
        factory, accept = Image.OPEN[name]
        accepted = accept(start[:16]) if accept else True
        if name in EXCLUDED_FORMATS or isinstance(accepted, str) or not accepted:
            continue
        try:
            file.seek(0)
            return factory(file, "")
        except Exception as error:  # another format may fit better
            if accept and not begins_as:
                layout = tiff_layout(file) if name == "TIFF" and isinstance(error, SyntaxError) else None
                begins_as = layout or f"truncated or damaged: begins as {name}, but its header cannot be read ({error})"
    if begins_as:
        raise ImageProblem(uri, begins_as)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kinds = [f", but {kind}" for sign, kind in _OTHER_FILES.items() if text.startswith(sign)]
    raise ImageProblem(uri, f"not an image that Pillow reads{''.join(kinds[:1])}")
