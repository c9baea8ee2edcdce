"""Checks of class names: spellings of one name, and several labels in one."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable

from headstart.errors import DataError

__all__ = ["check_class_names", "name_key", "separator_of_several_labels"]

_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")  # zero-width characters and the soft hyphen
_ALPHABET = 5  # letters that occur in both cases, from which on "a" and "A" are classes of an alphabet
_SHOWN = 5


def check_class_names(names: Iterable[str]) -> None:
    """Check that no two class names are the same but for case, spaces or underscores, or Unicode form.

    The letters of an alphabet are excepted: where names are single letters and at least five of them occur in both
    cases, ``a`` and ``A`` are two classes.

    :raises DataError: some are; the message lists them.

    >>> check_class_names(["cat", "dog", "Cat"])
    Traceback (most recent call last):
    headstart.errors.DataError: class names differ only in case, spaces, underscores or Unicode form: 'Cat' and 'cat'; \
if that is one class, write it in one way; if these are different classes, rename them
    """
    by_key: dict[str, set[str]] = defaultdict(set)
    for name in names:
        by_key[name_key(name)].add(name)
    groups = [sorted(group) for _, group in sorted(by_key.items()) if len(group) > 1]
    letters = [group for group in groups if all(len(name) == 1 for name in group)]
    if len(letters) >= _ALPHABET:
        groups = [group for group in groups if group not in letters]
    if groups:
        listed = "; ".join(" and ".join(map(repr, group)) for group in groups[:_SHOWN])
        more = f", and {len(groups) - _SHOWN} more" if len(groups) > _SHOWN else ""
        raise DataError(
            f"class names differ only in case, spaces, underscores or Unicode form: {listed}{more}; "
            "if that is one class, write it in one way; if these are different classes, rename them"
        )


def name_key(name: str) -> str:
    """What is left of a class name without case, spaces, underscores, invisible characters and Unicode form.

    >>> name_key("Golden_Retriever") == name_key(" golden  retriever")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", _INVISIBLE.sub("", name)).casefold().replace("_", " ").split())


def separator_of_several_labels(names: Iterable[str]) -> str | None:
    """Return the sign between the labels of one image, if the class names are lists of labels; None if they are not.

    Names of several words are no lists of labels: their words stand in one place ("red apple", "green apple"), or most
    words belong to one name. Words of lists recur in other places: alone, or in another order.

    >>> separator_of_several_labels(["cat", "dog", "cat|dog"])
    '|'
    >>> separator_of_several_labels(["golden retriever", "labrador retriever", "fox terrier", "fox"]) is None
    True
    """
    distinct = sorted(set(names))
    tests: tuple[tuple[str, Callable[[list[tuple[str, ...]]], bool]], ...] = (
        ("|", _words_move),
        (";", _words_move),
        *((sign, _are_combinations) for sign in ",+&/ "),
    )
    for separator, test in tests:
        split = [tuple(part.strip() for part in name.split(separator) if part.strip()) for name in distinct]
        split = [words for words in split if words]
        if any(len(words) > 1 for words in split) and test(split):
            return separator
    return None


def _words_move(names: list[tuple[str, ...]]) -> bool:
    """Whether a word stands in two places, or alone and with others. The parts of ``crop|disease`` do not."""
    places: dict[str, set[int]] = defaultdict(set)
    for words in names:
        for place, word in enumerate(words):
            places[word].add(place if len(words) > 1 else -1)
    return any(len(found) > 1 for found in places.values())


def _are_combinations(names: list[tuple[str, ...]]) -> bool:
    """Whether a few words make up all names in many combinations, or names are the same words in another order."""
    several = [words for words in names if len(words) > 1]
    reordered = len(several) - len({tuple(sorted(words)) for words in several})
    if 10 * reordered > len(several):  # among many names there may be one such pair: chestnut oak, oak chestnut
        return True
    vocabulary = {word for words in names for word in words}
    if all(word.isdecimal() for word in vocabulary):  # indices of labels: "16 0"; but "0,5" may be a number
        return len(set(map(len, names))) > 1
    alone = {words[0] for words in names if len(words) == 1}
    composed = sum(alone.issuperset(words) for words in several)
    return _words_move(names) and (2 * len(vocabulary) <= len(names) or 2 * composed > len(several))
