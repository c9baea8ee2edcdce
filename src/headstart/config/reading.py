"""How images, labels and splits are found."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.config.options import Settings, option

__all__ = ["ReadSettings"]


@dataclass(kw_only=True)
class ReadSettings(Settings):
    """Where the labels are."""

    labels: str | None = option(
        None,
        "Table of labels (CSV, TSV or Parquet), or none: labels are the names of folders. Default: the only table in "
        "PHOTOS that fits, else one subfolder per class.",
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
