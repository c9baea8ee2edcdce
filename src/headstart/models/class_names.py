"""Matching the labels of a data set with the classes of a pretrained head, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headstart.errors import DataError
from headstart.models.imagenet import imagenet_identifiers, imagenet_names

__all__ = ["align", "match"]


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
