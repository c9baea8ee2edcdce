"""From the cells of a table to one class name per image."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from headstart.data.label_checks import check_class_names, separator_of_several_labels
from headstart.description import Guess
from headstart.errors import DataError

__all__ = ["class_names", "classes_of_one_hot"]

# Words that programs write for a missing value; "none" and "na" in lower case are words of languages.
_MISSING = frozenset({"NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "NAN", "NaT", "null", "NULL", "None"})
_NO_BREAK_SPACES = re.compile("[\u00a0\u2007\u202f]")
_ZERO_WIDTH = re.compile("[\u200b\u2060\ufeff\u00ad]|^[\u200c\u200d]+|[\u200c\u200d]+$")  # inside, U+200C is spelling
_WHOLE = re.compile(r"-?\d+(\.0*)?")
_SEPARATORS = {" ": "spaces", ",": "commas", ";": "semicolons"}
_LIST = re.compile(r"\[.*\]|\{.*\}")  # as Python, JSON and PostgreSQL write lists and sets
_ONE_LABEL = (
    "headstart supports one label per image: name a column with the main label (--label-column), or fit once per label "
    "with a column that says whether an image has it"
)

Cells = Sequence["str | None"]


def class_names(path: Path, column: str, cells: Cells) -> tuple[list[str | None], list[Guess], list[str]]:
    """Return the class of each row, None for no label; what was guessed; and what was changed.

    :raises DataError: the cells are not one class name each, or it is not clear which cells have one.
    """
    distinct = list(dict.fromkeys(cell for cell in cells if cell is not None))
    broken = next((name for name in distinct if re.search(r"[\r\n]", name)), None)
    if broken is not None:
        raise DataError(
            f"{path}: row {cells.index(broken) + 1} below the header has a line break in its label, {broken[:80]!r}: "
            "close the double quote that is open there, or write the label in one line"
        )
    names = {cell: _plain(cell) for cell in distinct}
    notes = []
    if changed := sum(unicodedata.normalize("NFC", cell) != name for cell, name in names.items()):
        notes.append(
            f"{changed:,} labels in {column!r} are read without the no-break spaces and zero-width characters in them"
        )
    if any("." in name for name in names.values()) and all(map(_WHOLE.fullmatch, names.values())):
        names = {cell: name.split(".")[0] for cell, name in names.items()}
        notes.append(f"the whole numbers in {column!r} are read without their decimal point")
    classes = set(names.values()) - {""}
    guesses = _check_missing(path, column, classes, cells)
    _check_one_label(path, column, classes)
    try:
        check_class_names(classes)
    except DataError as error:
        raise DataError(f"{path}: in the column {column!r}, {error}") from None
    return [None if cell is None else names[cell] or None for cell in cells], guesses, notes


def _check_one_label(path: Path, column: str, classes: set[str]) -> None:
    lists = sorted(filter(_LIST.fullmatch, classes))
    if lists:
        raise DataError(f"{path}: the column {column!r} has lists, for example {lists[0]!r}; {_ONE_LABEL}")
    separator = separator_of_several_labels(classes)
    if separator is not None:
        examples = ", ".join(map(repr, sorted(name for name in classes if separator in name)[:3]))
        sign = _SEPARATORS.get(separator, f"the sign {separator}")
        raise DataError(
            f"{path}: the column {column!r} has several labels in one cell, separated by {sign}, for example "
            f"{examples}; {_ONE_LABEL}; if these are names of classes, write them with _ between the words"
        )


def _plain(name: str) -> str:
    text = _ZERO_WIDTH.sub("", _NO_BREAK_SPACES.sub(" ", name))
    return unicodedata.normalize("NFC", text).strip()


def _check_missing(path: Path, column: str, classes: set[str], cells: Cells) -> list[Guess]:
    words = sorted(classes & _MISSING)
    if not words:
        return []
    if set(words) == classes:  # as missing values they would leave no label at all
        listed = ", ".join(map(repr, words))
        return [Guess(f"the words {listed} in the column {column!r} are names of classes", "leaving such cells empty")]
    counts = Counter(cells)
    listed = ", ".join(f"{word!r} in {counts[word]:,} rows" for word in words)
    raise DataError(
        f"{path}: the column {column!r} has {listed}, which may be a class or a missing label: leave the cells of "
        "images without a label empty, or give the class another name"
    )


def classes_of_one_hot(path: Path, columns: dict[str, list[str | None]]) -> list[str | None]:
    """Return the class of each row: the one column that has 1; None for a row whose cells are all empty.

    :raises DataError: a row has several ones, or none.
    """
    names = list(columns)
    labels: list[str | None] = []
    for number, row in enumerate(zip(*columns.values(), strict=True), 1):
        ones = [name for name, cell in zip(names, row, strict=True) if _is_one(cell)]
        if len(ones) == 1 or all(cell is None for cell in row):
            labels.append(ones[0] if ones else None)
            continue
        found = f"several of them: {', '.join(map(repr, ones[:5]))}" if ones else "none of them"
        raise DataError(
            f"{path}: the columns {', '.join(map(repr, names[:20]))} have 0 and 1, but row {number} below the "
            f"header has 1 in {found}; {_ONE_LABEL}"
        )
    return labels


def _is_one(cell: str | None) -> bool:
    return cell is not None and cell.lower() in ("1", "1.0", "true")
