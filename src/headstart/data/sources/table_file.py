"""Files of tables: CSV in the dialects that programs write, TSV, JSON lines and Parquet -> columns of strings."""

from __future__ import annotations

import codecs
import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headstart.data.formats import is_image_name
from headstart.description import Guess
from headstart.errors import DataError

__all__ = ["SUFFIXES", "Columns", "TableFile", "columns_of", "read_table", "rows_of"]

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")

Columns = dict[str, list[str | None]]

_SEPARATORS = ",;\t|"
_KNOWN = 100_000  # different cells of a column that are remembered
_LINE = re.compile(r"[^\r\n]*(\r\n|\r|\n|\Z)")
_SEP_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_OTHER_KINDS = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "a Feather file"),
    (b"\x1f\x8b", "a file compressed with gzip"),
    (b"BZh", "a file compressed with bzip2"),
    (b"\xfd7zXZ", "a file compressed with xz"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of its file, which git lfs pull fetches"),
)


@dataclass(frozen=True)
class TableFile:
    """The columns of a table as strings.

    :param columns: the cells by the name of their column, None if empty.
    :param lists: columns with several values in some cell, which are not among ``columns``.
    :param not_text: descriptions of other columns that are not among ``columns``.
    :param guesses: readings of the file that were chosen although another fits.
    :param notes: facts about the file that are worth saying.
    """

    path: Path
    columns: Columns
    lists: tuple[str, ...] = ()
    not_text: tuple[str, ...] = ()
    guesses: tuple[Guess, ...] = ()
    notes: tuple[str, ...] = ()


def _is_header(names: Sequence[str]) -> bool:
    return not any(map(is_image_name, names))


def read_table(path: Path, is_header: Callable[[Sequence[str]], bool] = _is_header) -> TableFile:
    """Read all columns of a table as strings.

    :param is_header: whether the cells of the first line are the names of the columns, and not a row.
    :raises DataError: the file does not exist, is damaged, or is no table.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(path)
        if path.suffix.lower() == ".jsonl":
            return _read_json_lines(path)
        return _read_csv(path, path.read_bytes(), is_header)
    except FileNotFoundError:
        raise DataError(f"{path}: no such table of labels") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_parquet(path: Path) -> TableFile:
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, ValueError) as error:  # ValueError: a name of a column that is not UTF-8
        with path.open("rb") as file:
            kind = _other_kind(file.read(4096))
        if kind and kind != "a Parquet file":
            raise DataError(f"{path} is {kind}, not a Parquet file") from error
        raise DataError(f"{path} is damaged, or not a Parquet file: {error}") from error
    return columns_of(path, table)


def columns_of(path: Path, table: pa.Table) -> TableFile:
    """Convert the columns of a table in memory to strings; those that cannot be are named."""
    columns: Columns = {}
    lists, not_text = [], []
    for name in table.column_names:
        cells = table[name]
        is_list = pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type)
        lengths = pc.list_value_length(cells).to_pylist() if is_list else []
        if max((length or 0 for length in lengths), default=0) > 1:
            lists.append(name)
            continue
        try:
            values = _strings(pc.list_flatten(cells) if is_list else cells)
        except (pa.ArrowException, ValueError):  # structures, images as bytes, or text that is not UTF-8
            not_text.append(f"{name!r} ({str(cells.type)[:60]})")
            continue
        only = iter(values)
        columns[name] = [next(only) if length else None for length in lengths] if is_list else values
    return TableFile(path, columns, tuple(lists), tuple(not_text))


def _read_json_lines(path: Path) -> TableFile:
    """Read one object per line, as Hugging Face's ``metadata.jsonl``."""
    rows: list[Mapping[str, object]] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}: line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}: line {number} must be an object with a value per column, got {str(row)[:80]}")
            rows.append(row)
    return rows_of(path, rows)


def rows_of(path: Path, rows: Sequence[Mapping[str, object]]) -> TableFile:
    """Convert objects as JSON has them to columns of strings.

    >>> rows_of(Path("a.jsonl"), [{"file": "a.jpg", "label": 1.0}, {"file": "b.jpg"}]).columns
    {'file': ['a.jpg', 'b.jpg'], 'label': ['1', None]}
    """
    columns: Columns = {}
    lists: dict[str, None] = {}
    for number, row in enumerate(rows):
        for name, value in row.items():
            if isinstance(value, list | dict):
                lists[name] = None
            else:
                columns.setdefault(name, [None] * len(rows))[number] = _cell(_text_of(value))
    return TableFile(path, {name: cells for name, cells in columns.items() if name not in lists}, tuple(lists))


def _text_of(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _strings(cells: pa.ChunkedArray) -> list[str | None]:
    """Cells as strings: integers that are stored as floats, as pandas does beside missing values, without ".0"."""
    if pa.types.is_floating(cells.type):
        values = [None if value is None or math.isnan(value) else value for value in cells.to_pylist()]
        if all(value is None or (math.isfinite(value) and value == int(value)) for value in values):
            return [None if value is None else str(int(value)) for value in values]
        texts = cells.cast(pa.string()).to_pylist()
        return [None if value is None else text for value, text in zip(values, texts, strict=True)]
    return [_cell(value) for value in cells.cast(pa.string()).to_pylist()]


def _read_csv(path: Path, data: bytes, is_header: Callable[[Sequence[str]], bool]) -> TableFile:
    kind = _other_kind(data)
    if kind:
        raise DataError(f"{path} is {kind}, not CSV: save it as CSV UTF-8, or as Parquet")
    text, skipped, separator, notes = _without_preamble(_text(path, data))
    header = _first_line(text)
    # The most frequent separator in the header: csv.Sniffer is misled by long cells. Ties go to the comma.
    separator = separator or max(_SEPARATORS, key=header.count)
    if separator not in header and (columns := _separated_by_spaces(text, is_header)):
        guess = Guess("the columns are separated by spaces", "saving the table with commas")
        return TableFile(path, columns, guesses=(guess,), notes=tuple(notes))
    quote = "'" if _in_single_quotes(header, separator) else '"'
    guesses = []
    try:
        found = csv.reader(
            (line[0] for line in _LINE.finditer(text)),
            delimiter=separator,
            quotechar=quote,
            skipinitialspace=True,
            strict=True,
        )
        rows: Iterator[tuple[int, list[str]]] = (
            (found.line_num + skipped, row) for row in found if any(cell.strip() for cell in row)
        )
        first = next(rows, None)
        names = [name.strip() for name in first[1]] if first else []
        if first is not None and not is_header(names):
            shown = f"the first line, {header[:80]!r}, is a row: the table has no line of column names"
            guesses.append(Guess(shown, "a first line with the names of the columns"))
            names = [f"column {number}" for number in range(1, len(names) + 1)]
            rows = chain([first], rows)
        cells = _Cells(len(names))
        for number, row in rows:
            cells.add(number, row)
    except csv.Error as error:
        raise DataError(f"{path} is not a valid CSV table: {error}") from error
    width = len(names)
    while width and not names[width - 1] and not any(cells.columns[width - 1]):  # as spreadsheets write
        width -= 1
    names = names[:width]
    if len(set(names)) < len(names) or not names:
        raise DataError(f"{path} must begin with a line of unique column names, got {header[:80]!r}")
    if (wrong := cells.first_of_another_width(width)) is not None:
        number, count = wrong
        hint = f"; put a cell that contains {separator!r} in double quotes" if count > len(names) else ""
        raise DataError(f"{path}: line {number} has {count} cells, but the header has {len(names)}{hint}")
    return TableFile(path, dict(zip(names, cells.columns, strict=False)), guesses=tuple(guesses), notes=tuple(notes))


class _Cells:
    """The cells of a table by column, row after row: no list per row, and equal cells are one object."""

    def __init__(self, width: int) -> None:
        self.columns: list[list[str | None]] = [[] for _ in range(width)]
        self._known: list[dict[str | None, str | None]] = [{} for _ in range(width)]
        self._shorter: dict[int, int] = {}  # the first line with so many cells
        self._longer: tuple[int, int] | None = None  # the first line with more that are not empty, and how many

    def add(self, line: int, row: Sequence[str]) -> None:
        width = len(self.columns)
        if len(row) < width:
            self._shorter.setdefault(len(row), line)
            row = [*row, *[""] * (width - len(row))]
        elif self._longer is None and any(cell.strip() for cell in row[width:]):
            self._longer = (line, len(row))
        for column, known, text in zip(self.columns, self._known, row, strict=False):
            cell = _cell(text)
            column.append(known.setdefault(cell, cell) if len(known) < _KNOWN else known.get(cell, cell))

    def first_of_another_width(self, width: int) -> tuple[int, int] | None:
        """The first line that has not so many cells, and how many it has."""
        wrong = [(line, count) for count, line in self._shorter.items() if count < width]
        return min(wrong + ([self._longer] if self._longer else []), default=None)


def _other_kind(data: bytes) -> str | None:
    """What a file is that is no table of text."""
    for start, kind in _OTHER_KINDS:
        if data.startswith(start):
            return kind
    start = data.removeprefix(codecs.BOM_UTF8)[:4096].lstrip()
    if re.match(rb"<(!doctype|html|\?xml)", start, re.IGNORECASE):
        return "HTML or XML"
    if start[:1] in (b"{", b"["):
        for text in (data, data.strip().split(b"\n", 1)[0]):
            try:
                json.loads(text.decode("utf-8-sig"))
            except (ValueError, RecursionError):
                continue
            return "JSON"
    return None


def _text(path: Path, data: bytes) -> str:
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what spreadsheets call Unicode text
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        if is_utf16:
            raise DataError(f"{path} is damaged: it begins as UTF-16, but is not; save it as CSV UTF-8") from error
        # Almost any bytes are also text in cp1252, cp1251 or Shift JIS, and the class names would go into the model.
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not UTF-8: byte 0x{data[error.start]:02x} in line {line}; save it as CSV UTF-8"
        ) from error
    if "\0" in text:
        kept = text.rstrip("\0")
        if "\0" in kept:
            line = text.count("\n", 0, text.index("\0")) + 1
            text = f"line {line} contains NUL bytes: the file is damaged, or UTF-16 without its mark"
            raise DataError(f"{path}: {text}; save it as CSV UTF-8")
        count = len(text) - len(kept)
        raise DataError(f"{path} ends with {count:,} NUL bytes, so rows may be missing: copy or save it again")
    return text


def _first_line(text: str) -> str:
    found = _LINE.match(text)
    return found[0].rstrip("\r\n") if found else ""


def _without_preamble(text: str) -> tuple[str, int, str | None, list[str]]:
    """The text from the header on, the number of lines before it, the separator if a line states it, and notes."""
    skipped, separator = 0, None
    notes: list[str] = []
    while text:
        found = _LINE.match(text)
        line, end = ("", len(text)) if found is None else (found[0].strip(), found.end())
        stated = _SEP_LINE.fullmatch("" if found is None else found[0].rstrip("\r\n"))
        if stated and separator is None:
            separator = stated[1]
            notes.append(f"the first line, {line!r}, states the separator")
        elif line.startswith("#") and not _is_commented_header(line, _first_line(text[end:])):
            notes.append(f"line {skipped + 1} is skipped as a comment: {line[:80]!r}")
        elif line:
            break
        text, skipped = text[end:], skipped + 1
    return text, skipped, separator, notes


def _is_commented_header(line: str, following: str) -> bool:
    """Whether a line that begins with "#" has the columns of the line after it."""
    separator = max(_SEPARATORS, key=line.count)
    return 0 < line.count(separator) == following.count(separator)


def _in_single_quotes(header: str, separator: str) -> bool:
    cells = [cell.strip() for cell in header.split(separator)]
    return len(cells) > 1 and all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells)


def _separated_by_spaces(text: str, is_header: Callable[[Sequence[str]], bool]) -> Columns | None:
    """The columns of a table without separators whose lines all have the same number of words; None if it has none."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or len(lines[0]) < 2 or len(set(map(len, lines))) > 1 or len(set(lines[0])) < len(lines[0]):
        return None
    if not is_header(lines[0]):
        lines.insert(0, [f"column {number}" for number in range(1, len(lines[0]) + 1)])
    names, *rows = lines
    return {name: [_cell(row[i]) for row in rows] for i, name in enumerate(names)}


def _cell(value: str | None) -> str | None:
    if value is None:
        return None
    text = value.strip()
    if text.startswith('="') and text.endswith('"'):  # what programs write so that Excel keeps the zeros of ="001"
        text = text[2:-1].strip()
    return text or None
