"""From the name of an image in a table to its file."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from headstart.data.sources.folders import find_images, parse_split
from headstart.data.uri import to_path

__all__ = ["ImageLookup"]


class ImageLookup:
    """Finds images below ``root`` by path, by the end of a path, or by bare name, with or without suffix."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def matches(self, name: str) -> list[Path]:
        """Return the files that match best: none, one, or several that match equally well.

        Case, Unicode form and suffix are compared only where several files differ in nothing else. A file in a train
        folder is preferred to one in a test folder.
        """
        path = self.root / to_path(name)  # an absolute path is kept
        if _is_file(path):
            return [path]
        wanted = name.replace("\\", "/").removeprefix("./")
        wanted = wanted.removeprefix(f"{self.root.name}/")
        paths = self._by_name.get(_key(wanted.rsplit("/", 1)[-1]), [])
        for form in (str, _key):
            end = f"/{form(wanted)}"
            for stem in (str, _without_suffix):
                matching = [path for path in paths if f"/{form(stem(path))}".endswith(end)]
                if matching:
                    return [self.root / path for path in _preferred(matching)]
        return []

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Paths below the root by name with and without suffix. Built on first use, since it walks the folder."""
        index: dict[str, list[str]] = defaultdict(list)
        for relative in find_images(self.root):
            name = os.path.basename(relative)  # noqa: PTH119
            for key in {_key(name), _key(_without_suffix(name))}:
                index[key].append(relative.replace(os.sep, "/"))
        return index


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a NUL: no file has that name
        return False


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _without_suffix(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122


def _preferred(paths: list[str]) -> list[str]:
    splits = [parse_split(path.split("/", 1)[0]) for path in paths]
    for better in ([split == "train" for split in splits], [split != "test" for split in splits]):
        if any(better):
            return [path for path, good in zip(paths, better, strict=True) if good]
    return paths
