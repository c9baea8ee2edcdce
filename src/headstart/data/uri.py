"""How a manifest names a picture: an absolute path as text, whatever bytes its name is made of."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

__all__ = ["to_path", "to_uri"]

_SCHEME = "file://"


def to_uri(path: str | os.PathLike[str]) -> str:
    """Name a file: its absolute path; links stay as they are.

    Linux lets file names be any bytes. A name that is not UTF-8 cannot stand in a table of texts, so that it is kept
    percent-encoded behind ``file://``.

    >>> to_uri("/photos/50%41 off #1?.jpg")
    '/photos/50%41 off #1?.jpg'
    >>> to_uri(os.fsdecode(b"/photos/caf\\xe9.jpg"))
    'file:///photos/caf%E9.jpg'
    """
    absolute = os.path.abspath(os.fspath(path))  # noqa: PTH100 - Path.resolve would follow links, Path.absolute keeps ".."
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return _SCHEME + quote(os.fsencode(absolute))
    return absolute


def to_path(uri: str) -> Path:
    """The file behind a uri of :func:`to_uri`, byte for byte; any other text is taken as a path.

    >>> os.fsencode(to_path("file:///photos/caf%E9.jpg"))
    b'/photos/caf\\xe9.jpg'
    """
    if uri.startswith(_SCHEME):
        return Path(os.fsdecode(unquote_to_bytes(uri[len(_SCHEME) :])))
    return Path(uri)
