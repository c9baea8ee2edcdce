"""Images and labels of data sets in memory: torch's ``Dataset`` and scikit-learn's ``Bunch``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError

__all__ = ["bunch_images", "files_of_dataset", "is_torch_dataset", "labels_of_dataset", "pairs_of_dataset"]

_WHITES = (1.0, 16.0, 255.0)  # of scikit-learn's images: shares of white, digits of 4 bits, 8 bits
_TARGETS = ("targets", "labels", "_labels", "_targets")  # what torchvision's data sets call their labels


def bunch_images(bunch: Mapping[str, Any]) -> tuple[list[NDArray[Any]], list[str | None]] | None:
    """Return the images and labels of a ``Bunch``; None if it has no images with labels.

    Values that end at 16 or 255 become shares of white.

    >>> from sklearn.datasets import load_digits
    >>> images, labels = bunch_images(load_digits())
    >>> images[0].shape, float(images[0].max()), labels[:3]
    ((8, 8), 0.9375, ['0', '1', '2'])
    """
    images, targets = bunch.get("images"), bunch.get("target")
    if (
        not isinstance(images, np.ndarray)
        or targets is None
        or images.ndim not in (3, 4)
        or len(images) != len(targets)
    ):
        return None
    names = bunch.get("target_names")
    labels = [label_name(target, None if names is None else list(names)) for target in targets]
    if images.dtype.kind == "f":
        white = next((each for each in _WHITES if images.max() <= each), 1.0)
        images = images.astype(np.float32) / np.float32(white)
    return list(images), labels


def is_torch_dataset(images: object) -> bool:
    """Whether it is a map-style ``torch.utils.data.Dataset``; where torch is not imported, there is none."""
    loaded = sys.modules.get("torch.utils.data")
    return loaded is not None and isinstance(images, loaded.Dataset) and hasattr(images, "__len__")


def files_of_dataset(dataset: Any) -> list[str] | None:
    """Return the files of torchvision's ``ImageFolder`` or ``DatasetFolder``; None for other data sets."""
    samples = getattr(dataset, "samples", None)
    if isinstance(samples, list) and samples and isinstance(samples[0], tuple) and isinstance(samples[0][0], str):
        return [path for path, _ in samples]
    return None


def labels_of_dataset(dataset: Any) -> list[str | None]:
    """Return the name of the class of each image of a torch data set: its targets, else by reading every element.

    :raises DataError: an element is no pair of an image and a class.
    """
    names = class_names(dataset)
    for attribute in _TARGETS:
        targets: Any = getattr(dataset, attribute, None)  # a list, an array or a tensor
        values = targets.tolist() if hasattr(targets, "tolist") else targets
        if isinstance(values, list) and len(values) == len(dataset):
            return [label_name(value, names) for value in values]
    return [label for _, label in pairs_of_dataset(dataset)]


def pairs_of_dataset(dataset: Any) -> list[tuple[Any, str | None]]:
    """Return the image and the name of the class of each element of a torch data set.

    :raises DataError: an element is no pair of an image and a class.
    """
    names = class_names(dataset)
    found = []
    for number in range(len(dataset)):
        element = dataset[number]
        if not isinstance(element, tuple | list) or len(element) != 2:
            got = f"{type(dataset).__name__}[{number}] is {type(element).__name__}"
            raise DataError(f"each element of a data set must be a pair (image, class), but {got}")
        found.append((element[0], label_name(element[1], names)))
    return found


def class_names(dataset: Any) -> list[str] | None:
    """The names of the classes of a data set, also of a ``Subset`` of one; None if it has none."""
    while hasattr(dataset, "dataset") and not hasattr(dataset, "classes"):
        dataset = dataset.dataset
    names = getattr(dataset, "classes", None)
    return [str(name) for name in names] if isinstance(names, Sequence) and not isinstance(names, str) else None


def label_name(label: Any, names: Sequence[Any] | None) -> str | None:
    """The name of a class by its number, or by itself; None: no class.

    :raises DataError: it is no class, as a bounding box or several labels.
    """
    if label is None or isinstance(label, str):
        return label
    value = label.item() if getattr(label, "shape", None) == () else label
    if isinstance(value, bool | int | np.integer):
        number = int(value)
        return str(names[number]) if names is not None and 0 <= number < len(names) else str(number)
    raise DataError(f"the label of an image must be one class, as a number or a text, got {type(label).__name__}")
