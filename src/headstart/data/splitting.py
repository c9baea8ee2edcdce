"""Train, validation and test splits: stratified by label, repeatable, never with the same image in two of them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.data.groups import group_numbers, numbered
from headstart.data.manifest import SPLITS, Manifest
from headstart.errors import DataError, SettingsError

__all__ = ["DEFAULT_VALIDATION_SHARE", "assign_split", "split_by_order"]

DEFAULT_VALIDATION_SHARE = 0.2
"""The share of the images in the validation split by default."""

_NONE, _TRAIN, _VALIDATION, _TEST = range(-1, 3)  # positions in SPLITS


def assign_split(
    manifest: Manifest,
    *,
    validation_share: float = DEFAULT_VALIDATION_SHARE,
    test_share: float = 0.0,
    seed: int = 0,
    alike: NDArray[np.int64] | None = None,
) -> Manifest:
    """Assign a split to every usable row with a label.

    Each class gives its share to validation and test, but keeps one image to train on; with few images per class, the
    classes that give one are drawn at random. Rows with the same content or of the same group stay together. The draw
    depends only on the content of the images and the seed, not on the order of the rows.

    Rows that have a split keep it; but if no row is in "validation" (or "test"), it is drawn from "train".

    :param alike: numbers of sets of rows that stay together as well, (N,), as those of near-duplicates.
    :raises SettingsError: shares that leave nothing to train on, or nothing to validate and test on.
    :raises DataError: rows have splits, but none of them is left to train on.
    """
    if not (validation_share >= 0 and test_share >= 0 and 0 < validation_share + test_share < 1):
        raise SettingsError(
            "validation_share and test_share must be at least 0 and together between 0 and 1 (0.2 is a fifth), "
            f"got validation_share={validation_share} and test_share={test_share}"
        )
    table = manifest.table
    usable = pc.and_(table["problem"].is_null(), table["label"].is_valid())
    rows = np.flatnonzero(usable.to_numpy())
    splits = np.asarray(pc.index_in(table["split"], value_set=pa.array(SPLITS)).fill_null(-1).to_numpy(), np.int64)
    given = {SPLITS[number] for number in np.unique(splits[rows]) if number >= 0}
    if given and not np.isin(splits[rows], (_TRAIN, _NONE)).any():
        raise DataError("no usable image with a label is in the train split: put some into train, or give no splits")
    requested = {"test": test_share, "validation": validation_share}
    shares = {split: share for split, share in requested.items() if share and split not in given}
    together = _components(manifest, rows, seed, alike)
    before = splits[together.rows]
    # The split of each component that has one: others go where some of it must be.
    held_out = np.full(len(together.ends), _NONE)
    for number in (_VALIDATION, _TEST):
        held_out[together.numbers[before == number]] = number
    splits[together.rows] = np.where(before == _NONE, np.maximum(held_out[together.numbers], _TRAIN), before)
    labels = table["label"].unique().drop_null().to_pylist()
    codes = numbered(table["label"])[together.rows]
    pool = np.flatnonzero(held_out == _NONE)
    chosen = _draw(together, pool, codes, labels, shares, seed)[together.numbers]
    splits[together.rows[chosen != _NONE]] = chosen[chosen != _NONE]
    numbers = pa.array(splits, mask=splits == _NONE)
    return manifest.with_column("split", pa.array(SPLITS).take(numbers))


def split_by_order(
    manifest: Manifest, *, validation_share: float = DEFAULT_VALIDATION_SHARE, test_share: float = 0.0
) -> Manifest:
    """Assign splits by the order of the rows: train first, then validation, then test.

    As Keras's ``validation_split`` does. Only correct if the rows are in random order; the same image may be in two
    splits. Rows that cannot be used are counted, but get no split.

    >>> rows = Manifest.from_rows(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], labels=["cat", "dog", "cat", "dog"])
    >>> split_by_order(rows, validation_share=0.25).splits
    ['train', 'train', 'train', 'validation']
    """
    count = len(manifest)
    first, second = int(count * (1 - validation_share - test_share)), int(count * (1 - test_share))
    parts = np.repeat(SPLITS, (first, second - first, count - second))
    usable = pc.and_(manifest.table["problem"].is_null(), manifest.table["label"].is_valid()).to_numpy()
    return manifest.with_column("split", pa.array(parts, pa.string(), mask=~usable))


@dataclass(frozen=True)
class _Components:
    """Sets of rows that must stay together, one set after the other."""

    rows: NDArray[np.int64]  # (N,)
    numbers: NDArray[np.int64]  # of the set of each of these rows, (N,), ascending
    ends: NDArray[np.int64]  # of each set in ``rows``


def _components(manifest: Manifest, rows: NDArray[np.int64], seed: int, alike: NDArray[np.int64] | None) -> _Components:
    """Rows that must stay together because of their hash or group, in an order drawn from their content."""
    numbers = group_numbers(manifest.select(rows), None if alike is None else alike[rows])
    contents = pc.coalesce(manifest.table["hash"], manifest.table["uri"]).take(pa.array(rows))
    drawn = np.fromiter((_drawn(seed, content) for content in contents), np.uint64, len(rows))
    lowest = np.full(int(numbers.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, numbers, drawn)
    place = np.empty(len(lowest), np.int64)
    place[np.argsort(lowest, kind="stable")] = np.arange(len(lowest))
    places = place[numbers]
    order = np.argsort(places, kind="stable")
    return _Components(rows[order], places[order], np.cumsum(np.bincount(places, minlength=len(lowest))))


def _draw(
    together: _Components,
    pool: NDArray[np.int64],
    codes: NDArray[np.int64],
    labels: Sequence[str],
    shares: dict[str, float],
    seed: int,
) -> NDArray[np.int64]:
    """The split that is drawn for each component, as a position in :data:`SPLITS`; -1 for those that are left.

    In their order, each goes to the first split whose counts of labels it brings nearer to the quotas.

    :param pool: the components to draw from.
    :param codes: the positions in ``labels`` of the labels of ``together.rows``, (N,).
    """
    left = np.bincount(codes[np.isin(together.numbers, pool)], minlength=len(labels)).tolist()  # to train on
    counts = Counter({label: count for label, count in zip(labels, left, strict=True) if count})
    wanted: dict[str, list[int]] = {}
    for split, share in shares.items():
        taken = [sum(each) for each in zip(*wanted.values(), strict=True)] or [0] * len(labels)
        limits = {label: counts[label] - 1 - other for label, other in zip(labels, taken, strict=True)}
        quotas = _quotas(counts, limits, share, f"{seed}:{split}")
        wanted[split] = [quotas.get(label, 0) for label in labels]
    drawn = np.full(len(together.ends), _NONE)
    every, ends = codes.tolist(), [0, *together.ends.tolist()]
    for number in pool.tolist():
        sizes = Counter(every[ends[number] : ends[number + 1]])
        if any(left[code] - size < 1 for code, size in sizes.items()):
            continue
        for split, missing in wanted.items():
            gain = sum(abs(missing[code]) - abs(missing[code] - size) for code, size in sizes.items())
            if gain > 0:
                drawn[number] = SPLITS.index(split)
                for code, size in sizes.items():
                    left[code] -= size
                    missing[code] -= size
                break
    return drawn


def _quotas(counts: Counter[str], limits: dict[str, int], share: float, salt: str) -> dict[str, int]:
    """How many images of each class belong in a split: its share, rounded by largest remainder."""
    exact = {label: count * share for label, count in counts.items()}
    quotas = {label: max(0, min(math.floor(value), limits[label])) for label, value in exact.items()}
    unassigned = max(1, round(counts.total() * share)) - sum(quotas.values())
    for label in sorted(counts, key=lambda label: (math.floor(exact[label]) - exact[label], _drawn(salt, label))):
        if unassigned > 0 and quotas[label] < min(limits[label], exact[label]):
            quotas[label] += 1
            unassigned -= 1
    return quotas


def _drawn(salt: object, value: object) -> int:
    return int.from_bytes(hashlib.blake2b(f"{salt}:{value}".encode(), digest_size=8).digest(), "big")
