"""What the levels of a tree of folders are: splits, classes, or neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headstart.data.sources.split_names import is_for_prediction, parse_split, recognize_splits
from headstart.description import Guess, LeftOut
from headstart.errors import AmbiguousFolders, DataError, SettingsError

__all__ = ["LEVELS", "FolderLevels", "detect_levels", "given_levels", "parse_levels", "parse_split_folders"]

LEVELS = ("split", "class", "any")
_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test", "none": None}
_LEVELS_OPTION = "--folder-levels"
_SPLITS_OPTION = "--split-folders"

Folders = tuple[str, ...]
"""The names of the folders above an image, from the top."""


@dataclass(frozen=True)
class FolderLevels:
    """What each level of folders is, from the top, and which names are splits.

    Folders below the last level have no meaning.
    """

    levels: tuple[str, ...]
    splits: Mapping[str, str | None]  # name of a folder -> split; None: its images are in no split
    left_out: tuple[LeftOut, ...] = ()
    guesses: tuple[Guess, ...] = ()

    def split(self, folders: Folders) -> str | None:
        """The split of an image in these folders; None if it is in no split."""
        name = self._at("split", folders)
        return None if name is None else self.splits.get(name)

    def label(self, folders: Folders) -> str | None:
        """The name of the class of an image in these folders; None if it lies above the classes."""
        name = self._at("split", folders)
        if name is not None and self.splits.get(name, "") is None:
            return None
        return self._at("class", folders)

    def _at(self, level: str, folders: Folders) -> str | None:
        position = self.levels.index(level) if level in self.levels else len(folders)
        return folders[position] if position < len(folders) else None


def parse_levels(text: str) -> tuple[str, ...]:
    """Parse ``split/class`` or the like; with "none" no folder has a meaning.

    :raises SettingsError: an unknown level, or not exactly one "class".

    >>> parse_levels("any/class")
    ('any', 'class')
    """
    levels = tuple(part.strip().lower() for part in text.strip("/").split("/"))
    if levels == ("none",):
        return ()
    if not set(levels) <= set(LEVELS) or levels.count("class") != 1 or levels.count("split") > 1:
        raise SettingsError(
            f"folder_levels must be the levels of folders from the top, each split, class or any, with one class "
            f"(split/class, any/class, class/split ...), or none, got {text!r}"
        )
    return levels


def parse_split_folders(text: str) -> dict[str, str | None]:
    """Parse ``NAME=SPLIT,...``; the split "none" leaves a folder out.

    :raises SettingsError: it is not of that form.

    >>> parse_split_folders("camera_a=train,camera_b=test,old=none")
    {'camera_a': 'train', 'camera_b': 'test', 'old': None}
    """
    found: dict[str, str | None] = {}
    for part in text.split(","):
        name, equals, split = part.rpartition("=")
        if not equals or not name.strip() or split.strip().lower() not in _SPLITS:
            raise SettingsError(
                f"split_folders must be NAME=SPLIT,... with the splits train, validation, test or none, got {text!r}"
            )
        found[name.strip()] = _SPLITS[split.strip().lower()]
    return found


def given_levels(
    images: Sequence[Folders], levels: tuple[str, ...] | None, splits: Mapping[str, str | None] | None, root: str
) -> FolderLevels:
    """The levels as they are given.

    :param splits: what the folders at the level "split" mean; None: recognized by their names.
    :raises DataError: a folder at the level "split" is not known to be a split, or a name of a split does not occur.
    """
    if levels is None:
        levels = ("class", "split") if splits and not _any_top(images, splits) else ("split", "class")
    if "split" not in levels:
        if splits:
            raise DataError(f"{_SPLITS_OPTION} needs a level 'split' in {_LEVELS_OPTION}, got {'/'.join(levels)}")
        return FolderLevels(levels, {})
    position = levels.index("split")
    names = sorted({folders[position] for folders in images if len(folders) > position})
    if splits is None:
        recognized = recognize_splits(names)
        known: Mapping[str, str | None] = recognized.splits
    else:
        known = splits
        if missing := sorted(set(splits) - set(names)):
            raise DataError(
                f"{root} has no folder {missing[0]!r} ({_SPLITS_OPTION}) at the level of splits: {_listed(names)}"
            )
    if unknown := [name for name in names if name not in known]:
        raise DataError(
            f"{root}: the folder {unknown[0]!r} is not known to be a split; say what it is with "
            f"{_SPLITS_OPTION} {unknown[0]}=train (or validation, test, none)"
        )
    return FolderLevels(levels, known)


def detect_levels(images: Sequence[Folders], root: str) -> FolderLevels:
    """Tell splits from classes by the names of folders and by how they repeat.

    :param images: the folders above each image.
    :raises DataError: two readings fit.
    """
    wrappers = _wrappers(images)
    images = [folders[len(wrappers) :] for folders in images]
    found = _at_top(images, root)
    if not wrappers:
        return found
    guess = Guess(
        f"the folder {'/'.join(wrappers)} around all images is neither a split nor a class", f"{_LEVELS_OPTION} class"
    )
    levels = (*("any" for _ in wrappers), *found.levels)
    return FolderLevels(levels, found.splits, found.left_out, (guess, *found.guesses))


def _at_top(images: Sequence[Folders], root: str) -> FolderLevels:
    tops = sorted({folders[0] for folders in images if folders})
    known = recognize_splits(tops)
    others = [top for top in tops if top not in known.splits]
    predicted = [top for top in others if is_for_prediction(top, tops)]
    if known.splits and (not others or len(known.distinct) > 1):
        if rest := [top for top in others if top not in predicted]:
            named = ", ".join(sorted(known.splits))
            raise AmbiguousFolders(
                f"{root} has folders named like splits ({named}) next to other folders ({_listed(rest)}): "
                f"move the others away, leave them out ({_SPLITS_OPTION} {rest[0]}=none,{_example(known.splits)}), "
                f"or read all as classes ({_LEVELS_OPTION} class)"
            )
        return _below_splits(images, known.splits, known.guessed, predicted)
    return _without_splits(images, tops, root)


def _below_splits(
    images: Sequence[Folders], splits: Mapping[str, str], guessed: frozenset[str], predicted: Sequence[str]
) -> FolderLevels:
    """Splits at the top, perhaps each with one folder of nearly the same name in it (seg_train/seg_train/street)."""
    inner = [folders[1:] for folders in images if folders and folders[0] in splits]
    repeated = all(below and (below[0] in splits or parse_split(below[0])) for below in inner) and bool(inner)
    levels = ("split", "any", "class") if repeated else ("split", "class")
    guesses = []
    if guessed:
        reading = ", ".join(f"{name}: {splits[name]}" for name in sorted(splits))
        guesses.append(Guess(f"the folders are splits ({reading})", _SPLITS_OPTION))
    left_out = [LeftOut(name, "images without labels, named as for prediction") for name in predicted]
    return FolderLevels(levels, {**splits, **dict.fromkeys(predicted)}, tuple(left_out), tuple(guesses))


def _without_splits(images: Sequence[Folders], tops: Sequence[str], root: str) -> FolderLevels:
    second = sorted({folders[1] for folders in images if len(folders) > 1})
    deep = bool(images) and all(len(folders) > 1 for folders in images)
    below = recognize_splits(second)
    if deep and len(below.distinct) > 1 and len(below.splits) == len(second):
        reading = ", ".join(f"{name}: {below.splits[name]}" for name in second)
        guess = Guess(f"the folders below each class are splits ({reading})", f"{_LEVELS_OPTION} class")
        return FolderLevels(("class", "split"), below.splits, guesses=(guess,))
    if (
        deep
        and len(tops) > 1
        and all(len(folders[0]) == 1 and folders[1].casefold().startswith(folders[0].casefold()) for folders in images)
    ):
        guess = Guess("the folders of single letters hold the classes that begin with them", f"{_LEVELS_OPTION} class")
        return FolderLevels(("any", "class"), {}, guesses=(guess,))
    _refuse_repeated(images, root)
    return FolderLevels(("class",), {})


def _refuse_repeated(images: Sequence[Folders], root: str) -> None:
    """Several folders that hold the same two or more folders are hardly classes.

    :raises DataError: there are such folders.
    """
    inside: dict[str, set[str]] = {}
    for folders in images:
        if len(folders) > 1:
            inside.setdefault(folders[0], set()).add(folders[1])
    times = Counter(name for names in inside.values() for name in names)
    repeated = {name for name, count in times.items() if count > 1}
    similar = sorted(
        top for top, names in inside.items() if len(names & repeated) > 1 and 2 * len(names & repeated) >= len(names)
    )
    if len(similar) < 2:
        return
    first, last = similar[0], similar[-1]
    raise AmbiguousFolders(
        f"{root}: the folders {_listed(similar)} hold folders of the same names ({_listed(sorted(repeated))}), so that "
        f"two readings fit. The classes are the inner folders: {_LEVELS_OPTION} any/class, or, where the outer folders "
        f"are splits, {_SPLITS_OPTION} {first}=train,{last}=test. The classes are the outer folders: "
        f"{_LEVELS_OPTION} class"
    )


def _wrappers(images: Sequence[Folders]) -> list[str]:
    """The folders, one in another, around all images that are neither splits nor classes."""
    around: list[str] = []
    while images and all(len(folders) > len(around) + 1 for folders in images):
        names = {folders[len(around)] for folders in images}
        if len(names) > 1 or recognize_splits(names).splits:
            return around
        around += names
    names = {folders[len(around)] for folders in images if len(folders) > len(around)}
    return around if len(names) > 1 or recognize_splits(names).splits else []


def _any_top(images: Sequence[Folders], splits: Mapping[str, str | None]) -> bool:
    return any(folders and folders[0] in splits for folders in images)


def _example(splits: Mapping[str, str]) -> str:
    return ",".join(f"{name}={split}" for name, split in sorted(splits.items()))


def _listed(names: Sequence[str], first: int = 5) -> str:
    more = f" and {len(names) - first:,} more" if len(names) > first else ""
    return ", ".join(names[:first]) + more
