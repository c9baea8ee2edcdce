"""Images of a given validation or test split of which there is a copy in a split that they must be independent of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    if len(set(splits) - {None}) < 2:
        return
    same = same_content(images)
    copies = {row: rows for rows in same for row in rows}
    first = {row: _first_of_each_split(rows, splits) for rows in same for row in rows[:1]}
    pairs = [(row, other, 1.0, "the same file as") for rows in same for row in rows for other in first[rows[0]]]
    for pair in near.pairs if near is not None else ():
        for row, other in (pair.rows, pair.rows[::-1]):
            pairs += [
                (one, another, max(pair.agreement, 0.0), relation(pair))
                for one in copies.get(row, [row])  # of images with the same content, the first stands for all
                for another in first.get(copies.get(other, [other])[0], [other])
            ]
    told: set[int] = set()
    for row, other, score, what in pairs:
        mine, theirs = splits[row], splits[other]
        if mine is None or theirs is None or SPLITS.index(theirs) >= SPLITS.index(mine) or row in told:
            continue
        told.add(row)
        text = f"in {mine}, and {what} {display_name(uris[other])}, which is in {theirs}"
        yield Issue("leak", uris[row], score, text, DROP, related=(uris[other],))


def _first_of_each_split(rows: Sequence[int], splits: Sequence[str | None]) -> list[int]:
    """Of images with the same content, one for each split: a thousand copies have a million pairs."""
    return sorted({splits[row]: row for row in reversed(rows)}.values())
