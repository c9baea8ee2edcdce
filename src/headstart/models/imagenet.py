"""Class names of ImageNet-1k, sorted by WordNet identifier: the output order of all networks trained on it."""

from __future__ import annotations

from collections import Counter
from functools import cache

__all__ = ["BACKGROUND", "imagenet_1k_names", "imagenet_identifiers", "imagenet_names", "imagenet_subset_names"]

BACKGROUND = "background"
"""The extra first class of TensorFlow networks with 1,001 outputs."""


@cache
def imagenet_names(subset: str = "imagenet-1k") -> tuple[str, ...]:
    """The name of each class, with its WordNet synonyms ("tabby, tabby cat").

    Where two classes share a name (there are two cranes), the WordNet identifier is appended.

    :param subset: timm's name for it, for example "imagenet-1k" or "imagenet-22k".

    >>> names = imagenet_names()
    >>> len(names), names[281], names[134]
    (1000, 'tabby, tabby cat', 'crane (n02012849)')
    """
    from timm.data import ImageNetInfo

    info = ImageNetInfo(subset)
    names = [info.index_to_description(index) for index in range(info.num_classes())]
    counts = Counter(names)
    return tuple(
        f"{name} ({info.index_to_label_name(index)})" if counts[name] > 1 else name for index, name in enumerate(names)
    )


def imagenet_identifiers() -> tuple[str, ...]:
    """The WordNet identifier of each ImageNet-1k class, in the same order; the first is "n01440764"."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


def imagenet_1k_names(classes: int) -> tuple[str, ...] | None:
    """The class names of an ImageNet-1k head, with or without TensorFlow's background class.

    :param classes: the number of outputs.
    :returns: None unless ``classes`` is 1000 or 1001.

    >>> imagenet_1k_names(1001)[:2], imagenet_1k_names(7)
    (('background', 'tench, Tinca tinca'), None)
    """
    names = imagenet_names()
    return {len(names): names, len(names) + 1: (BACKGROUND, *names)}.get(classes)


def imagenet_subset_names(classes: int) -> tuple[str, ...] | None:
    """The class names of the ImageNet subset with this many classes; None if timm knows no such subset."""
    from timm.data import infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": classes})
    return None if subset is None else imagenet_names(subset)
