"""Train, validation and test splits: stratified by label, repeatable, never with the same image in two of them."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from headstart.data.groups import group_numbers
from headstart.data.manifest import Manifest
from headstart.errors import DataError, SettingsError

__all__ = ["DEFAULT_VALIDATION_SHARE", "assign_split", "split_by_order"]

DEFAULT_VALIDATION_SHARE = 0.2
"""The share of the images in the validation split by default."""


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
    labels, splits = manifest.labels, manifest.splits
    rows = [i for i, bad in enumerate(manifest.problems) if bad is None and labels[i] is not None]
    given = {splits[i] for i in rows} - {None}
    if given and not any(splits[i] in ("train", None) for i in rows):
        raise DataError("no usable image with a label is in the train split: put some into train, or give no splits")
    requested = {"test": test_share, "validation": validation_share}
    shares = {split: share for split, share in requested.items() if share and split not in given}
    pool: list[list[int]] = []
    for together in _components(manifest, rows, seed, alike):
        held_out = next((split for split in ("test", "validation") if any(splits[i] == split for i in together)), None)
        free = [i for i in together if splits[i] in ("train", None)]
        if held_out is None:
            pool.append(free)
        for i in free:
            splits[i] = splits[i] or held_out or "train"
    names = [[str(labels[i]) for i in together] for together in pool]
    for split, chosen in _draw(names, shares, seed).items():
        for number in chosen:
            for i in pool[number]:
                splits[i] = split
    return manifest.with_column("split", splits)


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
    splits = ["train"] * first + ["validation"] * (second - first) + ["test"] * (count - second)
    usable = [bad is None and label is not None for bad, label in zip(manifest.problems, manifest.labels, strict=True)]
    return manifest.with_column("split", [split if can else None for split, can in zip(splits, usable, strict=True)])


def _components(manifest: Manifest, rows: list[int], seed: int, alike: NDArray[np.int64] | None) -> list[list[int]]:
    """Rows that must stay together because of their hash or group, in an order drawn from their content."""
    uris, hashes = manifest.uris, manifest.hashes
    together: dict[int, list[int]] = {}
    numbers = group_numbers(manifest.select(rows), None if alike is None else alike[rows])
    for i, number in zip(rows, numbers.tolist(), strict=True):
        together.setdefault(number, []).append(i)
    drawn = {i: _drawn(seed, hashes[i] or uris[i]) for i in rows}
    return sorted(together.values(), key=lambda members: min(drawn[i] for i in members))


def _draw(names: list[list[str]], shares: dict[str, float], seed: int) -> dict[str, list[int]]:
    """Which of the components, each a list of its images' labels, go to which split.

    In their order, each goes to the first split whose counts of labels it brings nearer to the quotas.
    """
    counts = Counter(label for component in names for label in component)
    left = counts.copy()  # to train on
    wanted: dict[str, dict[str, int]] = {}
    for split, share in shares.items():
        limits = {label: counts[label] - 1 - sum(other[label] for other in wanted.values()) for label in counts}
        wanted[split] = _quotas(counts, limits, share, f"{seed}:{split}")
    chosen: dict[str, list[int]] = {split: [] for split in shares}
    for number, component in enumerate(names):
        sizes = Counter(component)
        if any(left[label] - size < 1 for label, size in sizes.items()):
            continue
        for split, missing in wanted.items():
            gain = sum(abs(missing[label]) - abs(missing[label] - size) for label, size in sizes.items())
            if gain > 0:
                chosen[split].append(number)
                left.subtract(sizes)
                wanted[split] = {**missing, **{label: missing[label] - size for label, size in sizes.items()}}
                break
    return chosen


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


def _drawn(salt: object, value: object) -> bytes:
    return hashlib.blake2b(f"{salt}:{value}".encode(), digest_size=8).digest()
