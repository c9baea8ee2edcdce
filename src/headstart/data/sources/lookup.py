"""From the name of an image in a table to its file."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from headstart.data.formats import is_image_name
from headstart.data.sources.base import is_elsewhere
from headstart.data.sources.folders import Tree, list_tree
from headstart.data.sources.split_names import parse_split
from headstart.data.uri import display_name
from headstart.description import Guess

__all__ = ["ImageLookup", "Matches"]

_SAMPLE = 100  # values that tell whether a column names images
_FLOAT = re.compile(r"\d+\.0+|\d+(\.\d+)?[eE]\+?\d{1,2}")  # an integer as programs write it: 7.0, 1.2E+05
_MACHINES = 3  # folders of other machines that paths of one table may begin with
_ABSOLUTE = re.compile(r"[A-Za-z]:/|/")
_SETTLED_BY = "writing the names of the files into the table"
_LOOSELY = {  # what is said of names that are matched in a way
    "case": "without regard to case",
    "suffix": "with another file name extension",
    "zeros": "as numbers, with another count of leading zeros",
    "number": "as whole numbers",
}


@dataclass(frozen=True)
class Matches:
    """The files of all names of a table.

    :param files: absolute paths for each name: none, one, or several that match equally well.
    :param guesses: how names were matched that are not those of the files.
    """

    files: list[tuple[str, ...]]
    guesses: tuple[Guess, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """The files of one name, as absolute paths."""

    files: tuple[str, ...] = ()
    how: str = "exact"  # or "moved", or a key of _LOOSELY


class ImageLookup:
    """Finds images below ``root`` by path, by the end of a path, or by bare name, with or without suffix."""

    def __init__(self, root: Path, tree: Tree | None = None) -> None:
        """Look below a folder.

        :param tree: what lies below it, where this is known already.
        """
        self.root = root.absolute()
        self._root = str(self.root)
        self._tree = tree

    def matches(self, name: str) -> list[Path]:
        """Return the files that match best: none, one, or several that match equally well.

        Case and Unicode form are compared only where several files differ in nothing else. A file in a train folder is
        preferred to one in a test folder.
        """
        return [Path(path) for path in self._find(name).files]

    def match_all(self, names: Sequence[str]) -> Matches:
        """Match all names of a table, so that no name takes the file of another.

        A name that no file has may differ from its file in case, suffix, leading zeros, the form of a number, or the
        folder of another machine. Such a match counts if it explains the whole table: not if other names show that
        case, suffix or zeros are as in the files.
        """
        found = {name: self._find(name) for name in names}
        moved, guesses = self._moved([name for name, each in found.items() if not each.files])
        found |= moved
        loose = {name: self._find_loosely(name) for name, each in found.items() if not each.files}
        counts = Counter(names)
        for name, each in loose.items():
            # A rounded number stands for several images: 1.2E+05 twice.
            if each.how != "number" or counts[name] == 1:
                found[name] = each
        found = _without_contradictions(found)
        return Matches([found[name].files for name in names], (*guesses, *_guesses(found)))

    def share(self, values: Iterable[str | None]) -> float:
        """The share of the values that name an image, by a sample of them; 0 without values."""
        distinct = list(dict.fromkeys(value for value in values if value is not None))
        sample = distinct[:: max(len(distinct) // _SAMPLE, 1)]
        found = [
            is_elsewhere(name) or bool(self._find(name).files or self._find_loosely(name).files) for name in sample
        ]
        if not any(found):
            found = [bool(each.files) for each in self._moved(sample)[0].values()]
        return sum(found) / max(len(sample), 1)

    def _find(self, name: str) -> _Found:
        if is_elsewhere(name):  # not looked for here, which would list the folder
            return _Found()
        path = os.path.join(self._root, display_name(name))  # noqa: PTH118 - called for every row; keeps absolute paths
        if os.path.isfile(path):  # noqa: PTH113
            return _Found((str(Path(path)),))
        wanted = self._wanted(name)
        paths = self._by_name.get(_key(wanted.rsplit("/", 1)[-1]), [])
        for form in (str, _composed, _key):
            end = f"/{form(wanted)}"
            for stem in (str, _without_suffix):
                matching = [path for path in paths if f"/{form(stem(path))}".endswith(end)]
                if matching:
                    exact = form is not _key or all(_same_but_for_suffix_case(path, wanted) for path in matching)
                    return _Found(self._preferred(matching), "exact" if exact else "case")
        return _Found()

    def _find_loosely(self, name: str) -> _Found:
        """The files of a name that differs from them in suffix, zeros, or the form of a number."""
        if is_elsewhere(name):
            return _Found()
        wanted = self._wanted(name)
        folder, _, last = wanted.rpartition("/")
        if _FLOAT.fullmatch(last):
            number = Decimal(last)
            if number == int(number):
                last = str(int(number))
                found = self._find(f"{folder}/{last}" if folder else last)
                if found.files:
                    return replace(found, how="number")
        stem, suffix = os.path.splitext(last) if is_image_name(last) else (last, "")  # noqa: PTH122
        end = _key(f"/{folder}" if folder else "")
        by_suffix = {path for path in self._by_name.get(_key(stem), []) if suffix and _stem(path) == stem}
        numbered = self._by_number.get(int(stem), []) if stem.isascii() and stem.isdigit() and len(stem) < 20 else []
        by_number = {path for path in numbered if path.lower().endswith(suffix.lower())}
        files = sorted(path for path in by_suffix | by_number if _key(f"/{path}").rpartition("/")[0].endswith(end))
        how = "suffix" if by_suffix else "zeros"
        return _Found(self._preferred(files), how) if files else _Found()

    def _moved(self, names: Iterable[str]) -> tuple[dict[str, _Found], tuple[Guess, ...]]:
        """The files of absolute paths that begin with the folder of another machine."""
        found: dict[str, _Found] = {}
        dropped: list[str] = []  # the beginnings of paths that have the root in their place
        for name in names:
            if is_elsewhere(name):
                continue
            parts = name.replace("\\", "/").split("/")
            if not _ABSOLUTE.match(name.replace("\\", "/")):
                continue
            beginnings = ["/".join(parts[:count]) for count in range(1, len(parts))]
            for beginning in [*(each for each in dropped if each in beginnings), *beginnings]:
                below = "/".join(parts[beginning.count("/") + 1 :])
                if self._is_file(below):
                    found[name] = _Found((f"{self._root}/{below}",), "moved")
                    dropped += [beginning] if beginning not in dropped else []
                    break
        if not found or len(dropped) > _MACHINES:
            return {}, ()
        shown = " and ".join(beginning or "/" for beginning in dropped)
        return found, (Guess(f"paths below {shown} are taken below {self.root}", _SETTLED_BY),)

    def _is_file(self, below: str) -> bool:
        if self._tree is not None:
            return below in self._known
        return os.path.isfile(self.root / below)  # noqa: PTH113 - false for a name that is too long, or has a NUL

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.tree.images)

    def _preferred(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Of paths relative to the root those in a train folder, else those outside test folders; absolute."""
        splits = [parse_split(path.split("/", 1)[0]) for path in paths] if len(paths) > 1 else []
        for better in ([split == "train" for split in splits], [split != "test" for split in splits]):
            if any(better):
                paths = [path for path, good in zip(paths, better, strict=True) if good]
                break
        return tuple(f"{self._root}/{path}" for path in paths)

    def _wanted(self, name: str) -> str:
        return name.replace("\\", "/").removeprefix("./").removeprefix(f"{self.root.name}/")

    @cached_property
    def _images(self) -> list[str]:
        """Paths below the root, with slashes."""
        return [relative.replace(os.sep, "/") for relative in self.tree.images]

    @cached_property
    def tree(self) -> Tree:
        """What lies below the root. Listed on first use, since it walks the folder."""
        return list_tree(self.root) if self._tree is None else self._tree

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Paths below the root by name with and without suffix."""
        index: dict[str, list[str]] = defaultdict(list)
        for relative in self._images:
            name = relative.rsplit("/", 1)[-1]
            for key in {_key(name), _key(_without_suffix(name))}:
                index[key].append(relative)
        return index

    @cached_property
    def _by_number(self) -> dict[int, list[str]]:
        """Paths below the root whose names are digits, by their number."""
        index: dict[int, list[str]] = defaultdict(list)
        for relative in self._images:
            stem = _stem(relative)
            if stem.isascii() and stem.isdigit() and len(stem) < 20:
                index[int(stem)].append(relative)
        return index


def _without_contradictions(found: dict[str, _Found]) -> dict[str, _Found]:
    """Matches without loose ones that other names of the table speak against."""
    if all(each.how == "exact" for each in found.values()):
        return found
    exact = {name: each for name, each in found.items() if each.files and each.how == "exact"}
    claimed = {path for each in exact.values() for path in each.files}
    suffixes = {_suffix(name) for name in exact}
    digits = [stem for stem in map(_stem, exact) if stem.isdigit()]
    shortest = min(map(len, digits), default=None)
    kept = {}
    for name, each in found.items():
        files = each.files if each.how == "exact" else tuple(path for path in each.files if path not in claimed)
        if each.how == "suffix" and _suffix(name) in suffixes:
            files = ()
        if each.how == "zeros" and shortest is not None:
            # The names have all their zeros if a shorter one is right, or one that begins with a zero.
            padded = any(stem.startswith("0") and stem != "0" for stem in digits)
            longest = max((len(_stem(path)) for path in files), default=0)
            files = () if padded or shortest < longest else files
        kept[name] = replace(each, files=files)
    if not _case_was_lost(kept):
        kept = {name: replace(each, files=()) if each.how == "case" else each for name, each in kept.items()}
    uses = Counter(path for each in kept.values() if each.how != "exact" for path in each.files)
    return {
        name: each if each.how == "exact" or all(uses[path] == 1 for path in each.files) else _Found()
        for name, each in kept.items()
    }


def _case_was_lost(found: dict[str, _Found]) -> bool:
    """Whether names or files are all in one case, or no name with letters has the case of its file."""
    names = [_stem(name) for name, each in found.items() if each.files]
    files = [_stem(path) for each in found.values() for path in each.files]
    if any(all(text == form(text) for text in texts) for texts in (names, files) for form in (str.lower, str.upper)):
        return True
    return not any(
        each.files and each.how == "exact" and _stem(name).lower() != _stem(name).upper()
        for name, each in found.items()
    )


def _guesses(found: dict[str, _Found]) -> Iterator[Guess]:
    for how, text in _LOOSELY.items():
        names = [name for name, each in found.items() if each.how == how and len(each.files) == 1]
        if names:
            example = f"{names[0]!r} is {Path(found[names[0]].files[0]).name}"
            yield Guess(
                f"{len(names):,} of {len(found):,} names are matched {text}, for example {example}", _SETTLED_BY
            )


def _same_but_for_suffix_case(path: str, wanted: str) -> bool:
    return f"/{_composed(_without_suffix(path))}".endswith(f"/{_composed(_without_suffix(wanted))}")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _key(name: str) -> str:
    return _composed(name).casefold()


def _without_suffix(path: str) -> str:
    return os.path.splitext(path)[0]  # noqa: PTH122


def _stem(path: str) -> str:
    """The name of a file without folder and without the suffix of an image format."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return _without_suffix(name) if is_image_name(name) else name


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122
