"""Which classes of a pretrained head are those of a data set, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["match"]


def match(labels: Sequence[str], pretrained: Sequence[str]) -> dict[int, list[int]]:
    """For each label, by position, the pretrained classes that have it as a name or synonym.

    Case, underscores, hyphens and a trailing WordNet identifier do not count. More than one class may have the name:
    a cardigan is a dog and a garment.

    >>> match(["boston_bull", "cardigan", "unheard of"], ["Boston bull, Boston terrier", "Cardigan, corgi", "cardigan"])
    {0: [0], 1: [1, 2]}
    """
    having: dict[str, list[int]] = {}
    for index, name in enumerate(pretrained):
        for synonym in {_plain(name), *map(_plain, name.split(","))}:
            having.setdefault(synonym, []).append(index)
    having.pop("", None)  # names of nothing but punctuation
    found = {position: having.get(_plain(label), []) for position, label in enumerate(labels)}
    return {position: indices for position, indices in found.items() if indices}


def _plain(name: str) -> str:
    return " ".join(re.sub(r"\(n\d{8}\)|[_\-.']", " ", name.casefold()).split())
