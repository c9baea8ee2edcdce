"""Images of a given validation or test split of which there is a copy in a split that they must be independent of."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.data.duplicates import same_content
from headstart.data.issues.base import DROP, CheckedImages, Issue
from headstart.data.issues.near_duplicates import relation
from headstart.data.manifest import SPLITS
from headstart.data.uri import display_name

__all__ = ["find_leaks"]


def find_leaks(checked: CheckedImages) -> Iterator[Issue]:
    """The images of validation of which a copy is in train, and those of test of which one is in either."""
    images, near = checked.manifest.usable, checked.near_duplicates
    uris, splits = images.uris, images.splits
    same = same_content(images)
    copies = {row: rows for rows in same for row in rows}
    pairs = [(row, other, 1.0, "the same file as") for rows in same for row in rows for other in rows]
    for pair in near.pairs if near is not None else ():
        for row, other in (pair.rows, pair.rows[::-1]):
            pairs += [
                (one, another, max(pair.agreement, 0.0), relation(pair))
                for one in copies.get(row, [row])  # of images with the same content, the first stands for all
                for another in copies.get(other, [other])
            ]
    told: set[int] = set()
    for row, other, score, what in pairs:
        mine, theirs = splits[row], splits[other]
        if mine is None or theirs is None or SPLITS.index(theirs) >= SPLITS.index(mine) or row in told:
            continue
        told.add(row)
        text = f"in {mine}, and {what} {display_name(uris[other])}, which is in {theirs}"
        yield Issue("leak", uris[row], score, text, DROP, related=(uris[other],))
