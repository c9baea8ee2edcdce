"""From what a table calls a picture to the file."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from headstart.data.folders import find_pictures, split_named
from headstart.data.uri import to_path

__all__ = ["Lookup"]


class Lookup:
    """Finds pictures below ``root`` by path, by the end of a path, or by bare name, with or without suffix."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def fitting(self, name: str) -> list[Path]:
        """The files that fit best: none, one, or several that fit equally well.

        The letters' case and Unicode form count only where files differ in nothing else; so does the suffix. A file in
        a train folder fits better than one in a test folder.
        """
        path = self.root / to_path(name)  # an absolute path stays what it is
        if _is_file(path):
            return [path]
        wanted = name.replace("\\", "/").removeprefix("./")
        wanted = wanted.removeprefix(f"{self.root.name}/")
        paths = self._by_name.get(_key(wanted.rsplit("/", 1)[-1]), [])
        for form in (str, _key):
            end = f"/{form(wanted)}"
            for whole in (str, _without_suffix):
                fitting = [path for path in paths if f"/{form(whole(path))}".endswith(end)]
                if fitting:
                    return [self.root / path for path in _best(fitting)]
        return []

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Names with and without suffix -> paths below the root. Made when first needed, since it walks the folder."""
        index: dict[str, list[str]] = defaultdict(list)
        for relative in find_pictures(self.root):
            name = os.path.basename(relative)  # noqa: PTH119
            for key in {_key(name), _key(_without_suffix(name))}:
                index[key].append(relative.replace(os.sep, "/"))
        return index


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or a NUL in it: no file has that name
        return False


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _without_suffix(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122


def _best(paths: list[str]) -> list[str]:
    parts = [split_named(path.split("/", 1)[0]) for path in paths]
    for better in ([part == "train" for part in parts], [part != "test" for part in parts]):
        if any(better):
            return [path for path, good in zip(paths, better, strict=True) if good]
    return paths
