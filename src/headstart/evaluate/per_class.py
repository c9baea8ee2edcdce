"""Per-class results: the worst classes, and a table of all."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np

from headstart.documents import csv_cell
from headstart.evaluate.schema import Evaluation, Interval

__all__ = ["ClassErrors", "per_class_csv", "worst_classes"]

_MAX_CONFUSED = 3
_HEADER = (
    *("class", "images", "correct", "recall", "recall_low", "recall_high", "precision", "f1"),
    *("confused_with", "confused_with_images"),
)


@dataclass(frozen=True)
class ClassErrors:
    """A class with its recall and the classes that its images are most often predicted as."""

    name: str
    images: int
    recall: Interval
    confused_with: tuple[tuple[str, int], ...]  # up to three (class, number of images), most frequent first


def worst_classes(evaluation: Evaluation, *, most: int = 5) -> tuple[ClassErrors, ...]:
    """Return up to ``most`` classes with errors, lowest recall first; ties by the lower upper bound of the recall.

    >>> from headstart.evaluate import evaluate
    >>> evaluation = evaluate([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["cat", "dog"])
    >>> [(row.name, row.recall.value, row.confused_with) for row in worst_classes(evaluation)]
    [('dog', 0.5, (('cat', 1),))]
    """
    rows = [
        ClassErrors(row.name, row.images, row.recall, _confused_with(evaluation, number)[:_MAX_CONFUSED])
        for number, row in enumerate(evaluation.per_class)
        if row.recall is not None and row.recall.value < 1
    ]
    return tuple(sorted(rows, key=lambda row: (row.recall.value, row.recall.high))[:most])


def per_class_csv(evaluation: Evaluation) -> str:
    """Return one CSV row per class, in class order; a cell is empty where a metric is undefined.

    ``confused_with`` is the class that the images are most often wrongly predicted as, ``confused_with_images`` the
    number of those images.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for number, row in enumerate(evaluation.per_class):
        recall = (row.recall.value, row.recall.low, row.recall.high) if row.recall else (None, None, None)
        cells = ["" if value is None else f"{value:.6f}" for value in (*recall, row.precision, row.f1)]
        other, images = next(iter(_confused_with(evaluation, number)), ("", ""))
        correct = evaluation.confusion_matrix[number][number]
        writer.writerow([csv_cell(row.name), row.images, correct, *cells, csv_cell(other), images])
    return text.getvalue()


def _confused_with(evaluation: Evaluation, number: int) -> tuple[tuple[str, int], ...]:
    """Return the classes that images of class ``number`` are wrongly predicted as, most frequent first."""
    counts = np.array(evaluation.confusion_matrix[number])
    counts[number] = 0
    order = np.argsort(-counts, kind="stable")
    return tuple((evaluation.classes[other], int(counts[other])) for other in order if counts[other])
