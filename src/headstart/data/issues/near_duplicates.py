"""Near-duplicates and frames of a burst; near-duplicates under two labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headstart.data.issues.base import GROUP, LOOK, CheckedImages, Issue
from headstart.data.manifest import Manifest
from headstart.data.near_duplicates import NearPair
from headstart.data.uri import display_name

__all__ = ["find_conflicting_near_duplicates", "find_near_duplicate_images", "relation"]


def relation(pair: NearPair) -> str:
    """How an image is related to the other one of a pair, as it begins a sentence about it.

    >>> relation(NearPair((0, 1), 0.95, 0.98, mirrored=True))
    'a mirrored near-duplicate (cosine of features 0.950, correlation of pixels 0.980) of'
    """
    figures = f"(cosine of features {pair.cosine:.3f}, correlation of pixels {pair.agreement:.3f})"
    kind = "a frame of the same burst" if pair.burst else f"a {'mirrored ' * pair.mirrored}near-duplicate"
    return f"{kind} {figures} {'as' if pair.burst else 'of'}"


def find_near_duplicate_images(checked: CheckedImages) -> Iterator[Issue]:
    """The images that a near-duplicate makes superfluous: of each group, all but the one with the most pixels.

    The same pixels in another file are left to :func:`headstart.data.issues.duplicates.find_duplicates`.
    """
    images, near = checked.manifest.usable, checked.near_duplicates
    if near is None:
        return
    near = replace(near, pairs=tuple(pair for pair in near.pairs if not pair.identical))
    uris = images.uris
    nearest: dict[int, NearPair] = {}
    # A frame may agree best with one that is further away.
    for pair in sorted(near.pairs, key=lambda pair: not pair.burst):  # else the surest first
        for row in pair.rows:
            nearest.setdefault(row, pair)
    for group in near.groups():
        kept = _largest(images, group)
        for row in group:
            if row == kept:
                continue
            pair = nearest[row]
            other = pair.other(row)
            related = (other, *(each for each in group if each not in (row, other)))
            size = f", in a group of {len(group)}" if len(group) > 2 else ""
            yield Issue(
                "burst" if pair.burst else "near-duplicate",
                uris[row],
                max(pair.agreement, 0.0),
                f"{relation(pair)} {display_name(uris[other])}{size}",
                GROUP,
                related=tuple(uris[each] for each in related),
            )


def find_conflicting_near_duplicates(checked: CheckedImages) -> Iterator[Issue]:
    """The images of which a near-duplicate has another label: one of the two is wrong, and no one can tell which."""
    images, near = checked.manifest.usable, checked.near_duplicates
    uris, labels = images.uris, images.labels
    told: set[int] = set()
    for pair in near.pairs if near is not None else ():
        if None in (labels[pair.rows[0]], labels[pair.rows[1]]) or labels[pair.rows[0]] == labels[pair.rows[1]]:
            continue
        for row in pair.rows:
            other = pair.other(row)
            if row not in told:
                told.add(row)
                text = f"{relation(pair)} {display_name(uris[other])}, which has the label {labels[other]!r}"
                yield Issue(
                    "conflicting-labels", uris[row], max(pair.agreement, 0.0), text, LOOK, related=(uris[other],)
                )


def _largest(images: Manifest, rows: tuple[int, ...]) -> int:
    """The image with the most pixels; of those, that with the largest file, and of those, the first."""
    facts = images.select(list(rows)).table.select(["width", "height", "bytes"]).to_pylist()
    sizes = [((fact["width"] or 0) * (fact["height"] or 0), fact["bytes"] or 0) for fact in facts]
    return rows[sizes.index(max(sizes))]
