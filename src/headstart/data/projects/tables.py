"""The labels of a project as a table: CSV, or JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone

from headstart.data.projects.reader import ProjectReader
from headstart.data.projects.records import ImageQuery
from headstart.data.uri import display_name, printable
from headstart.documents import csv_cell

__all__ = ["LabelRow", "as_csv", "as_json_lines", "label_rows"]


@dataclass(frozen=True)
class LabelRow:
    """An image with its label; ``labeled_at`` is in UTC, and None for an image that has no label."""

    path: str
    name: str  # of the file when it was added: the project keeps what is dropped under another one
    label: str | None
    labeled_by: str | None  # "person", "suggestion" that a person accepted, "folder" or "table"
    labeled_at: str | None


def label_rows(project: ProjectReader, *, unlabeled: bool = False) -> list[LabelRow]:
    """The labeled images of a project in the order in which they were added.

    :param unlabeled: also those that have no label, with an empty one.
    """
    classes = {each.id: each.name for each in project.classes()}
    times = project.label_times()
    return [
        LabelRow(
            display_name(image.uri),
            image.name,
            None if image.class_id is None else classes[image.class_id],
            image.source,
            _text(times.get(image.id)) if image.class_id is not None else None,
        )
        for image in project.images(ImageQuery(limit=None)).images
        if image.problem is None and (unlabeled or image.class_id is not None)
    ]


def as_csv(rows: list[LabelRow]) -> bytes:
    """The rows as CSV, for ``--labels`` of other commands; names that are not UTF-8 are written byte for byte."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LabelRow.__annotations__)
    writer.writerows([csv_cell(value or "") for value in asdict(row).values()] for row in rows)
    return text.getvalue().encode(errors="surrogateescape")


def as_json_lines(rows: list[LabelRow]) -> bytes:
    """The rows as JSON, one object per line."""

    def lines() -> Iterator[str]:
        for row in rows:
            yield json.dumps({**asdict(row), "path": printable(row.path)}, ensure_ascii=False)

    return "".join(f"{line}\n" for line in lines()).encode()


def _text(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds")
