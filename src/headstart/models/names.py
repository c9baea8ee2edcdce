"""Which classes of a pretrained head are those of a data set, by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headstart.errors import DataError
from headstart.models.imagenet import imagenet_identifiers, imagenet_names

__all__ = ["align", "match"]


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


def align(labels: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    """Each label with the class that it means: the same name, a synonym, or what ImageNet's folders are called.

    Folders of ImageNet, and of the sets made after it, are named by class index (compared as numbers: "10" comes after
    "2") or by WordNet identifier. Both mean a name, which is looked up among the classes; a class in front, such as
    TensorFlow's background, moves nothing.

    :raises DataError: a label means no class, or more than one; the text has an example.

    >>> align(["tabby"], ["background", "tabby, tabby cat"])
    {'tabby': 'tabby, tabby cat'}
    """
    meant = _by_imagenet(labels, classes) if not set(labels) <= set(classes) else {}
    meant |= {label: label for label in labels if label in set(classes)}
    others = [label for label in labels if label not in meant]
    found = match(others, classes)
    for position, label in enumerate(others):
        candidates = found.get(position, [])
        if len(candidates) != 1:
            several = f"several: {', '.join(classes[index] for index in candidates[:3])}" if candidates else "none"
            raise DataError(
                f"the label {label!r} means {several} of the classifier's {len(classes)} classes "
                f"(such as {classes[0]!r}): labels and classes must have the same names"
            )
        meant[label] = classes[candidates[0]]
    return meant


def _by_imagenet(labels: Sequence[str], classes: Sequence[str]) -> dict[str, str]:
    names = imagenet_names()
    if not set(names) <= set(classes):
        return {}
    if all(label.isdecimal() and int(label) < len(names) for label in labels):
        return {label: names[int(label)] for label in labels}
    identifiers = dict(zip(imagenet_identifiers(), names, strict=True))
    return {label: identifiers[label] for label in labels if label in identifiers}
