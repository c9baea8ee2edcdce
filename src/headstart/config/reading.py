"""How images, labels and splits are found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from headstart.config.options import Settings, option
from headstart.config.values import mistake_in_pattern

__all__ = ["ReadSettings"]


@dataclass(kw_only=True)
class ReadSettings(Settings):
    """Where the labels are."""

    labels: str | None = option(
        None,
        "Table of labels (CSV, TSV, JSON lines or Parquet), or none: labels are the names of folders. Default: the "
        "only table in PHOTOS that fits, else one subfolder per class.",
        metavar="TABLE",
        group="Data",
        common=True,
    )
    id_column: str | None = option(
        None, "Column with image ids or paths. Default: detected.", metavar="COLUMN", group="Data"
    )
    label_column: str | None = option(None, "Column with labels. Default: detected.", metavar="COLUMN", group="Data")
    split_column: str | None = option(
        None,
        "Column with the split: train, validation or test; none: use no such column. Default: detected.",
        metavar="COLUMN",
        group="Data",
    )
    folder_levels: str | None = option(
        None,
        "What the folders in PHOTOS are, from the top, each split, class or any: split/class, any/class ... Default: "
        "detected.",
        metavar="LEVELS",
        group="Data",
    )
    split_folders: str | None = option(
        None,
        "Which folders are splits: NAME=SPLIT,... with the splits train, validation, test and none. Default: detected "
        "by their names.",
        metavar="NAMES",
        group="Data",
    )
    group_column: str | None = option(
        None,
        "Column that says which images belong together, as a patient, a camera or a video: a split or fold never "
        "divides them.",
        metavar="COLUMN",
        group="Data",
    )
    group_pattern: str | None = option(
        None,
        "Regular expression for the path of an image below PHOTOS: images for which it captures the same text belong "
        "together, as with '(patient\\d+)_'.",
        metavar="REGEX",
        group="Data",
        check=mistake_in_pattern,
    )

    frames: str = option(
        "first",
        "Files with several frames: first (the first frame is the image), or all (each page of a TIFF file and each "
        "frame of a DICOM file is an image; those of a file belong together).",
        choices=("first", "all"),
        group="Data",
    )
    corrections: str | None = option(
        None,
        "Table of corrections (CSV with the columns uri, label and drop), as headstart check --write-corrections "
        "writes it: other labels for some images, or images to leave out.",
        metavar="FILE",
        group="Data",
    )

    def _conflicts(self, invalid: Collection[str]) -> list[str]:
        messages = super()._conflicts(invalid)
        if self.group_column is not None and self.group_pattern is not None:
            messages.append("group_column and group_pattern both say which images belong together: give one of them")
        return messages
