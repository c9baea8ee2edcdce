"""Names of the classes of ImageNet-1k, in the order of all networks that are trained on it: by WordNet identifier."""

from __future__ import annotations

from collections import Counter

__all__ = ["BACKGROUND", "imagenet_identifiers", "imagenet_names"]

BACKGROUND = "background"
"""The class that TensorFlow's networks of 1,001 classes have in front."""


def imagenet_names(subset: str = "imagenet-1k") -> tuple[str, ...]:
    """Each class with its synonyms as WordNet has them; where two share a name, the identifier follows.

    :param subset: as timm calls it, for example "imagenet-1k" or "imagenet-22k".

    >>> names = imagenet_names()
    >>> len(names), names[281], names[134]
    (1000, 'tabby, tabby cat', 'crane (n02012849)')
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    names = [info.index_to_description(index) for index in range(info.num_classes())]
    times = Counter(names)
    return tuple(
        f"{name} ({info.index_to_label_name(index)})" if times[name] > 1 else name for index, name in enumerate(names)
    )


def imagenet_identifiers() -> tuple[str, ...]:
    """The WordNet identifier of each class, "n01440764" for the first, in the same order."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())
