"""Predictions as a submission to a Kaggle competition: ``id,<class>,...``, one row per image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.uri import display_name
from headstart.errors import DataError
from headstart.evaluate import intervals, metrics
from headstart.evaluate.schema import Interval
from headstart.files import write_bytes
from headstart.models.class_names import align
from headstart.workflow.predict import Predictions

__all__ = ["Submission", "find_sample", "log_loss", "make_submission", "summary_lines"]

SAMPLE = "sample_submission.csv"


@dataclass(frozen=True)
class Submission:
    """A table in the format of a competition."""

    header: tuple[str, ...]  # the id column, then the classes as the sample spells them
    ids: list[str]
    probabilities: NDArray[np.floating]  # (N, C)
    unreadable: int  # images that cannot be read: all classes have the same probability
    left_out: int  # images that the sample does not list

    def write(self, path: Path) -> None:
        """Write a CSV file, with probabilities of seven digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        for name, row in zip(self.ids, self.probabilities.tolist(), strict=True):
            writer.writerow([name, *(f"{probability:.7g}" for probability in row)])
        write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def find_sample(images: Iterable[str | Path]) -> Path | None:
    """Find ``sample_submission.csv`` in the folders of images or beside them; the first one is used."""
    folders = [Path(image).absolute() for image in images]
    paths = [parent / SAMPLE for folder in folders for parent in (folder, folder.parent)]
    return next((place for place in paths if place.is_file()), None)


def make_submission(predictions: Predictions, sample: Path | None) -> Submission:
    """Arrange predictions like the sample; without one, columns are sorted by class and rows are in the given order.

    :raises DataError: two images have the same id, the sample lists an id without an image, or its classes are not
        those of the classifier.
    """
    rows = _rows_by_id(predictions.manifest.uris)
    if sample is None:
        header, ids = ("id", *sorted(predictions.classes)), list(rows)
        columns = np.argsort(predictions.classes, kind="stable")
    else:
        header, ids = _read_sample(sample)
        columns = _columns(header[1:], predictions.classes, sample)
        _check_ids(ids, rows, sample)
    probabilities = _probabilities_of_all(predictions)[[rows[name] for name in ids]][:, columns]
    return Submission(header, ids, probabilities, len(predictions.manifest.unusable), len(rows) - len(ids))


def log_loss(predictions: Predictions) -> Interval | None:
    """The mean log-loss in nats over the readable images, with its 95 % interval; None without labels.

    Labels that are none of the classes, such as names of folders that mean something else, do not count as labels.
    """
    usable = predictions.manifest.usable
    labels = usable.labels
    if not labels or None in labels:
        return None
    try:
        aligned = align(usable.classes, predictions.classes)
    except DataError:
        return None
    targets = usable.with_column("label", [aligned[str(label)] for label in labels]).targets(predictions.classes)
    return intervals.mean(metrics.log_losses(targets, predictions.probabilities))


def summary_lines(submission: Submission, loss: Interval | None) -> list[str]:
    """Text for a terminal: the size of the table, what deviates from the sample, and the log-loss if known."""
    lines = [f"{len(submission.ids):,} rows, {len(submission.header) - 1:,} classes"]
    if submission.left_out:
        lines.append(f"left out, since the sample does not list them: {submission.left_out:,}")
    if submission.unreadable:
        lines.append(f"unreadable, with the same probability for all classes: {submission.unreadable:,}")
    if loss is not None:
        lines.append(f"log-loss {loss.value:.5f} (95 % interval {loss.low:.5f} to {loss.high:.5f})")
    return lines


def _rows_by_id(uris: Sequence[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, uri in enumerate(uris):
        name = Path(display_name(uri)).stem
        if name in rows:
            raise DataError(f"{uris[rows[name]]} and {uri} have the same id, {name}; ids must be unique")
        rows[name] = row
    return rows


def _probabilities_of_all(predictions: Predictions) -> NDArray[np.floating]:
    """(images, C). Unreadable images need a row too: all classes have the same probability."""
    classes = len(predictions.classes)
    probabilities = np.full((len(predictions.manifest), classes), 1 / classes)
    probabilities[[problem is None for problem in predictions.manifest.problems]] = predictions.probabilities
    return probabilities


def _read_sample(sample: Path) -> tuple[tuple[str, ...], list[str]]:
    try:
        with sample.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = _csv_rows(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as failure:
        raise DataError(f"{sample}: not a sample submission ({failure})") from failure
    if len(header) < 3 or len(set(header)) < len(header) or not rows:
        raise DataError(f"{sample}: not a sample submission: it must have id,<class>,<class>,... and one row per image")
    ids = [row[0] for row in rows]
    if len(set(ids)) < len(ids):
        raise DataError(f"{sample}: not a sample submission: an id occurs twice")
    return tuple(header), ids


def _csv_rows(file: Iterable[str]) -> Iterator[list[str]]:
    yield from (row for row in csv.reader(file, strict=True) if row)


def _columns(names: Sequence[str], classes: Sequence[str], sample: Path) -> NDArray[np.int64]:
    """The column of the probabilities for each class of the sample."""
    try:
        aligned = align(names, classes)
    except DataError as failure:
        raise DataError(f"{sample}: {failure}") from failure
    missing = sorted(set(classes) - set(aligned.values()))
    if missing:
        raise DataError(f"{sample}: has no column for {missing[0]}, one of the classifier's {len(classes)} classes")
    return np.array([list(classes).index(aligned[name]) for name in names], np.int64)


def _check_ids(ids: Sequence[str], rows: dict[str, int], sample: Path) -> None:
    missing = [name for name in ids if name not in rows]
    if missing:
        raise DataError(
            f"{sample}: {len(missing):,} of its {len(ids):,} ids have no image among the {len(rows):,} given: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}; give the folder with all images"
        )
