"""Files on this machine and on others by their URI: a local path of their content, and a stamp."""

from __future__ import annotations

from headstart.data.sources.base import Stamp
from headstart.data.sources.remote import is_remote, local_copy, remote_stamp
from headstart.data.uri import display_name, to_path

__all__ = ["local_path", "location_stamp"]


def local_path(uri: str) -> str:
    """Return the path of a file of this machine, or of a copy of one of another machine, which is fetched if needed.

    :raises DataError: it cannot be fetched.

    >>> local_path("/photos/a.tar")
    '/photos/a.tar'
    """
    return str(local_copy(uri)) if is_remote(uri) else display_name(uri)


def location_stamp(uri: str) -> Stamp | None:
    """Return what identifies the current content of a file; None if unknown."""
    return remote_stamp(uri) if is_remote(uri) else Stamp.of_file(to_path(uri))
