"""Class names that may be one class, and classes with few images."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations

from headstart.data.issues.base import LOOK, CheckedImages, Issue
from headstart.data.label_checks import name_key

__all__ = ["FEW", "IMBALANCE", "find_class_names", "find_few_images", "find_imbalance", "same_but_for"]

FEW = 2
"""Up to so many images a class has few."""

IMBALANCE = 10
"""How many times as many images as the smallest class the largest one must have for the set to be called imbalanced."""

_LONG = 5  # letters of a word from which on one letter may be a typing error: "cat" and "rat" are two animals
_PLURALS = (("ies", "y"), ("ses", "s"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", ""))
_SHORTEST = 3  # letters of a singular
_SHOWN = 3


def find_class_names(checked: CheckedImages) -> Iterator[Issue]:
    """Pairs of class names that may be two spellings of one."""
    counts = _counts(checked)
    for rare, usual, difference in _similar(counts):
        evidence = (
            f"{rare!r} ({_images(counts[rare])}) and {usual!r} ({_images(counts[usual])}) differ only in {difference}"
        )
        score = 1.0 if difference == _SPELLING else 0.8 if difference == _PLURAL else 0.6
        yield Issue("class-name", None, score, evidence, LOOK, related=_examples(checked, rare))


def find_few_images(checked: CheckedImages) -> Iterator[Issue]:
    """The classes with one or two images."""
    for name, count in sorted(_counts(checked).items(), key=lambda each: (each[1], each[0])):
        if count <= FEW:
            evidence = f"the class {name!r} has {_images(count)}"
            yield Issue("few-images", None, 1 / (1 + count), evidence, LOOK, related=_examples(checked, name))


def find_imbalance(checked: CheckedImages) -> Iterator[Issue]:
    """Classes with far more images than others."""
    counts = _counts(checked)
    if len(counts) < 2:
        return
    most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio = counts[most] / counts[least]
    if ratio >= IMBALANCE:
        evidence = (
            f"the largest class, {most!r}, has {_images(counts[most])}, {ratio:,.0f} times as many as the smallest, "
            f"{least!r}, with {counts[least]:,}"
        )
        yield Issue("imbalance", None, 1 - 1 / ratio, evidence, LOOK)


_SPELLING = "case, spaces, underscores or Unicode form"
_PLURAL = "singular and plural"
_LETTER = "one letter, or two that are swapped"


def same_but_for(one: str, other: str) -> str | None:
    """What two class names differ in, if it is so little that they may be one class.

    Names that differ in a digit, or in a word of fewer than five letters, are two classes.

    >>> same_but_for("Beagle", "beagle"), same_but_for("beagle", "beagles")
    ('case, spaces, underscores or Unicode form', 'singular and plural')
    >>> same_but_for("golden retriever", "golden retreiver")
    'one letter, or two that are swapped'
    >>> [same_but_for(*names) for names in (("class 1", "class 2"), ("cat", "rat"), ("type a", "type b"))]
    [None, None, None]
    """
    first, second = name_key(one), name_key(other)
    if first == second:
        return _SPELLING
    if _singular(first) == _singular(second):
        return _PLURAL
    words = list(zip(_words(first), _words(second), strict=False))
    if len(_words(first)) != len(_words(second)):
        return None
    different = [(a, b) for a, b in words if a != b]
    if len(different) == 1 and min(map(len, different[0])) >= _LONG and _one_slip(*different[0]):
        return _LETTER
    return None


def _similar(counts: Counter[str]) -> Iterator[tuple[str, str, str]]:
    """Pairs of names, the one with fewer images first, that differ in little.

    Names one slip apart share a form with at most one letter left out, so that only these are compared.
    """
    forms: dict[str, set[str]] = defaultdict(set)
    for name in counts:
        key = name_key(name)
        for form in {_singular(key), key, *(key[:place] + key[place + 1 :] for place in range(len(key)))}:
            forms[form].add(name)
    pairs = {pair for names in forms.values() if len(names) > 1 for pair in combinations(sorted(names), 2)}
    for pair in sorted(pairs):
        difference = same_but_for(*pair)
        if difference is not None:
            rare, usual = sorted(pair, key=lambda name: (counts[name], name))
            yield rare, usual, difference


def _one_slip(one: str, other: str) -> bool:
    """Whether words differ in one letter more, less or changed, or in two neighbors that are swapped."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    if any(character.isdigit() for character in one + other):
        return False
    return max(len(one), len(other)) <= 1 or (len(one) == len(other) == 2 and one == other[::-1])


def _singular(name: str) -> str:
    return " ".join(map(_singular_word, _words(name)))


def _singular_word(word: str) -> str:
    for end, singular in _PLURALS:
        made = word.removesuffix(end) + singular
        if word.endswith(end) and len(made) >= _SHORTEST:
            return made
    return word


def _words(name: str) -> Sequence[str]:
    return re.findall(r"\w+", name)


def _counts(checked: CheckedImages) -> Counter[str]:
    return Counter(label for label in checked.manifest.usable.labels if label is not None)


def _examples(checked: CheckedImages, name: str) -> tuple[str, ...]:
    usable = checked.manifest.usable
    found = (uri for uri, label in zip(usable.uris, usable.labels, strict=True) if label == name)
    return tuple(uri for uri, _ in zip(found, range(_SHOWN), strict=False))


def _images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
