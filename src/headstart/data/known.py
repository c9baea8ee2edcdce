"""Data sets that headstart knows by name: where they lie, what is in them, and what to do with them.

Sizes and SHA-256 of ImageNetV2's archives are those that TensorFlow Datasets keeps of the files on the Hugging Face
hub. Their names end in .tar.gz, but their sizes are multiples of a tar's block: unpacking goes by content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.data.download import Published
from headstart.data.folders import find_pictures, read_folder
from headstart.data.tables import read_labels
from headstart.errors import DataError

__all__ = ["DOG_BREEDS", "IMAGENET_V2", "ClassFolders", "Competition", "Known", "TableBeside"]

_HUB = "vaishaal/ImageNetV2"
_OLDER = "https://s3-us-west-2.amazonaws.com/imagenetv2public"  # as the tutorials of 2020 have it


@dataclass(frozen=True)
class ClassFolders:
    """What must be there: so many pictures, in so many folders of which each is a class."""

    images: int
    classes: int

    def check(self, folder: Path) -> str:
        """Tell what is there. DataError: it is something else."""
        found = read_folder(folder)
        labels = {row.label for row in found if row.label is not None}
        wrong = _differing(
            ("pictures", self.images, len(found)),
            ("folders with pictures", self.classes, len(labels)),
            ("pictures outside of a folder", 0, sum(row.label is None for row in found)),
        )
        _refuse(folder, wrong)
        return f"{len(found):,} pictures in {len(labels):,} folders"


@dataclass(frozen=True)
class TableBeside:
    """What must be there: labels.csv with so many rows and classes, train/<id>.jpg of each, and perhaps test/."""

    images: int
    classes: int
    test: int  # pictures without labels, if the folder is there

    def check(self, folder: Path) -> str:
        """Tell what is there. DataError: it is something else."""
        table = folder / "labels.csv"
        labels = read_labels(table, id_column="id", label_column="breed")
        breeds = {label for label in labels.labels if label is not None}
        missing = [name for name in labels.ids if not (folder / "train" / f"{name}.jpg").is_file()]
        test = len(find_pictures(folder / "test")) if (folder / "test").is_dir() else None
        wrong = _differing(
            ("rows in labels.csv", self.images, len(labels.ids)),
            ("different ids", self.images, len(set(labels.ids))),
            ("breeds", self.classes, len(breeds)),
            ("rows whose picture is in train", self.images, len(labels.ids) - len(missing)),
            ("pictures in test", self.test, self.test if test is None else test),
        )
        if missing:
            wrong.append(f"missing is train/{missing[0]}.jpg" + f" and {len(missing) - 1:,} more" * (len(missing) > 1))
        _refuse(folder, wrong)
        more = "" if test is None else f", {test:,} pictures to predict in test"
        return f"{len(labels.ids):,} rows with their pictures, {len(breeds):,} breeds{more}"


def _differing(*counts: tuple[str, int, int]) -> list[str]:
    return [f"expected {expected:,} {what}, found {found:,}" for what, expected, found in counts if expected != found]


def _refuse(folder: Path, wrong: list[str]) -> None:
    if wrong:
        raise DataError(f"{folder} is not whole: {'; '.join(wrong)}")


@dataclass(frozen=True)
class Competition:
    """Files of a Kaggle competition, which its client fetches with the user's own credentials."""

    slug: str


@dataclass(frozen=True)
class Known:
    """A data set by name."""

    name: str
    origin: Published | Competition
    check: Callable[[Path], str]  # tells what is there; DataError, with what was expected and what was found
    next: str  # the command to run then, with {} for the folder
    unpacked: int  # bytes at most; more are refused as a bomb


def _imagenet_v2(variant: str, file: str, size: int, sha256: str) -> Known:
    return Known(
        name=f"imagenetv2-{variant}",
        origin=Published(file, size, sha256, hub=_HUB, urls=(f"{_OLDER}/{file}",)),
        check=ClassFolders(images=10_000, classes=1_000).check,
        next="headstart evaluate tf_efficientnet_lite0 {}",
        unpacked=4 << 30,
    )


IMAGENET_V2 = {
    "top-images": _imagenet_v2(
        "top-images",
        "imagenetv2-top-images.tar.gz",
        1_245_927_936,
        "85e4ace30f3f0d660152062254b8759dda66267b27f7ec0fd8d5768f1073a04b",
    ),
    "matched-frequency": _imagenet_v2(
        "matched-frequency",
        "imagenetv2-matched-frequency.tar.gz",
        1_264_079_360,
        "f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
    ),
    "threshold-0.7": _imagenet_v2(
        "threshold-0.7",
        "imagenetv2-threshold0.7.tar.gz",
        1_249_906_176,
        "32142bfe998f9cfa4141be691f6a80eeb1e27b24bd532a668eb08c26d98897a2",
    ),
}
"""ImageNetV2 by variant: three test sets of ten pictures a class, chosen by how sure people were of each
(`Recht et al. 2019 <https://arxiv.org/abs/1902.10811>`_)."""

DOG_BREEDS = Known(
    name="dog-breeds",
    origin=Competition("dog-breed-identification"),
    check=TableBeside(images=10_222, classes=120, test=10_357).check,
    next="headstart fit {}",
    unpacked=4 << 30,
)
"""Kaggle's competition of 2017, with the pictures of Stanford Dogs."""
