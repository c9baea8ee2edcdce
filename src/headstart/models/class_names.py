"""The names of the classes of a pretrained head, and matching them with the labels of a data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from headstart.description import Guess
from headstart.errors import DataError, ModelError
from headstart.models.imagenet import (
    imagenet_1k_names,
    imagenet_identifiers,
    imagenet_names,
    imagenet_subset_names,
)

__all__ = ["align", "match", "own_class_names"]

ClassNames = tuple[str, ...] | None


def own_class_names(
    classes: int, asked: str | None, stated: Sequence[str] | None = None, *, by_number: bool = True
) -> tuple[ClassNames, tuple[Guess, ...]]:
    """The names of the classes that a pretrained network has, and whether they are a guess.

    :param classes: the number of its outputs.
    :param asked: "imagenet", "none", or the path of a text file with one name per line; None to take what is stated.
    :param stated: the names that the file or its publisher states.
    :param by_number: whether to guess the names from the number of classes where none are stated.
    :returns: None for the names if nobody states them and ``classes`` is not the number of an ImageNet subset.
    :raises ModelError: the names that are asked for do not exist, or their number is another.

    >>> own_class_names(7, None)
    (None, ())
    >>> names, guesses = own_class_names(1000, None)
    >>> names[0], guesses[0].what
    ('tench, Tinca tinca', 'its 1,000 classes are those of ImageNet, by their number')
    """
    if asked == "none":
        return None, ()
    imagenet = imagenet_1k_names(classes) or imagenet_subset_names(classes)
    if asked == "imagenet":
        if imagenet is None:
            raise ModelError(
                f"--class-names imagenet: the network has {classes:,} classes, which is no ImageNet subset"
            )
        return imagenet, ()
    if asked is not None:
        return _read_names(Path(asked), classes), ()
    if stated is not None:
        return tuple(stated), ()
    if imagenet is None or not by_number:
        return None, ()
    guess = Guess(f"its {classes:,} classes are those of ImageNet, by their number", "--class-names")
    return imagenet, (guess,)


def _read_names(path: Path, classes: int) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as failure:
        reason = getattr(failure, "strerror", None) or failure
        raise ModelError(
            f"--class-names {path}: cannot be read ({reason}); must be imagenet, none, or a text file with one name "
            "per line"
        ) from failure
    if len(names) != classes:
        raise ModelError(f"--class-names {path}: has {len(names):,} names, but the network has {classes:,} classes")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ModelError(f"--class-names {path}: the name {twice[0]!r} is there more than once")
    return names


def match(labels: Sequence[str], pretrained: Sequence[str]) -> dict[int, list[int]]:
    """Map the index of each label to the indices of the pretrained classes with that name or synonym.

    Case, underscores, hyphens and a trailing WordNet identifier are ignored. Several classes may share a name: a
    cardigan is a dog and a garment. Labels without a match are omitted.

    >>> match(["boston_bull", "cardigan", "unheard of"], ["Boston bull, Boston terrier", "Cardigan, corgi", "cardigan"])
    {0: [0], 1: [1, 2]}
    """
    by_name: dict[str, list[int]] = {}
    for index, name in enumerate(pretrained):
        for synonym in {_normalize(name), *map(_normalize, name.split(","))}:
            by_name.setdefault(synonym, []).append(index)
    by_name.pop("", None)  # names that consist of punctuation only
    matches = {position: by_name.get(_normalize(label), []) for position, label in enumerate(labels)}
    return {position: indices for position, indices in matches.items() if indices}


def _normalize(name: str) -> str:
    return " ".join(re.sub(r"\(n\d{8}\)|[_\-.']", " ", name.casefold()).split())


def align(labels: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Map each label to its class: the same name, a synonym, or the name of an ImageNet folder.

    ImageNet, and data sets derived from it, name their folders by class index (compared as numbers: "10" comes after
    "2") or by WordNet identifier. Either is translated to a class name and looked up among ``classes``, so an extra
    first class, such as TensorFlow's background, does not shift the indices.

    :raises DataError: a label matches no class, or several; the message names one.

    >>> align(["tabby"], ["background", "tabby, tabby cat"])
    {'tabby': 'tabby, tabby cat'}
    """
    aligned = _from_imagenet_folders(labels, classes) if not set(labels) <= set(classes) else {}
    aligned |= {label: label for label in labels if label in set(classes)}
    remaining = [label for label in labels if label not in aligned]
    matches = match(remaining, classes)
    for position, label in enumerate(remaining):
        candidates = matches.get(position, [])
        if len(candidates) != 1:
            several = f"several: {', '.join(classes[index] for index in candidates[:3])}" if candidates else "none"
            raise DataError(
                f"the label {label!r} must match one of the classifier's {len(classes)} classes "
                f"(for example {classes[0]!r}), but matches {several}; use the same names for labels and classes"
            )
        aligned[label] = classes[candidates[0]]
    return aligned


def _from_imagenet_folders(labels: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    names = imagenet_names()
    if not set(names) <= set(classes):
        return {}
    if all(label.isdecimal() and int(label) < len(names) for label in labels):
        return {label: names[int(label)] for label in labels}
    identifiers = dict(zip(imagenet_identifiers(), names, strict=True))
    return {label: identifiers[label] for label in labels if label in identifiers}
