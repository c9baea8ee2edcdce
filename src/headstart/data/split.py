"""Who trains and who is examined: stratified by label, repeatable, and never the same picture on both sides."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

from headstart.data.manifest import Manifest
from headstart.errors import DataError, SettingsError

__all__ = ["VALIDATION", "assign_split", "last_rows"]

VALIDATION = 0.2
"""The share of the images that settings are chosen on where nobody says otherwise."""


def assign_split(manifest: Manifest, *, validation: float = 0.2, test: float = 0.0, seed: int = 0) -> Manifest:
    """Set the split of every usable labelled row.

    Each class gives its share to validation and test, but keeps one image to train on; with few images a class, the
    classes that give one are drawn. Rows with the same content, or of the same group, stay together. What is drawn
    depends on the content of the images and the seed alone, not on the order of rows.

    Splits that rows already have stay, but where no row has "validation" (or "test"), it is cut out of "train".

    SettingsError: shares that leave nothing. DataError: splits are given, and none is left to train on.
    """
    if not (validation >= 0 and test >= 0 and 0 < validation + test < 1):
        raise SettingsError(
            "validation and test must be shares of at least 0 that together lie between 0 and 1 (0.2 is a fifth), "
            f"got validation={validation} and test={test}"
        )
    labels, splits = manifest.labels, manifest.splits
    rows = [i for i, bad in enumerate(manifest.problems) if bad is None and labels[i] is not None]
    given = {splits[i] for i in rows} - {None}
    if given and not any(splits[i] in ("train", None) for i in rows):
        raise DataError("splits are given, but no usable labelled image is in train: name some, or give no splits")
    shares = {part: share for part, share in {"test": test, "validation": validation}.items() if share}
    shares = {part: share for part, share in shares.items() if part not in given}
    pool: list[list[int]] = []
    for together in _components(manifest, rows, seed):
        held_out = next((part for part in ("test", "validation") if any(splits[i] == part for i in together)), None)
        free = [i for i in together if splits[i] in ("train", None)]
        if held_out is None:
            pool.append(free)
        for i in free:
            splits[i] = splits[i] or held_out or "train"
    names = [[str(labels[i]) for i in together] for together in pool]
    for part, chosen in _draw(names, shares, seed).items():
        for number in chosen:
            for i in pool[number]:
                splits[i] = part
    return manifest.with_column("split", splits)


def last_rows(manifest: Manifest, *, validation: float = 0.2, test: float = 0.0) -> Manifest:
    """Set the split by the order of rows: those to train on first, then validation, then test.

    As Keras's ``validation_split`` does. Right only where the order means nothing; the same picture may stand on both
    sides. Rows that cannot be used count, and are of no part.

    >>> rows = Manifest.from_rows(["a.jpg", "b.jpg", "c.jpg", "d.jpg"], labels=["cat", "dog", "cat", "dog"])
    >>> last_rows(rows, validation=0.25).splits
    ['train', 'train', 'train', 'validation']
    """
    count = len(manifest)
    first, second = int(count * (1 - validation - test)), int(count * (1 - test))
    parts = ["train"] * first + ["validation"] * (second - first) + ["test"] * (count - second)
    usable = [bad is None and label is not None for bad, label in zip(manifest.problems, manifest.labels, strict=True)]
    return manifest.with_column("split", [part if can else None for part, can in zip(parts, usable, strict=True)])


def _components(manifest: Manifest, rows: list[int], seed: int) -> list[list[int]]:
    """Rows that hang together by hash or group, in an order drawn from their content."""
    uris, hashes, groups = manifest.uris, manifest.hashes, manifest.table["group"].to_pylist()
    parent: dict[tuple[str, object], tuple[str, object]] = {}

    def top(node: tuple[str, object]) -> tuple[str, object]:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    keys = {i: ("hash", hashes[i]) if hashes[i] else ("uri", uris[i]) for i in rows}
    for i in rows:
        if groups[i] is not None:
            parent[top(keys[i])] = top(("group", groups[i]))
    together: dict[tuple[str, object], list[int]] = {}
    for i in rows:
        together.setdefault(top(keys[i]), []).append(i)
    drawn = {i: _drawn(seed, keys[i][1]) for i in rows}
    return sorted(together.values(), key=lambda members: min(drawn[i] for i in members))


def _draw(names: list[list[str]], shares: dict[str, float], seed: int) -> dict[str, list[int]]:
    """Which of the components, each a list of its images' labels, go to which part.

    Taken in their order, one goes where it brings the numbers of its labels nearer to what the part shall have.
    """
    counts = Counter(label for component in names for label in component)
    left = counts.copy()  # to train on
    wanted: dict[str, dict[str, int]] = {}
    for part, share in shares.items():
        most = {label: counts[label] - 1 - sum(other[label] for other in wanted.values()) for label in counts}
        wanted[part] = _quotas(counts, most, share, f"{seed}:{part}")
    chosen: dict[str, list[int]] = {part: [] for part in shares}
    for number, component in enumerate(names):
        sizes = Counter(component)
        if any(left[label] - size < 1 for label, size in sizes.items()):
            continue
        for part, missing in wanted.items():
            gain = sum(abs(missing[label]) - abs(missing[label] - size) for label, size in sizes.items())
            if gain > 0:
                chosen[part].append(number)
                left.subtract(sizes)
                wanted[part] = {**missing, **{label: missing[label] - size for label, size in sizes.items()}}
                break
    return chosen


def _quotas(counts: Counter[str], most: dict[str, int], share: float, salt: str) -> dict[str, int]:
    """How many images of each class a part shall have: its share, rounded by largest remainder."""
    exact = {label: count * share for label, count in counts.items()}
    quotas = {label: max(0, min(math.floor(value), most[label])) for label, value in exact.items()}
    open_places = max(1, round(counts.total() * share)) - sum(quotas.values())
    for label in sorted(counts, key=lambda label: (math.floor(exact[label]) - exact[label], _drawn(salt, label))):
        if open_places > 0 and quotas[label] < min(most[label], exact[label]):
            quotas[label] += 1
            open_places -= 1
    return quotas


def _drawn(salt: object, value: object) -> bytes:
    return hashlib.blake2b(f"{salt}:{value}".encode(), digest_size=8).digest()
