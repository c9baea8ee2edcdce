"""Which files below a folder are pictures, and what their folders say of label and split."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from headstart.data.decode import NOT_PICTURES
from headstart.errors import DataError

__all__ = ["Found", "find_pictures", "is_picture_name", "read_folder", "split_named"]

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
# Pictures, though Pillow alone does not read them: they become rows with a problem instead of going unseen.
_FOREIGN = frozenset({".heic", ".heif", ".jxl", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"})
_JUNK_SUFFIXES = frozenset(
    {".bak", ".tmp", ".part", ".crdownload", ".txt", ".csv", ".tsv", ".json", ".xml", ".md", ".html", ".db", ".ini"}
)
_JUNK_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})
_STARTS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|RIFF....WEBP|II\*\0|MM\0\*", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """A picture below a folder; label and split are None where its folders say nothing."""

    path: Path
    label: str | None = None
    split: str | None = None


def read_folder(root: Path) -> list[Found]:
    """All pictures below a folder, sorted by path, labelled by the first folder below ``root``.

    If the folders at the top are named like splits (train, val, test ...), they are, and the folders in them are the
    classes. One such name among others is taken as a class (a *train* beside *bus* and *car*). DataError: two or more
    such names among others.
    """
    pictures = [Path(relative).parts for relative in find_pictures(root)]
    tops = {parts[0] for parts in pictures if len(parts) > 1}
    splits = {top for top in tops if split_named(top)}
    others = sorted(tops - splits)
    if len({split_named(top) for top in splits}) > 1 and others:
        named, other = ", ".join(sorted(splits)), ", ".join(map(_text, others[:5]))
        text = f"{root} holds folders named like splits ({named}) beside others ({other})"
        raise DataError(f"{text}: move the others away, or give a table of labels (--labels)")
    if others:
        splits = set()
    return [_found(root, parts, parts[0] in splits) for parts in pictures]


def find_pictures(root: Path) -> list[str]:
    """Paths of all pictures below a folder, relative to it, sorted.

    A file is a picture if its suffix says so, or if the suffix is none or unknown and it begins like one. Hidden files,
    and what systems leave behind, are not. Links to folders are followed, once around a loop.

    DataError: a folder that cannot be listed.
    """
    return sorted(_walk(str(root), "", frozenset()), key=lambda path: path.split(os.sep))  # noqa: PTH206


def is_picture_name(name: str) -> bool:
    """Whether the suffix of a file name is one of pictures.

    >>> is_picture_name("IMG_1.JPG"), is_picture_name("notes.txt")
    (True, False)
    """
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for every file
    format_name = Image.registered_extensions().get(suffix)
    return suffix in _FOREIGN or (format_name is not None and format_name not in NOT_PICTURES)


def split_named(name: str) -> str | None:
    """The split that a folder's or a cell's name stands for.

    >>> split_named("Valid"), split_named("cats")
    ('validation', None)
    """
    return _SPLITS.get(name.strip().lower())


def _walk(root: str, below: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    folder = os.path.join(root, below) if below else root  # noqa: PTH118
    try:
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in above:  # a link back to a folder that we are in
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
            if entry.name.lower() not in _JUNK_FOLDERS:
                yield from _walk(root, relative, above | {(status.st_dev, status.st_ino)})
        elif _is_picture(entry):
            yield relative
    if below and not entries and is_picture_name(below):  # an empty folder x.jpg: somebody misses a picture
        yield below


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_picture(entry: os.DirEntry[str]) -> bool:
    if is_picture_name(entry.name):
        return True
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    if suffix in _JUNK_SUFFIXES or entry.name.endswith("~"):
        return False
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb") as file:  # noqa: PTH123
            return _STARTS.match(file.read(16)) is not None
    except OSError:  # neither its name nor its content speaks for a picture
        return False


def _found(root: Path, parts: tuple[str, ...], in_split: bool) -> Found:
    split = split_named(parts[0]) if in_split else None
    classes = parts[1:-1] if in_split else parts[:-1]
    return Found(root.joinpath(*parts), _text(classes[0]) if classes else None, split)


def _text(name: str) -> str:
    # macOS writes accents and Hangul in pieces (NFD): the same class must not become two.
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))
