"""Near-duplicates: images that are copies of each other but for size, compression, border, orientation or brightness,
and frames of one burst or video.

Candidates are the pairs whose features are as near as those of an image and its copy; a pair counts once the pixels of
both agree as well (:mod:`headstart.data.pixel_agreement`). Both thresholds come from copies that are made of some
images of the set itself (:class:`Thresholds`).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from headstart.data.decode import decode
from headstart.data.manifest import Manifest
from headstart.data.pixel_agreement import Thumbnail, compare, gray_thumbnail
from headstart.data.sources.base import ImageReference
from headstart.data.uri import display_name
from headstart.data.value_range import ValueRange
from headstart.data.vectors import normalized
from headstart.errors import ImageProblem
from headstart.events import Events
from headstart.execution import open_executor
from headstart.execution.memory import trim_heap

__all__ = [
    "MAX_IMAGES",
    "MIN_SIDE",
    "NearDuplicates",
    "NearPair",
    "Thresholds",
    "comparable_rows",
    "find_near_duplicates",
    "nearest_pairs",
]

MAX_IMAGES = 100_000
"""With more, every pair of features is not compared: it would take minutes."""

MIN_SIDE = 32
"""Pixels: smaller images, as those of single digits, show too little to tell copies from images of the same thing."""

_BLOCK = 2048  # rows: as float32, and their cosines, a block takes tens of megabytes
_MIN_PAIRS = 1000
_PREPARED = 256  # thumbnails; each takes 80 kB, and pairs come in the order of their first images
_AHEAD = 256  # images to read while others are compared
_MISSED = 0.02  # share of the copies that a threshold may leave out
_LOWEST_COSINE, _AGREEMENT = 0.5, (0.85, 0.92)
_SAME = 0.999  # cosine from which on it is worth comparing every pixel
_BURST_AGREEMENT = 0.6  # of frames, between which something moves
_BURST_DISTANCE = 2  # between the numbers of two names, since a frame may be missing
_CHAIN = 30  # images that are joined by any pair; larger groups only if half of the pairs between them are found
_NUMBER = re.compile(r"(\d{1,9})(?=\D*$)")


@dataclass(frozen=True)
class Thresholds:
    """From which value on two images count as near-duplicates."""

    cosine: float  # of the angle between their features
    agreement: float  # correlation of their pixels

    @classmethod
    def from_copies(cls, cosines: NDArray[np.float32], agreements: NDArray[np.float32]) -> Thresholds:
        """The values that 98 % of altered copies reach with their originals.

        That of the pixels is kept in [0.85, 0.92]: few copies of few images say little about its tail, and different
        images of one object were found from 0.8 on (benchmarks/accuracy/near_duplicates.py).

        >>> Thresholds.from_copies(np.array([0.97, 0.93], np.float32), np.array([0.99, 0.98], np.float32))
        Thresholds(cosine=0.931, agreement=0.920)
        """
        cosine = max(float(np.quantile(cosines, _MISSED)), _LOWEST_COSINE)
        return cls(cosine, float(np.clip(np.quantile(agreements, _MISSED), *_AGREEMENT)))

    def __repr__(self) -> str:
        return f"Thresholds(cosine={self.cosine:.3f}, agreement={self.agreement:.3f})"


@dataclass(frozen=True)
class NearPair:
    """Two images that are near-duplicates."""

    rows: tuple[int, int]  # ascending
    cosine: float
    agreement: float
    mirrored: bool = False
    burst: bool = False  # their names are neighbors, as those of two frames
    identical: bool = False  # every pixel is the same, only the files differ

    def other(self, row: int) -> int:
        """The row of the other image."""
        return self.rows[0] if row == self.rows[1] else self.rows[1]


@dataclass(frozen=True)
class NearDuplicates:
    """The near-duplicates among images; of images with the same content, the first stands for all."""

    images: int
    pairs: tuple[NearPair, ...]  # the surest first
    thresholds: Thresholds
    candidates: int = 0  # pairs whose pixels were compared
    complete: bool = True  # whether these were all pairs above the threshold of the features

    def groups(self) -> list[tuple[int, ...]]:
        """The rows of each group of near-duplicates, ascending, in the order of their first rows.

        Pairs join groups, the surest first, but no chain joins a whole class: a group of more than 30 images is made
        only of groups between which half of the pairs were found.

        >>> pairs = [NearPair(rows, 0.9, 0.95) for rows in ((0, 2), (2, 5), (1, 3))]
        >>> NearDuplicates(6, tuple(pairs), Thresholds(0.9, 0.9)).groups()
        [(0, 2, 5), (1, 3)]
        """
        members: dict[int, list[int]] = {}
        group: dict[int, int] = {}
        found = {pair.rows for pair in self.pairs}
        for pair in self.pairs:
            first, second = (group.setdefault(row, row) for row in pair.rows)
            one, other = members.setdefault(first, [first]), members.setdefault(second, [second])
            if one is other or not _may_join(one, other, found):
                continue
            one += other
            group.update(dict.fromkeys(other, first))
            members[second] = []
        return sorted(tuple(sorted(rows)) for rows in members.values() if len(rows) > 1)

    def numbers(self) -> NDArray[np.int64]:
        """The number of each image's group, (images,); images without near-duplicates have one of their own."""
        numbers = np.arange(self.images)
        for rows in self.groups():
            numbers[list(rows)] = rows[0]
        return numbers


def _may_join(one: Sequence[int], other: Sequence[int], found: set[tuple[int, int]]) -> bool:
    if len(one) + len(other) <= _CHAIN:
        return True
    between = sum((min(a, b), max(a, b)) in found for a in one for b in other)
    return 2 * between >= len(one) * len(other)


def find_near_duplicates(
    manifest: Manifest,
    vectors: NDArray[np.floating],
    thresholds: Thresholds,
    *,
    max_pixels: int,
    value_ranges: Sequence[ValueRange] = (),
    every_pixel: bool = True,
    workers: int | None = None,
    events: Events | None = None,
) -> NearDuplicates:
    """Find the near-duplicates among usable, inspected images of at least 32 pixels a side.

    The pixels are compared of at most as many pairs as there are images (or 1,000), those with the nearest features.

    :param vectors: features, (N, D), a row for each image of the manifest.
    :param every_pixel: whether to find out which pairs are identical; this decodes both images whole.
    :raises ValueError: the numbers of rows differ.
    """
    count = len(manifest)
    if len(vectors) != count:
        raise ValueError(f"vectors must have a row for each of the {count:,} images, got {len(vectors):,}")
    if count > MAX_IMAGES:
        return NearDuplicates(count, (), thresholds, complete=False)
    distinct = comparable_rows(manifest)
    limit = max(_MIN_PAIRS, len(distinct))
    compared = vectors if len(distinct) == count else vectors[distinct]
    nearest, cosines, complete = nearest_pairs(compared, thresholds.cosine, limit=limit)
    trim_heap()  # of the blocks
    rows, uris, pairs = distinct[nearest], manifest.uris, []
    read = _thumbnails(manifest, rows.tolist(), max_pixels, value_ranges, workers)
    with closing(read), (events or Events()).stage("comparing near images", total=len(rows), unit="pair") as advance:
        for (first, second), cosine, (one, other) in zip(rows.tolist(), cosines.tolist(), read, strict=True):
            advance(1)
            if one is None or other is None:
                continue
            found = compare(one, other)
            frames = found.correlation >= _BURST_AGREEMENT and not found.mirrored
            frames = frames and are_frames(uris[first], uris[second])
            if not frames and found.correlation < thresholds.agreement:
                continue
            same = every_pixel and cosine > _SAME and _identical(manifest, first, second, max_pixels, value_ranges)
            burst = frames and not same
            pairs.append(NearPair((first, second), cosine, found.correlation, found.mirrored, burst, same))
    pairs.sort(key=lambda pair: (-pair.agreement, pair.rows))
    return NearDuplicates(count, tuple(pairs), thresholds, len(rows), complete)


def comparable_rows(manifest: Manifest) -> NDArray[np.int64]:
    """The first row of each content, ascending, without the images that are too small."""
    first: dict[object, int] = {}
    for row, content in enumerate(manifest.hashes):
        first.setdefault(row if content is None else content, row)
    rows = np.array(sorted(first.values()), np.int64)
    sides = [np.array(manifest.table[name].to_pylist(), np.float64)[rows] for name in ("width", "height")]
    return rows[np.minimum(*sides) >= MIN_SIDE]


def nearest_pairs(
    vectors: NDArray[np.floating], cosine: float, *, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], bool]:
    """The pairs of vectors whose cosine is at least ``cosine``, by exact search.

    :param limit: the most pairs; of more, those with the highest cosines.
    :returns: rows (P, 2), each pair once, sorted; their cosines (P,); whether no pair was left out.

    >>> pairs, cosines, complete = nearest_pairs(np.array([[1, 0], [0, 1], [2, 0]], np.float32), 0.9, limit=10)
    >>> pairs.tolist(), cosines.tolist(), complete
    ([[0, 2]], [1.0], True)
    """
    pairs, values, complete = np.empty((0, 2), np.int64), np.empty(0, np.float32), True
    starts = range(0, len(vectors), _BLOCK)
    for top, left in ((top, left) for top in starts for left in starts if left >= top):
        if left == top:
            rows = normalized(vectors[top : top + _BLOCK])
        block = rows @ (rows if left == top else normalized(vectors[left : left + _BLOCK])).T
        one, other = np.nonzero(block >= cosine)
        above = other + left > one + top
        new = np.stack([one[above] + top, other[above] + left], axis=1)
        pairs, values = np.concatenate([pairs, new]), np.concatenate([values, block[one[above], other[above]]])
        if len(pairs) > limit:
            kept = np.argpartition(-values, limit)[:limit]
            pairs, values, complete = pairs[kept], values[kept], False
            cosine = float(values.min())
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], np.minimum(values[order], 1), complete


def are_frames(first: str, second: str) -> bool:
    """Whether the names of two images differ in their last number alone, and little, as those of frames do.

    >>> are_frames("/photos/IMG_0041.jpg", "/photos/IMG_0042.jpg"), are_frames("/a/IMG_0041.jpg", "/b/IMG_0042.jpg")
    (True, False)
    >>> are_frames("/photos/IMG_0041.jpg", "/photos/IMG_0052.jpg")
    False
    """
    one, other = _series(first), _series(second)
    return one is not None and other is not None and one[0] == other[0] and abs(one[1] - other[1]) <= _BURST_DISTANCE


def _series(uri: str) -> tuple[str, int] | None:
    """What a name has in common with those of a series, and its number in it; None if it has no number."""
    path = PurePath(display_name(uri))
    found = _NUMBER.search(path.stem)
    if found is None:
        return None
    return f"{path.parent}/{path.stem[: found.start()]}*{path.stem[found.end() :]}{path.suffix}", int(found[1])


def _thumbnails(
    manifest: Manifest,
    pairs: Sequence[Sequence[int]],
    max_pixels: int,
    ranges: Sequence[ValueRange],
    workers: int | None,
) -> Generator[tuple[Thumbnail | None, Thumbnail | None], None, None]:
    """The thumbnails of both images of each pair, None for an image that has vanished since it was inspected.

    Each is read once, ahead of its first pair, and kept until its last one: in memory are those of few pairs.
    """
    rows = list(dict.fromkeys(row for pair in pairs for row in pair))
    last = {row: number for number, pair in enumerate(pairs) for row in pair}
    look = partial(_gray, max_pixels=max_pixels, value_ranges=ranges)
    gray: dict[int, NDArray[np.uint8] | None] = {}

    @lru_cache(_PREPARED)
    def prepared(row: int) -> Thumbnail | None:
        values = gray[row]
        return None if values is None else Thumbnail(values)

    with open_executor(len(rows), workers=workers, kind="threads") as executor:
        read = zip(rows, executor.map(look, (manifest.source(row) for row in rows), ahead=_AHEAD), strict=True)
        for number, (first, second) in enumerate(pairs):
            while first not in gray or second not in gray:
                row, values = next(read)
                gray[row] = values
            yield prepared(first), prepared(second)
            for row in (first, second):
                if last[row] == number:
                    del gray[row]


def _gray(image: ImageReference, *, max_pixels: int, value_ranges: Sequence[ValueRange]) -> NDArray[np.uint8] | None:
    try:
        return gray_thumbnail(image, max_pixels=max_pixels, value_ranges=value_ranges)
    except ImageProblem:  # it has vanished since it was inspected
        return None


def _identical(manifest: Manifest, first: int, second: int, max_pixels: int, ranges: Sequence[ValueRange]) -> bool:
    try:
        one, other = (
            decode(manifest.source(row), max_pixels=max_pixels, value_ranges=ranges) for row in (first, second)
        )
    except ImageProblem:
        return False
    return one.size == other.size and one.tobytes() == other.tobytes()
