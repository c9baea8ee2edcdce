"""Files that contain many images: which there are, and what their names say of splits."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from headstart.data.formats import is_image_name
from headstart.data.sources.folder_levels import parse_split_folders
from headstart.data.sources.split_names import recognize_splits
from headstart.data.uri import to_uri
from headstart.description import LeftOut
from headstart.errors import AmbiguousFolders, DataError

__all__ = ["FileSplits", "container_names", "expand", "files_of", "has_pattern", "split_files", "within"]

_NUMBERED = re.compile(
    r"(^|[-_. ])\d+([-_. ]of[-_. ]\d+)?([-_. ][0-9a-f]{8,})?$"
)  # 00000-of-00002, as shards are named
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]+,[^{}]*)\}")


def has_pattern(place: str) -> bool:
    """Whether a path has braces or wildcards for several files.

    >>> has_pattern("shards/{000..009}.tar"), has_pattern("photos")
    (True, False)
    """
    return bool(_RANGE.search(place) or _CHOICE.search(place) or glob.has_magic(place))


def expand(pattern: str) -> list[str]:
    """Expand braces as a shell and WebDataset do.

    >>> expand("train-{008..010}.tar"), expand("{a,b}.tar")
    (['train-008.tar', 'train-009.tar', 'train-010.tar'], ['a.tar', 'b.tar'])
    """
    if found := _RANGE.search(pattern):
        width = len(found[1]) if found[1].startswith("0") else 0
        values = [f"{number:0{width}}" for number in range(int(found[1]), int(found[2]) + 1)]
    elif found := _CHOICE.search(pattern):
        values = found[1].split(",")
    else:
        return [pattern]
    start, end = pattern[: found.start()], pattern[found.end() :]
    return list(itertools.chain.from_iterable(expand(start + value + end) for value in values))


def files_of(place: str, suffixes: Sequence[str]) -> list[str]:
    """The URIs of the files that a path stands for: itself, those of a pattern, or those in a folder, sorted.

    :raises DataError: there are none.
    """
    path = Path(place)
    if path.is_dir():
        found = within(path, suffixes)
    elif path.exists() or not has_pattern(place):
        found = [path]
    else:
        found = [Path(name) for part in expand(place) for name in _matching(part)]
    missing = [each for each in found if not each.is_file()]
    if missing:
        raise DataError(f"{missing[0]}: no such file")
    if not found:
        raise DataError(f"{place}: no file that ends in {' or '.join(suffixes)}")
    return [to_uri(each) for each in found]


def _matching(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207 - an absolute pattern


def within(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in a folder, also two folders deeper, that end in one of the suffixes, sorted; none beside images."""
    found: list[Path] = []
    for entry in _entries(folder, 2):
        if is_image_name(entry.name):
            return []
        if entry.name.lower().endswith(tuple(suffixes)):
            found.append(Path(entry.path))
    return sorted(found)


def _entries(folder: str | Path, deeper: int) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".")]
    except OSError:  # said by whoever reads the folder
        return
    yield from entries
    for entry in entries:
        if deeper and entry.is_dir():
            yield from _entries(entry.path, deeper - 1)


def container_names(files: Sequence[str]) -> list[str]:
    """The name of each file without its number, or that of its folder where only this says the split.

    >>> container_names(["a/train-00000-of-00001.parquet", "a/test-00000-of-00001.parquet"])
    ['train', 'test']
    >>> container_names(["train/0000.tar", "test/0000.tar"]), container_names(["7.tar"])
    (['train', 'test'], [''])
    """
    names = [_NUMBERED.sub("", PurePosixPath(file).stem) for file in files]
    folders = [PurePosixPath(file).parent.name for file in files]
    by_folder = set(recognize_splits(folders).splits) == set(folders)
    return folders if by_folder and set(recognize_splits(names).splits) != set(names) else names


@dataclass(frozen=True)
class FileSplits:
    """The split of each file, None for none, and the files that are left out."""

    files: list[str]
    splits: list[str | None]
    names: dict[str, set[str]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


def split_files(root: str, files: Sequence[str], split_folders: str | None) -> FileSplits:
    """Tell the splits from the names of several files; a single file is in none.

    :param split_folders: ``NAME=SPLIT,...`` for names that do not say it.
    :raises DataError: some are named like splits, and others are not.
    """
    names = container_names(files)
    if split_folders is not None:
        given = parse_split_folders(split_folders)
        if unknown := sorted(set(names) - set(given)):
            raise DataError(f"{root}: say which split {unknown[0]!r} is: --split-folders {unknown[0]}=train (or none)")
    elif len(files) == 1:
        return FileSplits(list(files), [None])
    else:
        recognized = dict(recognize_splits(names).splits)
        others = sorted(set(names) - set(recognized))
        if recognized and others:
            raise AmbiguousFolders(
                f"{root} has files named like splits ({', '.join(sorted(recognized))}) next to others "
                f"({', '.join(others)}): say which split each is, or leave it out, with --split-folders "
                f"{','.join(f'{name}={split}' for name, split in sorted(recognized.items()))},{others[0]}=none"
            )
        given = {**recognized} if recognized else dict.fromkeys(names)
        if not recognized:
            return FileSplits(list(files), [None] * len(files))
    kept = [(file, given[name]) for file, name in zip(files, names, strict=True) if given[name] is not None]
    by_split: dict[str, set[str]] = {}
    for name in names:
        by_split.setdefault(given[name] or "", set()).add(name)
    left = tuple(LeftOut(name, "left out by --split-folders") for name in sorted(by_split.get("", ())))
    return FileSplits([file for file, _ in kept], [split for _, split in kept], by_split, left)
