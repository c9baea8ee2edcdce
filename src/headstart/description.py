"""What a data set was taken to be: how it was read, what was left out, and what was guessed."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Correction", "DataDescription", "Guess", "LeftOut", "SplitCount"]


@dataclass(frozen=True)
class Guess:
    """A reading that was chosen although another fits, and the option that settles it."""

    what: str  # "the labels are in the column 'breed'"
    option: str  # "--label-column NAME"

    def __str__(self) -> str:
        """The line that a person reads."""
        return f"{self.what} (guessed; {self.option} settles it)"


@dataclass(frozen=True)
class LeftOut:
    """Something beside the images that is not used, for example a table or a folder."""

    what: str
    reason: str

    def __str__(self) -> str:
        """The line that a person reads."""
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True)
class SplitCount:
    """A split, the names by which the data call it, and its number of images."""

    split: str  # "train", "validation" or "test"
    names: tuple[str, ...]
    images: int

    def __str__(self) -> str:
        """The line that a person reads.

        >>> str(SplitCount("train", ("seg_train",), 1200))
        'train 1,200 (seg_train)'
        """
        others = [name for name in self.names if name != self.split]
        return f"{self.split} {self.images:,}" + (f" ({', '.join(others)})" if others else "")


@dataclass(frozen=True)
class Correction:
    """What a person changed of one image."""

    uri: str
    label: str | None  # the right class; None: the image is left out
    old_label: str | None = None  # as it was read


@dataclass(frozen=True)
class DataDescription:
    """How images and labels were read.

    :param source: "class folders", "table", "folder without labels", "images", what a source of containers says
        ("class folders in a zip archive"), or the scheme of an image source.
    :param table: the table of labels, as a path; None also for columns that stand beside the images themselves.
    :param columns: (role, column): the roles are "id", "label", "split", "group".
    :param folders: the levels of folders below the root, from the top: "split", "class", "any".
    :param classes: (class, number of images), sorted by name.
    :param groups: number of groups of images that belong together.
    """

    root: str
    source: str
    images: int
    unlabeled: int = 0
    table: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()
    splits: tuple[SplitCount, ...] = ()
    classes: tuple[tuple[str, int], ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[Guess, ...] = ()
    notes: tuple[str, ...] = ()  # facts about the table
    groups: int = 0

    def lines(self) -> list[str]:
        """Text for a terminal; what does not apply has no line.

        >>> description = DataDescription(
        ...     "photos", "class folders", 3, folders=("class",), classes=(("cat", 2), ("dog", 1))
        ... )
        >>> for line in description.lines():
        ...     print(line)
        data: photos, 3 images
          read as: class folders
          classes: 2: cat, dog
        """
        lines = [f"data: {self.root}, {self.images:,} image{'s' * (self.images != 1)}", self._read_as()]
        if self.splits:
            lines.append(f"  splits: {', '.join(map(str, self.splits))}")
        if self.classes:
            lines.append(f"  classes: {len(self.classes):,}: {_first([name for name, _ in self.classes])}")
        if self.groups:
            lines.append(f"  groups: {self.groups:,}, never divided by a split or fold")
        if self.unlabeled:
            lines.append(f"  without a label: {self.unlabeled:,}")
        return [*lines, *self._asides()]

    def reading_lines(self) -> list[str]:
        """The lines without counts: how folders and tables were read, what was left out and what was guessed."""
        return [self._read_as(), *self._asides()]

    def _read_as(self) -> str:
        levels = f" ({'/'.join(self.folders)})" if self.folders not in ((), ("class",)) else ""
        columns = ", ".join(f"{role} column {name!r}" for role, name in self.columns)
        beside = f", {columns}" if columns else ""
        table = beside if self.table is None else f": {_below(self.table, self.root)}{beside}"
        return f"  read as: {self.source}{levels}{table}"

    def _asides(self) -> list[str]:
        return [
            *(f"  note: {each}" for each in self.notes),
            *(f"  left out: {each}" for each in self.left_out),
            *(f"  guessed: {each.what}; {each.option} settles it" for each in self.guesses),
        ]


def _below(path: str, root: str) -> str:
    """The path relative to the root where it lies below it."""
    inside = os.path.relpath(path, root)
    return path if inside.startswith(os.pardir) else inside


def _first(names: list[str], count: int = 10) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count:,} more" if len(names) > count else "")
