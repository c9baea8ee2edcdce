"""Which columns of a table have the ids, the labels and the splits: by their names, else by what is in them."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headstart.data.formats import is_image_name
from headstart.data.sources.lookup import ImageLookup
from headstart.data.sources.split_cells import is_split_column
from headstart.data.sources.table_file import TableFile
from headstart.description import Guess
from headstart.errors import DataError

__all__ = ["NO_SPLITS", "ChosenColumns", "choose_columns", "has_known_names", "is_label_column", "listed", "normalize"]

NO_SPLITS = "none"  # the value of --split-column that leaves all such columns aside

# Column names are compared in lower case, letters and digits only; earlier ones in these lists are preferred.
_IDS = (
    *(
        "path",
        "filepath",
        "imagepath",
        "imgpath",
        "relativepath",
        "uri",
        "url",
        "imageurl",
        "file",
        "filename",
        "imagefile",
        "image",
    ),
    *("img", "imagename", "imageid", "imgid", "id", "name"),
)
_LABELS = (
    *("label", "classname", "labelname", "class", "labels", "categoryname", "category", "breed", "species", "target"),
    *("targetname", "classid", "labelid", "categoryid", "cls"),
)
_FOLDS = frozenset({"fold", "folds", "kfold", "cvfold"})
# Things of which there are often several images; as "patient", "patient_id", "Patient No".
_GROUPS = frozenset({"patient", "subject", "animal", "individual", "group", "session", "camera", "location", "site"})
_GROUPS |= {"video", "clip", "sequence", "scene", "specimen", "plot", "lesion"}
_GROUP_SUFFIXES = ("", "id", "no", "nr", "number", "name")
_BINARY = frozenset({"0", "1", "0.0", "1.0", "true", "false"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d+(\.0*)?")
_FEW_ROWS = 10  # below, labels may well occur once each
_MATCHING = 0.5  # the share of values that name an image, from which on a column is one of ids


@dataclass(frozen=True)
class ChosenColumns:
    """The columns to read.

    :param label: the column of labels; None if each of the columns ``one_hot`` says whether an image is of that class.
    """

    id: str
    label: str | None
    one_hot: tuple[str, ...]
    split: str | None
    group: str | None
    guesses: tuple[Guess, ...]
    notes: tuple[str, ...]


def normalize(name: str) -> str:
    """Lower case, letters and digits only.

    >>> normalize("Image_ID ")
    'imageid'
    """
    return re.sub(r"[\W_]", "", name.lower())


def has_known_names(names: Iterable[str]) -> bool:
    """Whether one of the names is that of a column of ids or labels."""
    return any(normalize(name) in (*_IDS, *_LABELS) for name in names)


def is_label_column(name: str) -> bool:
    """Whether a column is named as one of labels.

    >>> is_label_column("Class Name"), is_label_column("author")
    (True, False)
    """
    return normalize(name) in _LABELS


def listed(names: Sequence[str]) -> str:
    """The first 20 names, for a message."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more


def choose_columns(
    table: TableFile,
    *,
    id_column: str | None,
    label_column: str | None,
    split_column: str | None,
    group_column: str | None = None,
    lookup: ImageLookup | None,
) -> ChosenColumns:
    """Choose the columns of ids, labels and splits; those given by name are taken as they are.

    A column of groups is only taken if it is given: to divide the images by it is a decision. One that is named like
    groups is mentioned.

    :raises DataError: a given column does not exist, or several columns fit, or none.
    """
    names = list(table.columns)
    no_splits = split_column == NO_SPLITS and NO_SPLITS not in names
    given = (("--id-column", id_column), ("--label-column", label_column), ("--group-column", group_column))
    for setting, name in (*given, ("--split-column", None if no_splits else split_column)):
        if name is not None and name not in names:
            _refuse_given(table, name, setting)
    guesses: list[Guess] = []
    notes = []
    if split_column is None:
        free = [name for name in names if name not in (id_column, label_column, group_column)]
        split_column, unused = _split_column(table, free)
        notes += [f"the column {name!r} is not used" for name in unused]
    elif no_splits:
        split_column = None
    if id_column is None:
        id_column, guess = _id_column(
            table, [name for name in names if name not in (label_column, split_column, group_column)], lookup
        )
        guesses += [guess] if guess else []
    one_hot: tuple[str, ...] = ()
    if label_column is None:
        used = (id_column, split_column, group_column)
        rest = [name for name in names if name not in used and normalize(name) not in _FOLDS]
        label_column, one_hot, guess = _label_column(table, rest)
        guesses += [guess] if guess else []
    if group_column is None:
        taken = {id_column, label_column, split_column, *one_hot}
        notes += [
            f"images of the same {name!r} may be divided between splits: --group-column {shlex.quote(name)} keeps them "
            "together"
            for name in names
            if name not in taken and _is_like_groups(table, name)
        ]
    return ChosenColumns(id_column, label_column, one_hot, split_column, group_column, tuple(guesses), tuple(notes))


def _is_like_groups(table: TableFile, name: str) -> bool:
    """Whether a column is named like groups, and some of its values occur more than once."""
    values = _filled(table, name)
    if not 1 < len(set(values)) < len(values):
        return False
    return any(normalize(name) == known + suffix for known in _GROUPS for suffix in _GROUP_SUFFIXES)


def _refuse_given(table: TableFile, name: str, setting: str) -> None:
    if name in table.lists:
        raise DataError(
            f"{table.path}: the column {name!r} has lists of several values, but headstart supports one per image: "
            f"name a column with the main label"
        )
    near = difflib.get_close_matches(name, table.columns, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise DataError(
        f"{table.path} has no column {name!r} ({setting}); its columns are {listed([*table.columns])}{hint}"
    )


def _undetected(table: TableFile, what: str, setting: str) -> DataError:
    columns = listed(list(table.columns)) or "none"
    if table.not_text:
        columns += f"; not text: {', '.join(table.not_text)}"
    return DataError(
        f"{table.path}: cannot tell which column has the {what}; columns: {columns}; name one with {setting}"
    )


def _split_column(table: TableFile, names: Sequence[str]) -> tuple[str | None, list[str]]:
    """The column of splits if there is one, and columns named like splits or folds that are left aside."""
    unknown = [name for name in names if not has_known_names([name])]
    candidates = [name for name in unknown if is_split_column(normalize(name), table.columns[name])]
    candidates.sort(key=lambda name: normalize(name) not in ("split", "subset"))
    folds = [name for name in names if normalize(name) in _FOLDS]
    return (candidates[0] if candidates else None), [*candidates[1:], *folds]


def _id_column(table: TableFile, names: Sequence[str], lookup: ImageLookup | None) -> tuple[str, Guess | None]:
    known = _known(names, _IDS)
    if lookup is None:
        files = [name for name in names if any(is_image_name(value or "") for value in table.columns[name][:100])]
        if not known and len(files) != 1:
            raise _undetected(table, "ids of the images", "--id-column")
        chosen = known[0] if known else files[0]
        return chosen, _guess_ids(chosen) if len(known) != 1 else None
    if len(known) == 1 and lookup.share(table.columns[known[0]]) >= _MATCHING:
        return known[0], None
    matching = [name for name in known if lookup.share(table.columns[name]) >= _MATCHING]
    matching = matching or [name for name in names if lookup.share(table.columns[name]) >= _MATCHING]
    if not matching:
        if not known:
            raise _undetected(table, "ids of the images", "--id-column")
        return known[0], _guess_ids(known[0]) if len(known) > 1 else None
    files_of = {
        tuple(tuple(files) for files in lookup.match_all(_filled(table, name)[:100]).files) for name in matching
    }
    if len(files_of) > 1:
        raise DataError(
            f"{table.path}: the ids of the images may be in the columns {' and '.join(map(repr, matching))}, "
            "whose values name different images: choose with --id-column"
        )
    return matching[0], Guess(
        f"the ids of the images are in the column {matching[0]!r}, whose values are names of images", "--id-column NAME"
    )


def _guess_ids(name: str) -> Guess:
    return Guess(f"the ids of the images are in the column {name!r}", "--id-column NAME")


def _label_column(table: TableFile, names: Sequence[str]) -> tuple[str | None, tuple[str, ...], Guess | None]:
    """The column of labels, or the columns of a one-hot table."""
    known = _known([name for name in names if _filled(table, name)], _LABELS) or _known(names, _LABELS)
    if len(known) == 1:
        return known[0], (), None
    if known:
        return _one_of(table, known)
    several = _known(table.lists, _LABELS) or (list(table.lists) if not names else [])
    if several:
        _refuse_given(table, several[0], "--label-column")
    plausible = [name for name in names if _is_plausible(table.columns[name])]
    binary = [name for name in names if _is_binary(table.columns[name])]
    if len(binary) > 1 and set(plausible) <= set(binary):
        guess = Guess(
            f"the columns {listed(binary)} are the classes, with 1 for the class of an image", "--label-column NAME"
        )
        return None, tuple(binary), guess
    few = len(names) == 1 and len(table.columns[names[0]]) < _FEW_ROWS
    chosen = list(names) if few else plausible
    if len(chosen) != 1:
        raise _undetected(table, "labels", "--label-column")
    return chosen[0], (), Guess(f"the labels are in the column {chosen[0]!r}", "--label-column NAME")


def _one_of(table: TableFile, known: list[str]) -> tuple[str, tuple[str, ...], Guess]:
    """The column of names among columns of labels that correspond one to one."""
    first = table.columns[known[0]]
    for name in known[1:]:
        pairs = set(zip(first, table.columns[name], strict=True))
        if not len(pairs) == len(set(first)) == len(set(table.columns[name])):
            examples = "; ".join(f"{each!r} has {_examples(table, each)}" for each in (known[0], name))
            raise DataError(
                f"{table.path}: the labels may be in the column {known[0]!r} or {name!r} ({examples}): "
                "choose with --label-column"
            )
    names = [name for name in known if not all(map(_NUMBER.fullmatch, _filled(table, name)))]
    chosen = (names or known)[0]
    others = " and ".join(repr(name) for name in known if name != chosen)
    guess = Guess(
        f"the labels are in the column {chosen!r}, to which {others} corresponds one to one", "--label-column NAME"
    )
    return chosen, (), guess


def _examples(table: TableFile, name: str) -> str:
    values = list(dict.fromkeys(_filled(table, name)))
    return ", ".join(map(repr, values[:3])) + (", ..." if len(values) > 3 else "")


def _known(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """The names that are in a list of known names, in its order."""
    normalized: dict[str, str] = {}
    for name in names:
        normalized.setdefault(normalize(name), name)
    return [normalized[name] for name in order if name in normalized]


def _filled(table: TableFile, name: str) -> list[str]:
    return [value for value in table.columns[name] if value is not None]


def _is_plausible(values: Sequence[str | None]) -> bool:
    """Whether a column may have labels: several values, some of them more than once, and no fractions."""
    distinct = {value for value in values if value is not None}
    fractions = any(_NUMBER.fullmatch(value) and not _INTEGER.fullmatch(value) for value in distinct)
    return 2 <= len(distinct) < len(values) and not fractions


def _is_binary(values: Sequence[str | None]) -> bool:
    distinct = {value.lower() for value in values if value is not None}
    return bool(distinct) and distinct <= _BINARY
