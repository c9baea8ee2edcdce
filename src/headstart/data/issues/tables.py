"""Issues as tables: CSV to read and to edit, Parquet to compute with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from headstart.data.issues.base import Issue
from headstart.data.parquet import write_parquet
from headstart.data.uri import display_name
from headstart.files import write_text

__all__ = ["write_issues"]

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
    write_text(folder / "issues.csv", text.getvalue())
