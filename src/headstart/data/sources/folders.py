"""Find the images below a folder, with label and split from the names of their folders."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from headstart.data.formats import begins_like_image, is_image_name, is_other_name
from headstart.data.sources.base import FoundImage
from headstart.data.uri import to_uri
from headstart.errors import DataError

__all__ = ["find_images", "parse_split", "read_folder"]

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})


def read_folder(root: Path) -> list[FoundImage]:
    """List all images below a folder, sorted by path; the label is the name of the first folder below ``root``.

    Top-level folders named like splits (train, val, test ...) are splits, and their subfolders are the classes. If only
    one of several top-level folders is named like a split, it is a class (*train* next to *bus* and *car*).

    :raises DataError: a folder that cannot be listed, or two or more folders named like splits next to others.
    """
    images = [Path(relative).parts for relative in find_images(root)]
    tops = {parts[0] for parts in images if len(parts) > 1}
    splits = {top for top in tops if parse_split(top)}
    others = sorted(tops - splits)
    if len({parse_split(top) for top in splits}) > 1 and others:
        named, other = ", ".join(sorted(splits)), ", ".join(map(_text, others[:5]))
        text = f"{root} has folders named like splits ({named}) next to other folders ({other})"
        raise DataError(f"{text}: move the others away, or name a table of labels with --labels")
    if others:
        splits = set()
    return [_found(root, parts, parts[0] in splits) for parts in images]


def find_images(root: Path) -> list[str]:
    """Return the paths of all images below a folder, relative to it, sorted.

    A file is an image if its suffix is that of an image format, or if it has no known suffix and its content begins
    like an image. Hidden files and folders that operating systems create are skipped. Links to folders are followed,
    once around a loop.

    :raises DataError: a folder that cannot be listed.
    """
    return sorted(_walk(str(root), "", frozenset()), key=lambda path: path.split(os.sep))  # noqa: PTH206


def parse_split(name: str) -> str | None:
    """Return the split that the name of a folder, or a cell of a table, stands for; None if it is no split.

    >>> parse_split("Valid"), parse_split("cats")
    ('validation', None)
    """
    return _SPLITS.get(name.strip().lower())


def _walk(root: str, below: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    folder = os.path.join(root, below) if below else root  # noqa: PTH118
    try:
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in above:  # a link back to a folder above this one
            return
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as error:
        raise DataError(f"{_text(folder)} cannot be listed: {error.strerror}") from error
    for entry in entries:
        relative = os.path.join(below, entry.name) if below else entry.name  # noqa: PTH118
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            if entry.name.lower() not in _SYSTEM_FOLDERS:
                yield from _walk(root, relative, above | {(status.st_dev, status.st_ino)})
        elif _is_image(entry):
            yield relative
    if below and not entries and is_image_name(below):  # an empty folder x.jpg stands for an image that is missing
        yield below


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    if is_image_name(entry.name):
        return True
    if is_other_name(entry.name):
        return False
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb") as file:  # noqa: PTH123
            return begins_like_image(file.read(16))
    except OSError:  # neither its name nor its content is that of an image
        return False


def _found(root: Path, parts: tuple[str, ...], in_split: bool) -> FoundImage:
    split = parse_split(parts[0]) if in_split else None
    classes = parts[1:-1] if in_split else parts[:-1]
    return FoundImage(to_uri(root.joinpath(*parts)), _text(classes[0]) if classes else None, split)


def _text(name: str) -> str:
    # macOS writes accents and Hangul decomposed (NFD): the same class must not become two.
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))
