"""Data sets of scikit-learn and torchvision by name: ``sklearn:digits``, ``torchvision:CIFAR10?root=/data``."""

from __future__ import annotations

import inspect
from ast import literal_eval
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from headstart import paths
from headstart.data.sources.base import Content, FoundImage, Stamp
from headstart.data.sources.in_memory import bunch_images, labels_of_dataset
from headstart.data.sources.readings import ReadOptions, SourceReading
from headstart.errors import DataError, ImageProblem

__all__ = ["NAMED", "SklearnSource", "TorchvisionSource"]

_ALL = "all"  # what stands for the split in a URI where the data set has none
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class SklearnSource:
    """The data sets of images that ``sklearn.datasets`` loads or fetches, as ``sklearn:digits!17``."""

    scheme: ClassVar[str] = "sklearn"

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the images of a data set with their labels.

        :raises DataError: scikit-learn has no data set of images of this name, or cannot load it.
        """
        return self.read(root, ReadOptions()).images

    def read(self, root: str, options: ReadOptions) -> SourceReading:  # noqa: ARG002 - there is nothing to choose
        """Return the images with their labels."""
        name, _ = _parts(root)
        images, labels = _load_bunch(name)
        found = [FoundImage(f"{self.scheme}:{name}!{row}", labels[row]) for row in range(len(images))]
        return SourceReading(found, "a data set of scikit-learn")

    def open(self, uri: str) -> Content:
        """Return the pixels of an image."""
        name, number = _parts(uri)
        images, _ = _load_bunch(name)
        return images[_position(uri, number, len(images))]

    def stamp(self, uri: str) -> Stamp | None:  # noqa: ARG002
        """Return None: pixels in memory are always inspected."""
        return None


@dataclass(frozen=True)
class TorchvisionSource:
    """The data sets of ``torchvision.datasets``, as ``torchvision:CIFAR10?root=/data!train/17``.

    What stands behind ``?`` is given to its class: ``root`` is by default a folder in the cache folder, into which the
    data set is downloaded where it is not there.
    """

    scheme: ClassVar[str] = "torchvision"

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the images of a data set with their labels and splits.

        :raises DataError: torchvision has no such data set, or cannot load it.
        """
        return self.read(root, ReadOptions()).images

    def read(self, root: str, options: ReadOptions) -> SourceReading:  # noqa: ARG002 - there is nothing to choose
        """Return the images with their labels and splits."""
        name, _ = _parts(root)
        found, names = [], {}
        for part in _parts_of(name):
            dataset = _load_dataset(name, part)
            split = _SPLITS.get(part)
            found += [
                FoundImage(f"{self.scheme}:{name}!{part}/{row}", label, split)
                for row, label in enumerate(labels_of_dataset(dataset))
            ]
            if split is not None:
                names[split] = {part}
        return SourceReading(found, "a data set of torchvision", names=names)

    def open(self, uri: str) -> Content:
        """Return an image: pixels, since torchvision has decoded it."""
        from headstart.data.inputs import image_content  # which needs the sources

        name, place = _parts(uri)
        part, _, number = (place or "").partition("/")
        dataset = _load_dataset(name, part)
        return image_content(dataset[_position(uri, number, len(dataset))][0])

    def stamp(self, uri: str) -> Stamp | None:  # noqa: ARG002
        """Return None: the images are always inspected."""
        return None


def _parts(uri: str) -> tuple[str, str | None]:
    """The name with its settings, and the place of one image in it."""
    name, mark, place = uri.partition(":")[2].rpartition("!")
    return (name, place) if mark else (place, None)


def _position(uri: str, number: str | None, count: int) -> int:
    if number is None or not number.isdecimal() or int(number) >= count:
        raise ImageProblem(uri, f"no such image: the data set has {count:,}, numbered from 0")
    return int(number)


@lru_cache(2)
def _load_bunch(name: str) -> tuple[Sequence[Content], list[str | None]]:
    from sklearn import datasets

    load = getattr(datasets, f"load_{name}", None) or getattr(datasets, f"fetch_{name}", None)
    if load is None:
        raise DataError(
            f"sklearn:{name}: scikit-learn has no data set of this name, as digits, olivetti_faces, lfw_people"
        )
    try:
        bunch = load()
    except Exception as error:  # of a download, mostly
        raise DataError(f"sklearn:{name}: scikit-learn cannot load it: {error}") from error
    found = bunch_images(bunch) if isinstance(bunch, Mapping) else None
    if found is None:
        raise DataError(
            f"sklearn:{name} is no data set of images with labels, as digits, olivetti_faces, lfw_people are"
        )
    return found


def _dataset_class(name: str) -> tuple[Any, Mapping[str, object]]:
    """The class, and the settings that are given."""
    # By name, as the report must not reach torch: it reads images too, but never lists such a data set.
    datasets = import_module("torchvision.datasets")
    kind, _, query = name.partition("?")
    found = getattr(datasets, kind, None)
    if not (isinstance(found, type) and kind in datasets.__all__):
        raise DataError(
            f"torchvision:{kind}: torchvision has no data set of this name, as CIFAR10, Flowers102, Food101"
        )
    return found, {key: _value(value) for key, value in parse_qsl(query)}


def _value(text: str) -> Any:
    with suppress(ValueError, SyntaxError):
        return literal_eval(text)
    return text


def _parts_of(name: str) -> list[str]:
    """The parts that a data set has: "train" and so on, or one for all."""
    found, given = _dataset_class(name)
    known = inspect.signature(found).parameters
    if "train" in known and "train" not in given:
        return ["train", "test"]
    if "split" in known and "split" not in given:
        parts = [part for part in _SPLITS if _has_part(name, part)]
        if not parts:
            raise DataError(f"torchvision:{name}: name one of its splits, as torchvision:{name}?split=train")
        return parts
    return [_ALL]


def _has_part(name: str, part: str) -> bool:
    """Whether a data set has a split of this name, and it is labeled."""
    try:
        labels = labels_of_dataset(_load_dataset(name, part))
    except DataError as error:
        if isinstance(error.__cause__, ValueError):  # what torchvision raises for a split that there is not
            return False
        raise
    return any(label is not None for label in labels)


@lru_cache(8)
def _load_dataset(name: str, part: str) -> Any:
    found, given = _dataset_class(name)
    known = inspect.signature(found).parameters
    settings = dict(given)
    if "root" in known and "root" not in settings:
        settings["root"] = str(paths.root() / "torchvision")
    if "download" in known and "download" not in settings:
        settings["download"] = True
    if part != _ALL:
        settings.update({"train": part == "train"} if "train" in known else {"split": part})
    try:
        dataset = found(**settings)
    except Exception as error:
        raise DataError(f"torchvision:{name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(dataset, "__len__"):
        raise DataError(f"torchvision:{name} is no data set of images with labels")
    return dataset


NAMED = (SklearnSource(), TorchvisionSource())
