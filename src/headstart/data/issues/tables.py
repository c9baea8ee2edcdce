"""Issues as tables: CSV to read and to edit, Parquet to compute with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from headstart.data.issues.base import DROP, RELABEL, Issue
from headstart.data.parquet import write_parquet
from headstart.data.uri import display_name
from headstart.files import write_bytes

__all__ = ["MIN_SCORE", "write_corrections", "write_issues"]

MIN_SCORE = 0.99
"""The score from which on an issue becomes a correction."""

_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
        pa.field("suggestion", pa.string(), nullable=False),
        ("label", pa.string()),
        ("related", pa.list_(pa.string())),
    ]
)


def write_issues(issues: Sequence[Issue], folder: Path) -> None:
    """Write ``issues.csv`` and ``issues.parquet``: uri, kind, score, evidence, suggestion, label, related."""
    rows = [
        (each.uri, each.kind, each.score, each.evidence, each.suggestion, each.label, list(each.related))
        for each in issues
    ]
    columns = [pa.array([row[number] for row in rows], field.type) for number, field in enumerate(_SCHEMA)]
    write_parquet(folder / "issues.parquet", pa.table(columns, schema=_SCHEMA))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_SCHEMA.names)
    for uri, kind, score, evidence, suggestion, label, related in rows:
        name = "" if uri is None else display_name(uri)
        others = ";".join(map(display_name, related))
        writer.writerow((name, kind, f"{score:.4f}", evidence, suggestion, label or "", others))
    # The path of a file may be no UTF-8.
    write_bytes(folder / "issues.csv", text.getvalue().encode("utf-8", "surrogateescape"))


def write_corrections(issues: Sequence[Issue], path: Path) -> int:
    """Write the issues that suggest to drop an image or to change its label, and are sure, as a table of corrections.

    For a person to edit; see :mod:`headstart.data.corrections`. An image that is dropped is not relabeled as well.

    :returns: the number of images.
    """
    sure = [each for each in issues if each.uri is not None and each.score >= MIN_SCORE]
    chosen = {each.uri: each for each in sure if each.suggestion == RELABEL and each.label is not None}
    chosen |= {each.uri: each for each in sure if each.suggestion == DROP}
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("uri", "label", "drop", "reason"))
    for each in sorted(chosen.values(), key=lambda issue: (issue.kind, issue.uri or "")):
        drop = each.suggestion == DROP
        reason = f"{each.kind}: {each.evidence}"
        writer.writerow((each.uri, "" if drop else each.label, "yes" if drop else "", reason))
    write_bytes(path, text.getvalue().encode())
    return len(chosen)
