"""Which files are images, by the suffix of their name or by how their content begins."""

from __future__ import annotations

import os
import re

from PIL import Image

from headstart.data.more_formats import SUFFIXES

__all__ = ["EXCLUDED_FORMATS", "PLOT_SOFTWARE", "begins_like_image", "is_image_name", "is_other_name"]

PLOT_SOFTWARE = "headstart"
"""What the plots that headstart writes state as their software, so that they are not taken for photos."""

EXCLUDED_FORMATS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})
"""Formats that Pillow lists but that are not images, or that it opens by running another program (EPS: Ghostscript)."""

# Images, although they are not read: they become rows with a problem instead of going unnoticed.
_UNSUPPORTED = frozenset({".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"})
_OTHER = frozenset(
    {".bak", ".tmp", ".part", ".crdownload", ".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".html", ".db", ".ini"}
)
_SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|RIFF....WEBP|II\*\0|MM\0\*|.{128}DICM", re.DOTALL)


def is_image_name(name: str) -> bool:
    """Whether the suffix of a file name is that of an image format.

    >>> is_image_name("IMG_1.JPG"), is_image_name("notes.txt")
    (True, False)
    """
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for every file
    format_name = Image.registered_extensions().get(suffix)
    return (
        suffix in _UNSUPPORTED
        or suffix in SUFFIXES
        or (format_name is not None and format_name not in EXCLUDED_FORMATS)
    )


def is_other_name(name: str) -> bool:
    """Whether a file name is that of a text, a table, a backup or an unfinished download.

    >>> is_other_name("labels.csv"), is_other_name("a.jpg~"), is_other_name("photo")
    (True, True, False)
    """
    return os.path.splitext(name)[1].lower() in _OTHER or name.endswith("~")  # noqa: PTH122


def begins_like_image(start: bytes) -> bool:
    r"""Whether the first 132 bytes of a file are those of a common image format.

    >>> begins_like_image(b"\xff\xd8\xff\xe0"), begins_like_image(b"<html>")
    (True, False)
    """
    return _SIGNATURES.match(start) is not None
