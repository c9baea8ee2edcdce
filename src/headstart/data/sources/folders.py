"""Find the images below a folder, with label and split from the names of their folders."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from headstart.data.formats import begins_like_image, is_image_name, is_other_name
from headstart.data.sources.base import FoundImage
from headstart.data.sources.folder_levels import (
    FolderLevels,
    detect_levels,
    given_levels,
    parse_levels,
    parse_split_folders,
)
from headstart.data.uri import to_uri
from headstart.description import LeftOut
from headstart.errors import DataError

__all__ = ["FolderReading", "Tree", "find_images", "is_own_folder", "list_tree", "read_folder"]

_OWN_FOLDERS = (
    frozenset({"settings.json", "evaluation.json"}),  # a run
    frozenset({"model.json", "model.safetensors"}),  # a classifier
    frozenset({"manifest.parquet", "issues.csv"}),  # a check
    frozenset({"project.sqlite"}),  # a project of headstart studio
)
_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})


@dataclass(frozen=True)
class Tree:
    """What lies below a folder, as paths relative to it, sorted."""

    images: list[str]
    own: list[str]  # folders that headstart wrote


@dataclass(frozen=True)
class FolderReading:
    """The images below a folder, and how the folders between were read."""

    images: list[FoundImage]
    levels: FolderLevels
    left_out: tuple[LeftOut, ...] = ()


def read_folder(
    root: Path, *, levels: str | None = None, split_folders: str | None = None, tree: Tree | None = None
) -> FolderReading:
    """List all images below a folder, sorted by path, with label and split from the names of the folders between.

    :param levels: what the folders are, from the top, for example ``split/class``; None: detected, by
        :func:`headstart.data.sources.folder_levels.detect_levels`.
    :param split_folders: ``NAME=SPLIT,...``; None: recognized by their names.
    :param tree: of the folder, where it is known already.
    :raises SettingsError: ``levels`` or ``split_folders`` is not of its form.
    :raises DataError: a folder cannot be listed, or two readings fit.
    """
    given = None if levels is None else parse_levels(levels)
    splits = None if split_folders is None else parse_split_folders(split_folders)
    tree = list_tree(root) if tree is None else tree
    images = [Path(relative).parts for relative in tree.images]
    folders = [tuple(map(_text, parts[:-1])) for parts in images]
    if given is not None or splits is not None:
        found = given_levels(folders, given, splits, str(root))
    else:
        found = detect_levels(folders, str(root))
    rows = [
        FoundImage(to_uri(root.joinpath(*parts)), found.label(above), found.split(above))
        for parts, above in zip(images, folders, strict=True)
    ]
    written = tuple(LeftOut(name, "written by headstart") for name in tree.own)
    return FolderReading(rows, found, (*found.left_out, *written))


def find_images(root: Path) -> list[str]:
    """Return the paths of all images below a folder, relative to it, sorted; see :func:`list_tree`."""
    return list_tree(root).images


def list_tree(root: Path) -> Tree:
    """List the images below a folder.

    A file is an image if its suffix is that of an image format, or if it has no known suffix and its content begins
    like an image. Hidden files, and folders that operating systems create or that headstart wrote, are skipped. Links
    to folders are followed, once around a loop.

    :raises DataError: a folder that cannot be listed.
    """
    own: list[str] = []
    images = sorted(_walk(str(root), "", frozenset(), own), key=lambda path: path.split(os.sep))  # noqa: PTH206
    return Tree(images, sorted(own))


def is_own_folder(names: Collection[str]) -> bool:
    """Whether the files in a folder are those of a run, a classifier, a check or a feature store.

    >>> is_own_folder({"settings.json", "evaluation.json", "report.html"}), is_own_folder({"1.jpg", "settings.json"})
    (True, False)
    """
    return any(marks <= set(names) for marks in _OWN_FOLDERS)


def _walk(root: str, below: str, above: frozenset[tuple[int, int]], own: list[str]) -> Iterator[str]:
    folder = os.path.join(root, below) if below else root  # noqa: PTH118
    try:
        status = os.stat(folder)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in above:  # a link back to a folder above this one
            return
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError as error:
        raise DataError(f"{_text(folder)} cannot be listed: {error.strerror}") from error
    if below and is_own_folder({entry.name for entry in entries}):
        own.append(below)
        return
    for entry in entries:
        relative = os.path.join(below, entry.name) if below else entry.name  # noqa: PTH118
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            if entry.name.lower() not in _SYSTEM_FOLDERS:
                yield from _walk(root, relative, above | {(status.st_dev, status.st_ino)}, own)
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
            return begins_like_image(file.read(132))
    except OSError:  # neither its name nor its content is that of an image
        return False


def _text(name: str) -> str:
    # macOS writes accents and Hangul decomposed (NFD): the same class must not become two.
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))
