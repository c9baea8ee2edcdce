"""What is in a data set, in lines for a terminal: table, classes, sizes, files. Nothing is decoded."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from headstart.data.decode import header_size
from headstart.data.manifest import Manifest
from headstart.data.sources import read_with_table
from headstart.data.tables import read_columns
from headstart.data.uri import to_path
from headstart.errors import ImageProblem
from headstart.settings import ReadSettings

__all__ = ["class_lines", "describe", "file_lines", "image_lines", "size_lines", "table_lines"]

_EXAMPLES = 5
_SAMPLE = 1_000  # images of which the header is read: a second's work, and enough for a median
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")  # an id such as 0017 is a text: as a number it would lose its zeros
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan", re.IGNORECASE)
_CUT = 100  # characters of a cell


def describe(photos: str | Path, settings: ReadSettings | None = None) -> list[str]:
    """Tell what is in a folder of pictures, with its table of labels where it has one.

    :raises DataError: nothing is there, or a table cannot be used.
    """
    manifest, table = read_with_table(photos, **(settings or ReadSettings()).values())
    parts = [
        [f"{photos}: {len(manifest):,} images, {len(manifest.classes):,} classes"],
        _of_table(table) if table else image_lines(manifest),
        class_lines(manifest),
        size_lines(manifest),
        file_lines(manifest),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part).split("\n")


def _of_table(table: Path) -> list[str]:
    columns = read_columns(table)
    lines = table_lines(table, columns)
    if table.suffix.lower() == ".parquet":
        others = [field for field in pq.read_schema(table) if field.name not in columns]
        told = ", ".join(f"{field.name} ({field.type})" for field in others)
        lines += [f"  other columns, which are no texts: {told}"] * bool(others)
    return lines


def table_lines(path: Path, columns: dict[str, list[str | None]]) -> list[str]:
    """Rows, columns, and of each column its type, how many cells hold something and how many differ; first rows.

    >>> for line in table_lines(Path("labels.csv"), {"id": ["7", "8"], "breed": ["pug", None]}):
    ...     print(line)
    labels.csv: 2 rows, 2 columns
      column  type     not empty  different
      id      integer          2          2
      breed   text             1          1
    first rows:
      id  breed
      7   pug
      8   -
    """
    rows = max((len(values) for values in columns.values()), default=0)
    facts = [("column", "type", "not empty", "different")]  # as pandas' info() and nunique() tell
    for name, values in columns.items():
        filled = [value for value in values if value is not None]
        facts.append((name, _type(filled), f"{len(filled):,}", f"{len(set(filled)):,}"))
    first = [[values[row] or "-" for values in columns.values()] for row in range(min(_EXAMPLES, rows))]
    return [
        f"{path}: {rows:,} rows, {len(columns):,} columns",
        *_grid(facts, right={2, 3}),
        "first rows:",
        *_grid([list(columns), *first]),
    ]


def image_lines(manifest: Manifest) -> list[str]:
    """The first images with their labels."""
    first = [("first images", "label"), *zip(manifest.uris[:_EXAMPLES], manifest.labels[:_EXAMPLES], strict=True)]
    return [line[2:] for line in _grid([[name, label or "-"] for name, label in first])]


def class_lines(manifest: Manifest) -> list[str]:
    """How many images the classes have; those with most and with fewest; how many images each split has."""
    labels = manifest.labels
    counts = Counter(label for label in labels if label is not None)
    lines = []
    if counts:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        lines.append(f"classes: {len(counts):,}; images a class: {_spread(list(counts.values()))}")
        if len(ordered) > 2 * _EXAMPLES:
            lines += [f"  most:   {_listed(ordered[:_EXAMPLES])}", f"  fewest: {_listed(ordered[-_EXAMPLES:])}"]
        else:
            lines.append(f"  {_listed(ordered)}")
    if unlabelled := labels.count(None):
        lines.append(f"without a label: {unlabelled:,}")
    splits = Counter(split for split in manifest.splits if split is not None)
    return lines + ([f"splits: {_listed(sorted(splits.items()))}"] if splits else [])


def size_lines(manifest: Manifest, *, sample: int = _SAMPLE, seed: int = 0) -> list[str]:
    """Width and height in pixels, upright, by the headers of all images or of ``sample`` drawn at random."""
    drawn = np.random.default_rng(seed).permutation(len(manifest))[:sample]
    of_what = f"all {len(manifest):,}" if len(drawn) == len(manifest) else f"{len(drawn):,} drawn at random"
    uris = manifest.uris
    found = [_header(uris[row]) for row in drawn]
    sizes = [each for each in found if isinstance(each, tuple)]
    problems = [str(each) for each in found if isinstance(each, ImageProblem)]
    lines = [f"sizes in pixels, by the headers of {of_what}:"]
    if sizes:
        widths, heights = zip(*sizes, strict=True)
        lines += [f"  width:  {_spread(widths)}", f"  height: {_spread(heights)}"]
    if problems:
        lines.append(f"  {len(problems):,} cannot be told, such as {min(problems)}; see headstart check")
    return lines


def file_lines(manifest: Manifest) -> list[str]:
    """Bytes of all images, kinds of file by suffix, and how many that are named are not there."""
    sizes: list[int] = []
    missing: list[str] = []
    kinds: Counter[str] = Counter()
    for uri in manifest.uris:
        path = to_path(uri)
        try:
            sizes.append(path.stat().st_size)
            kinds[path.suffix.lower() or "no suffix"] += 1
        except OSError:
            missing.append(uri)
    lines = [f"files: {sum(sizes) / 1e6:,.1f} MB; {_listed(kinds.most_common())}"] if sizes else []
    if sizes:
        lines.append(f"  kB a file: {_spread([size / 1e3 for size in sizes])}")
    return lines + ([f"  not there: {len(missing):,}, such as {missing[0]}"] if missing else [])


def _header(uri: str) -> tuple[int, int] | ImageProblem:
    try:
        return header_size(to_path(uri))
    except ImageProblem as problem:
        return problem


def _type(filled: list[str]) -> str:
    if not filled:
        return "empty"
    if all(map(_INTEGER.fullmatch, filled)):
        return "integer"
    return "number" if all(map(_NUMBER.fullmatch, filled)) else "text"


def _spread(values: Sequence[float]) -> str:
    least, middle, most = (
        f"{value:,.1f}".removesuffix(".0") for value in (min(values), statistics.median(values), max(values))
    )
    return f"least {least}, median {middle}, most {most}"


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts)


def _grid(rows: Sequence[Sequence[str]], *, right: set[int] | None = None) -> Iterator[str]:
    """Rows of cells as lines with the columns below each other; those in ``right`` stand at the right."""
    cut = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    for row in cut:
        cells = (
            cell.rjust(width) if i in (right or ()) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join(cells).rstrip()


def _cell(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _CUT else text[: _CUT - 1] + "…"
