"""The split of each row of a table, from the cells of a column."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.data.sources.split_names import parse_split
from headstart.description import Guess
from headstart.errors import DataError

__all__ = ["is_split_column", "read_splits"]

_NAMES = ("split", "subset")  # columns that are splits, or the table is refused
_USUAL_NAMES = frozenset({"usage", "set", "partition", "phase", "splitname", "datasplit"})  # if a value is a split
_MOST = 10  # distinct values of a column of another name
_KAGGLE = {"publictest": "test", "privatetest": "test", "public": "test", "private": "test"}
_FLAGS = {  # what 1 and 0 mean
    "istrain": ("train", "test"),
    "istraining": ("train", "test"),
    "istrainingimage": ("train", "test"),  # of CUB-200-2011
    "istest": ("test", "train"),
    "isval": ("validation", "train"),
    "isvalid": ("validation", "train"),  # of fastai
    "isvalidation": ("validation", "train"),
}
_TRUE, _FALSE = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no"})


def is_split_column(normalized: str, values: Sequence[str | None]) -> bool:
    """Whether a column is one of splits, by its normalized name or by its values.

    >>> is_split_column("split", ["0"]), is_split_column("set", ["A"]), is_split_column("set", ["train"])
    (True, False, True)
    >>> is_split_column("part", ["train", "test"]), is_split_column("vehicle", ["train", "train"])
    (True, False)
    """
    if normalized in _NAMES:
        return True
    distinct = {value.lower() for value in values if value is not None}
    if normalized in _FLAGS:
        return bool(distinct) and distinct <= _TRUE | _FALSE
    if normalized in _USUAL_NAMES:
        return any(map(_parse, distinct))
    splits = {_parse(value) for value in distinct} if len(distinct) <= _MOST else {None}
    return len(splits) > 1 and None not in splits


def read_splits(
    where: str, column: str, normalized: str, values: Sequence[str | None]
) -> tuple[list[str | None], Guess | None]:
    """Return the split of each row, None where its cell is empty, and what was guessed.

    :param where: the path of the table, for messages.
    :raises DataError: a cell is no split.
    """
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    if normalized in _FLAGS and {value.lower() for value in distinct} <= _TRUE | _FALSE:
        yes, no = _FLAGS[normalized]
        splits = {value: yes if value.lower() in _TRUE else no for value in distinct}
        certain = False
    else:
        splits = {}
        for value in distinct:
            split = _parse(value)
            if split is None:
                _refuse(where, column, distinct, values.index(value) + 1, value)
            splits[value] = str(split)
        certain = normalized in _NAMES and all(map(parse_split, distinct))
    guess = None if certain else _guess(column, splits)
    return [None if value is None else splits[value] for value in values], guess


def _parse(value: str) -> str | None:
    return parse_split(value) or _KAGGLE.get(value.replace(" ", "").lower())


def _guess(column: str, splits: dict[str, str]) -> Guess:
    meanings = ", ".join(f"{value!r} is {split}" for value, split in splits.items())
    return Guess(f"the column {column!r} has the splits: {meanings}", "--split-column NAME, or --split-column none,")


def _refuse(where: str, column: str, distinct: Sequence[str], row: int, value: str) -> None:
    if all(each.isdecimal() for each in distinct):
        raise DataError(
            f"{where}: the column {column!r} has numbers ({', '.join(distinct[:5])}), which may be folds of a "
            "cross-validation or codes of splits: write train, validation or test into it, or leave it aside with "
            "--split-column none"
        )
    raise DataError(
        f"{where}: row {row} below the header has {value!r} in the column {column!r}, which must be train, validation "
        "or test (or training, val, valid, testing); --split-column none leaves the column aside"
    )
