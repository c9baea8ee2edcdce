"""Images that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.data.issues.base import DROP, CheckedImages, Issue

__all__ = ["find_unreadable"]


def find_unreadable(checked: CheckedImages) -> Iterator[Issue]:
    """The images that cannot be used, with the reason."""
    manifest = checked.manifest
    for uri, problem in zip(manifest.uris, manifest.problems, strict=True):
        if problem is not None:
            yield Issue("unreadable", uri, 1.0, problem, DROP)
