"""Numbers, names and paths as the page shows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

__all__ = ["path_shortener", "percent", "plain", "wrappable"]

SPACE = "\u202f"  # narrow no-break space, between a number and its %


def percent(proportion: float, digits: int = 1) -> str:
    """Format a proportion as ``84.2 %``; a small positive one is never shown as 0.

    >>> percent(0.8425), percent(0.0004)
    ('84.2\\u202f%', '<0.1\\u202f%')
    """
    least = 10.0**-digits
    if 0 < 100 * proportion < least / 2:
        return f"<{least:g}{SPACE}%"
    return f"{100 * proportion:.{digits}f}{SPACE}%"


def wrappable(name: str) -> Markup:
    """Escape the name of a class, and allow a line break after each underscore."""
    return Markup("_<wbr>").join(name.split("_"))


def plain(value: Any) -> str:
    """Format the value of a setting.

    >>> plain(None), plain(True), plain([1, 0.5])
    ('not set', 'yes', '1, 0.5')
    """
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items()) or "none"
    return str(value)


def path_shortener(uris: Sequence[str]) -> Callable[[str], str]:
    """Return a function that makes a URI relative to the folder that all of ``uris`` share.

    >>> shorten = path_shortener(["/photos/cats/1.jpg", "/photos/dogs/2.jpg"])
    >>> shorten("/photos/cats/1.jpg")
    'cats/1.jpg'
    """
    folders = {os.path.dirname(uri) for uri in uris}  # noqa: PTH120 - not all are plain paths
    try:
        start = os.path.join(os.path.commonpath(folders), "")  # noqa: PTH118
    except ValueError:  # no images, or no common folder
        start = ""

    def shorten(uri: str) -> str:
        return uri[len(start) :] if start and uri.startswith(start) else os.path.basename(uri)  # noqa: PTH119

    return shorten
