"""URIs of local files: the absolute path as text, whatever bytes the file name is made of."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

__all__ = ["display_name", "printable", "to_path", "to_uri"]

_PREFIX = "file://"


def to_uri(path: str | os.PathLike[str]) -> str:
    """Return the URI of a file: its absolute path; links are kept.

    Linux allows any bytes in file names. A name that is not UTF-8 cannot be stored in a table of texts, so it is kept
    percent-encoded after ``file://``.

    >>> to_uri("/photos/50%41 off #1?.jpg")
    '/photos/50%41 off #1?.jpg'
    >>> to_uri(os.fsdecode(b"/photos/caf\\xe9.jpg"))
    'file:///photos/caf%E9.jpg'
    """
    absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100 - Path.resolve would follow links, Path.absolute keeps ".."
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return _PREFIX + quote(os.fsencode(absolute))
    return absolute


def to_path(uri: str) -> Path:
    """Return the file of a URI made by :func:`to_uri`, byte for byte; any other text is taken as a path.

    >>> os.fsencode(to_path("file:///photos/caf%E9.jpg"))
    b'/photos/caf\\xe9.jpg'
    """
    return Path(display_name(uri))


def display_name(uri: str) -> str:
    """Return an image's name for people and for CSV files: the path of a local file, the URI of anything else.

    A path that is not UTF-8 contains surrogates: write it with ``errors="surrogateescape"``.

    >>> display_name("/photos/a.jpg"), display_name("array:7")
    ('/photos/a.jpg', 'array:7')
    """
    return os.fsdecode(unquote_to_bytes(uri[len(_PREFIX) :])) if uri.startswith(_PREFIX) else uri


def printable(text: str) -> str:
    """Return a text that any table or page can have: bytes of a file name that are not UTF-8 are written as escapes.

    >>> print(printable(display_name("file:///photos/caf%E9.jpg")))
    /photos/caf\\xe9.jpg
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
