"""Data sets that headstart knows by name: where they are published, what they contain, and what to run next.

Sizes and SHA-256 of ImageNetV2's archives are those that TensorFlow Datasets records for the files on the Hugging Face
hub. Their names end in .tar.gz, but their sizes are multiples of a tar block: the kind is detected from the content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headstart.data.download import RemoteFile
from headstart.data.sources.folders import find_images, read_folder
from headstart.data.sources.tables import read_labels
from headstart.errors import DataError

__all__ = ["DOG_BREEDS", "IMAGENET_V2", "Competition", "CsvLayout", "DatasetInfo", "FolderLayout"]

_HUB = "vaishaal/ImageNetV2"
_OLD_URL = "https://s3-us-west-2.amazonaws.com/imagenetv2public"  # of the tutorials of 2020


@dataclass(frozen=True)
class FolderLayout:
    """The expected layout: one subfolder per class, with so many images and classes."""

    images: int
    classes: int

    def check(self, folder: Path) -> str:
        """Return a description of the folder.

        :raises DataError: it differs from what is expected.
        """
        found = read_folder(folder, levels="class").images
        labels = {row.label for row in found if row.label is not None}
        wrong = _differences(
            ("images", self.images, len(found)),
            ("folders with images", self.classes, len(labels)),
            ("images outside the folders", 0, sum(row.label is None for row in found)),
        )
        _check_complete(folder, wrong)
        return f"{len(found):,} images in {len(labels):,} folders"


@dataclass(frozen=True)
class CsvLayout:
    """The expected layout: labels.csv with so many rows and classes, train/<id>.jpg for each row, optionally test/."""

    images: int
    classes: int
    test: int  # images without labels, if the folder exists

    def check(self, folder: Path) -> str:
        """Return a description of the folder.

        :raises DataError: it differs from what is expected.
        """
        table = folder / "labels.csv"
        labels = read_labels(table, id_column="id", label_column="breed")
        breeds = {label for label in labels.labels if label is not None}
        missing = [name for name in labels.ids if not (folder / "train" / f"{name}.jpg").is_file()]
        test = len(find_images(folder / "test")) if (folder / "test").is_dir() else None
        wrong = _differences(
            ("rows in labels.csv", self.images, len(labels.ids)),
            ("different ids", self.images, len(set(labels.ids))),
            ("breeds", self.classes, len(breeds)),
            ("rows with an image in train", self.images, len(labels.ids) - len(missing)),
            ("images in test", self.test, self.test if test is None else test),
        )
        if missing:
            more = f" and {len(missing) - 1:,} more" * (len(missing) > 1)
            wrong.append(f"train/{missing[0]}.jpg{more} {'are' if more else 'is'} missing")
        _check_complete(folder, wrong)
        test_images = "" if test is None else f", {test:,} images to predict in test"
        return f"{len(labels.ids):,} rows with their images, {len(breeds):,} breeds{test_images}"


def _differences(*counts: tuple[str, int, int]) -> list[str]:
    return [f"expected {expected:,} {what}, found {found:,}" for what, expected, found in counts if expected != found]


def _check_complete(folder: Path, wrong: list[str]) -> None:
    if wrong:
        raise DataError(f"{folder} is not complete: {'; '.join(wrong)}")


@dataclass(frozen=True)
class Competition:
    """The files of a Kaggle competition, which Kaggle's client downloads with the user's own credentials."""

    slug: str


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that can be downloaded by name."""

    name: str
    origin: RemoteFile | Competition
    check: Callable[[Path], str]  # describes a folder; DataError with what was expected and what was found
    next_command: str  # with {} for the folder
    max_bytes: int  # unpacked; more are refused as a decompression bomb


def _imagenet_v2(variant: str, file: str, size: int, sha256: str) -> DatasetInfo:
    return DatasetInfo(
        name=f"imagenetv2-{variant}",
        origin=RemoteFile(file, size, sha256, hub=_HUB, urls=(f"{_OLD_URL}/{file}",)),
        check=FolderLayout(images=10_000, classes=1_000).check,
        next_command="headstart evaluate tf_efficientnet_lite0 {}",
        max_bytes=4 << 30,
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
"""ImageNetV2 by variant: three test sets of ten images per class, selected by how often annotators chose the class
(`Recht et al. 2019 <https://arxiv.org/abs/1902.10811>`_)."""

DOG_BREEDS = DatasetInfo(
    name="dog-breeds",
    origin=Competition("dog-breed-identification"),
    check=CsvLayout(images=10_222, classes=120, test=10_357).check,
    next_command="headstart fit {}",
    max_bytes=4 << 30,
)
"""Kaggle's competition of 2017, with the images of Stanford Dogs."""
