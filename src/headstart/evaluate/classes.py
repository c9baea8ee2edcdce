"""An evaluation class by class: the worst, and all as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["class_table", "worst"]

_TAKEN_FOR = 3  # names told of each
_HEADER = (
    *("class", "images", "right", "recall", "recall_low", "recall_high", "precision", "f1"),
    *("taken_for", "taken_for_images"),
)


def worst(evaluation: Mapping[str, Any], *, most: int = 5) -> list[dict[str, Any]]:
    """Classes with mistakes, lowest recall first; among equals those of which one can be surer.

    :param evaluation: of :func:`headstart.evaluate.evaluate`.
    :returns: each with "class", "images", "recall" (with its interval), and "taken_for": up to three (name, images).

    >>> from headstart.evaluate import evaluate
    >>> found = evaluate([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["cat", "dog"])
    >>> [(row["class"], row["recall"]["value"], row["taken_for"]) for row in worst(found)]
    [('dog', 0.5, [('cat', 1)])]
    """
    rows = [
        (number, row)
        for number, row in enumerate(evaluation["per_class"])
        if row["recall"] is not None and row["recall"]["value"] < 1
    ]
    rows.sort(key=lambda item: (item[1]["recall"]["value"], item[1]["recall"]["high"]))
    return [
        {
            **{key: row[key] for key in ("class", "images", "recall")},
            "taken_for": _taken_for(evaluation, number)[:_TAKEN_FOR],
        }
        for number, row in rows[:most]
    ]


def class_table(evaluation: Mapping[str, Any]) -> str:
    """A row a class as CSV, in the classes' order; a cell is empty where there are no images to tell by.

    "taken_for" is the class that its images are most often mistaken for, "taken_for_images" how many of them.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for number, row in enumerate(evaluation["per_class"]):
        recall = row["recall"] or {}
        shares = [recall.get("value"), recall.get("low"), recall.get("high"), row["precision"], row["f1"]]
        other, times = (_taken_for(evaluation, number) or [("", "")])[0]
        cells = ["" if share is None else f"{share:.6f}" for share in shares]
        writer.writerow([row["class"], row["images"], evaluation["confusion"][number][number], *cells, other, times])
    return text.getvalue()


def _taken_for(evaluation: Mapping[str, Any], number: int) -> list[tuple[Any, Any]]:
    """The classes that images of this one are mistaken for, and how many, most often first."""
    counts = np.array(evaluation["confusion"][number])
    counts[number] = 0
    order = np.argsort(-counts, kind="stable")
    return [(evaluation["classes"][other], int(counts[other])) for other in order if counts[other]]
