"""Superfluous copies: the same file under two names, or the same pixels in two files."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.data.duplicates import same_content
from headstart.data.issues.base import DROP, CheckedImages, Issue
from headstart.data.uri import display_name

__all__ = ["find_duplicates"]


def find_duplicates(checked: CheckedImages) -> Iterator[Issue]:
    """The images that add nothing to another one, which is named: for each content, all but the first."""
    images, near = checked.manifest.usable, checked.near_duplicates
    uris = images.uris
    for rows in same_content(images):
        for row in rows[1:]:
            text = f"the same file as {display_name(uris[rows[0]])}"
            yield Issue("duplicate", uris[row], 1.0, text, DROP, related=(uris[rows[0]],))
    if near is None:
        return
    told: set[int] = set()
    for pair in sorted(near.pairs, key=lambda pair: pair.rows):
        kept, row = pair.rows
        if pair.identical and row not in told:
            told.add(row)
            text = f"every pixel is that of {display_name(uris[kept])}, in another file"
            yield Issue("duplicate", uris[row], 1.0, text, DROP, related=(uris[kept],))
