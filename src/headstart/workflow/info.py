"""Describe a data set in lines for a terminal: table, classes, sizes, files. No image is decoded."""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from headstart.config import ReadSettings
from headstart.data.decode import header_size
from headstart.data.manifest import Manifest
from headstart.data.sources import ImageReference
from headstart.data.sources.tables import read_columns
from headstart.data.uri import display_name
from headstart.errors import ImageProblem
from headstart.workflow.reading import read

__all__ = ["class_lines", "describe", "file_lines", "image_lines", "size_lines", "table_lines"]

_EXAMPLES = 5
_SAMPLE = 1_000  # images whose headers are read: about a second of work, and enough for a median
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")  # an id such as 0017 is text: as a number it would lose its zeros
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d+)?|nan", re.IGNORECASE)
_MAX_CELL = 100  # characters


def describe(photos: str | Path, settings: ReadSettings | None = None) -> list[str]:
    """Describe a folder of images, with its table of labels if it has one.

    :raises DataError: there are no images, or the table cannot be used.
    """
    manifest = read(photos, settings)
    description = manifest.description
    assert description is not None
    sections = [
        [f"{photos}: {len(manifest):,} images, {len(manifest.classes):,} classes", *description.reading_lines()],
        _table_file_lines(Path(description.table)) if description.table else image_lines(manifest),
        class_lines(manifest),
        size_lines(manifest),
        file_lines(manifest),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section).split("\n")


def _table_file_lines(table: Path) -> list[str]:
    columns = read_columns(table)
    lines = table_lines(table, columns)
    if table.suffix.lower() == ".parquet":
        others = [field for field in pq.read_schema(table) if field.name not in columns]
        names = ", ".join(f"{field.name} ({field.type})" for field in others)
        lines += [f"  other columns, not text: {names}"] * bool(others)
    return lines


def table_lines(path: Path, columns: dict[str, list[str | None]]) -> list[str]:
    """Describe a table: its size; type, non-empty cells and distinct values of each column; the first rows.

    >>> for line in table_lines(Path("labels.csv"), {"id": ["7", "8"], "breed": ["pug", None]}):
    ...     print(line)
    labels.csv: 2 rows, 2 columns
      column  type     not empty  distinct
      id      integer          2         2
      breed   text             1         1
    first rows:
      id  breed
      7   pug
      8   -
    """
    rows = max((len(values) for values in columns.values()), default=0)
    summary = [("column", "type", "not empty", "distinct")]  # as in pandas' info() and nunique()
    for name, values in columns.items():
        filled = [value for value in values if value is not None]
        summary.append((name, _type(filled), f"{len(filled):,}", f"{len(set(filled)):,}"))
    first = [[values[row] or "-" for values in columns.values()] for row in range(min(_EXAMPLES, rows))]
    return [
        f"{path}: {rows:,} rows, {len(columns):,} columns",
        *_grid(summary, right={2, 3}),
        "first rows:",
        *_grid([list(columns), *first]),
    ]


def image_lines(manifest: Manifest) -> list[str]:
    """List the first images with their labels."""
    first = [("first images", "label"), *zip(manifest.uris[:_EXAMPLES], manifest.labels[:_EXAMPLES], strict=True)]
    return [line[2:] for line in _grid([[name, label or "-"] for name, label in first])]


def class_lines(manifest: Manifest) -> list[str]:
    """Describe the classes: number, images per class, largest and smallest; and the images per split."""
    labels = manifest.labels
    counts = Counter(label for label in labels if label is not None)
    lines = []
    if counts:
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        lines.append(f"classes: {len(counts):,}; images per class: {_spread(list(counts.values()))}")
        if len(ordered) > 2 * _EXAMPLES:
            lines += [f"  largest:  {_listed(ordered[:_EXAMPLES])}", f"  smallest: {_listed(ordered[-_EXAMPLES:])}"]
        else:
            lines.append(f"  {_listed(ordered)}")
    if unlabeled := labels.count(None):
        lines.append(f"without a label: {unlabeled:,}")
    splits = Counter(split for split in manifest.splits if split is not None)
    return lines + ([f"splits: {_listed(sorted(splits.items()))}"] if splits else [])


def size_lines(manifest: Manifest, *, sample: int = _SAMPLE, seed: int = 0) -> list[str]:
    """Describe upright width and height in pixels, from the headers of all images or of a random ``sample``."""
    drawn = np.random.default_rng(seed).permutation(len(manifest))[:sample]
    which = f"all {len(manifest):,} images" if len(drawn) == len(manifest) else f"a random {len(drawn):,} images"
    found = [_header(manifest.source(int(row))) for row in drawn]
    sizes = [each for each in found if isinstance(each, tuple)]
    problems = [str(each) for each in found if isinstance(each, ImageProblem)]
    lines = [f"sizes in pixels, from the headers of {which}:"]
    if sizes:
        widths, heights = zip(*sizes, strict=True)
        lines += [f"  width:  {_spread(widths)}", f"  height: {_spread(heights)}"]
    if problems:
        lines.append(f"  unknown: {len(problems):,}, for example {min(problems)}; run headstart check for all")
    return lines


def file_lines(manifest: Manifest) -> list[str]:
    """Describe the files: total size, number per suffix, and how many do not exist."""
    sizes: list[int] = []
    missing: list[str] = []
    suffixes: Counter[str] = Counter()
    for row, uri in enumerate(manifest.uris):
        stamp = manifest.source(row).stamp()
        if stamp is None:
            missing.append(uri)
        else:
            sizes.append(stamp.size)
            suffixes[os.path.splitext(display_name(uri))[1].lower() or "no suffix"] += 1  # noqa: PTH122 - of a URI
    lines = [f"files: {sum(sizes) / 1e6:,.1f} MB; {_listed(suffixes.most_common())}"] if sizes else []
    if sizes:
        lines.append(f"  kB per file: {_spread([size / 1e3 for size in sizes])}")
    return lines + ([f"  missing: {len(missing):,}, for example {missing[0]}"] if missing else [])


def _header(image: ImageReference) -> tuple[int, int] | ImageProblem:
    try:
        return header_size(image)
    except ImageProblem as problem:
        return problem


def _type(filled: list[str]) -> str:
    if not filled:
        return "empty"
    if all(map(_INTEGER.fullmatch, filled)):
        return "integer"
    return "number" if all(map(_NUMBER.fullmatch, filled)) else "text"


def _spread(values: Sequence[float]) -> str:
    low, median, high = (
        f"{value:,.1f}".removesuffix(".0") for value in (min(values), statistics.median(values), max(values))
    )
    return f"min {low}, median {median}, max {high}"


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts)


def _grid(rows: Sequence[Sequence[str]], *, right: set[int] | None = None) -> Iterator[str]:
    """Format rows of cells as lines with aligned columns; columns in ``right`` are right-aligned."""
    texts = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (
            cell.rjust(width) if i in (right or ()) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  " + "  ".join(cells).rstrip()


def _cell(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CELL else text[: _MAX_CELL - 1] + "…"
