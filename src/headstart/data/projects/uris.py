"""URIs of images as a project stores them: relative for those that lie in it, so that its folder can be moved."""

from __future__ import annotations

from pathlib import Path

from headstart.data.uri import to_uri

__all__ = ["IMAGES", "absolute_uri"]

IMAGES = "images"
"""The folder of a project for images that were uploaded."""


def absolute_uri(folder: Path, uri: str) -> str:
    """The URI of an image from the one that is stored.

    >>> absolute_uri(Path("/p"), "images/ab/abcd.jpg"), absolute_uri(Path("/p"), "/photos/1.jpg")
    ('/p/images/ab/abcd.jpg', '/photos/1.jpg')
    """
    return to_uri(folder / uri) if uri.startswith(f"{IMAGES}/") else uri
