"""Predictions as a submission to a Kaggle competition: ``id,<class>,...`` or ``id,label``, one row per image."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.uri import display_name
from headstart.errors import DataError
from headstart.evaluate import intervals, metrics
from headstart.evaluate.schema import Interval
from headstart.files import write_bytes
from headstart.models.class_names import align, match
from headstart.workflow.predict import Predictions

__all__ = ["Submission", "find_sample", "log_loss", "make_submission", "summary_lines"]

_SAMPLE = re.compile(r"sample[ _-]?submission", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """A table in the format of a competition."""

    header: tuple[str, ...]  # the id column, then the columns of ``cells``
    ids: list[str]
    probabilities: NDArray[np.floating]  # (N, C), in the order of the header, or of ``classes`` if labels are written
    unreadable: int  # images that cannot be read: all classes have the same probability
    left_out: int  # images that the sample does not list
    classes: tuple[str, ...] | None = None  # as the sample spells them, if one label is written for each image

    def labels(self) -> list[str] | None:
        """The most probable class of each row, if labels are written; None if probabilities are."""
        if self.classes is None:
            return None
        return [self.classes[index] for index in self.probabilities.argmax(axis=1)]

    def write(self, path: Path) -> None:
        """Write a CSV file: labels, or probabilities of seven digits."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        labels = self.labels()
        if labels is not None:
            writer.writerows(zip(self.ids, labels, strict=True))
        else:
            for name, row in zip(self.ids, self.probabilities.tolist(), strict=True):
                writer.writerow([name, *(f"{probability:.7g}" for probability in row)])
        write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def find_sample(images: Iterable[str | Path]) -> Path | None:
    """Find ``sample_submission.csv`` in the folders of images or beside them; the first one is used.

    Names such as ``SampleSubmission.csv`` count as well.

    :raises DataError: the first folder with a sample has several.
    """
    for folder in (parent for image in images for parent in (Path(image).absolute(), Path(image).absolute().parent)):
        if not folder.is_dir():
            continue
        samples = sorted(path for path in folder.glob("*.csv") if _SAMPLE.match(path.name) and path.is_file())
        exact = [path for path in samples if path.name == "sample_submission.csv"] or samples
        if len(exact) > 1:
            names = ", ".join(path.name for path in exact)
            raise DataError(f"{folder} has more than one sample submission ({names}): name one with --sample")
        if exact:
            return exact[0]
    return None


def make_submission(predictions: Predictions, sample: Path | None) -> Submission:
    """Arrange predictions like the sample; without one, columns are sorted by class and rows are in the given order.

    The ids of a sample are names of images with or without their extension. If it has one column beside the id, the
    predicted class is written there, or the probability of the class after which the column is named.

    :raises DataError: two images have the same id, the sample lists an id without an image, or its classes are not
        those of the classifier.
    """
    uris = predictions.manifest.uris
    header: Sequence[str]
    classes: tuple[str, ...] | None = None
    if sample is None:
        header, ids = ("id", *sorted(predictions.classes)), [_stem(uri) for uri in uris]
        columns = np.argsort(predictions.classes, kind="stable")
        rows = [_only_row(uris, found, name) for name, found in _rows_by_id(uris, _stem).items()]
    else:
        header, *cells = _read_sample(sample)
        ids = [row[0] for row in cells]
        if len(header) > 2:
            columns = _columns(header[1:], predictions.classes, sample)
        elif len(named := match(header[1:], predictions.classes).get(0, [])) == 1:
            columns = np.array(named)  # the probability of one class
        else:
            classes = _classes_of_labels(header[1], [row[1] for row in cells], predictions.classes, sample)
            columns = np.arange(len(classes))
        rows = _rows_of(ids, uris, sample)
    probabilities = _probabilities_of_all(predictions)[rows][:, columns]
    return Submission(
        tuple(header), ids, probabilities, len(predictions.manifest.unusable), len(uris) - len(ids), classes
    )


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
    labels = submission.labels()
    if labels is None:
        lines = [f"{len(submission.ids):,} rows, {len(submission.header) - 1:,} classes"]
    else:
        lines = [f"{len(submission.ids):,} rows with one label each, of {submission.probabilities.shape[1]:,} classes"]
    if submission.left_out:
        lines.append(f"left out, since the sample does not list them: {submission.left_out:,}")
    if submission.unreadable:
        lines.append(f"unreadable, with the same probability for all classes: {submission.unreadable:,}")
    if loss is not None:
        lines.append(f"log-loss {loss.value:.5f} (95 % interval {loss.low:.5f} to {loss.high:.5f})")
    return lines


def _stem(uri: str) -> str:
    return Path(display_name(uri)).stem


def _name(uri: str) -> str:
    return Path(display_name(uri)).name


def _rows_by_id(uris: Sequence[str], id_of: Callable[[str], str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, uri in enumerate(uris):
        rows[id_of(uri)].append(row)
    return rows


def _only_row(uris: Sequence[str], rows: Sequence[int], name: str) -> int:
    if len(rows) > 1:
        raise DataError(f"{uris[rows[0]]} and {uris[rows[1]]} have the same id, {name}; ids must be unique")
    return rows[0]


def _rows_of(ids: Sequence[str], uris: Sequence[str], sample: Path) -> list[int]:
    """The row of the manifest for each id, which is the name of an image with its extension, or else without."""
    by_name, by_stem = _rows_by_id(uris, _name), _rows_by_id(uris, _stem)
    found = [by_name.get(name) or by_stem.get(name) for name in ids]
    missing = [name for name, rows in zip(ids, found, strict=True) if rows is None]
    if missing:
        raise DataError(
            f"{sample}: {len(missing):,} of its {len(ids):,} ids have no image among the {len(uris):,} given: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}; give the folder with all images"
        )
    return [_only_row(uris, rows, name) for name, rows in zip(ids, found, strict=True) if rows is not None]


def _probabilities_of_all(predictions: Predictions) -> NDArray[np.floating]:
    """(images, C). Unreadable images need a row too: all classes have the same probability."""
    classes = len(predictions.classes)
    probabilities = np.full((len(predictions.manifest), classes), 1 / classes)
    probabilities[[problem is None for problem in predictions.manifest.problems]] = predictions.probabilities
    return probabilities


def _read_sample(sample: Path) -> list[list[str]]:
    """The header and the rows."""
    try:
        with sample.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = _csv_rows(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as failure:
        raise DataError(f"{sample}: not a sample submission ({failure})") from failure
    if len(header) < 2 or len(set(header)) < len(header) or not rows:
        raise DataError(
            f"{sample}: not a sample submission: it must have id,<class>,<class>,... or id,label, and one row per image"
        )
    short = next((row for row in rows if len(row) != len(header)), None)
    if short is not None:
        raise DataError(f"{sample}: the row of {short[0]} has {len(short)} cells, but the header has {len(header)}")
    if len({row[0] for row in rows}) < len(rows):
        raise DataError(f"{sample}: not a sample submission: an id occurs twice")
    return [header, *rows]


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


def _classes_of_labels(column: str, labels: Sequence[str], classes: Sequence[str], sample: Path) -> tuple[str, ...]:
    """The classes as the sample spells those that it has.

    :raises DataError: the sample has something else in its one column, such as the probability of a class.
    """
    distinct = sorted({label.strip() for label in labels} - {""})
    try:
        aligned = align(distinct, classes)
    except DataError as failure:
        raise DataError(
            f"{sample}: the column {column!r} must have names of classes, in whose place the predicted class is "
            f"written, or be empty; {failure}"
        ) from failure
    spelled = {name: label for label, name in aligned.items()}
    if len(spelled) < len(classes) and any(name != label for name, label in spelled.items()):
        other = next(name for name in classes if name not in spelled)
        raise DataError(
            f"{sample}: the column {column!r} spells classes in another way than the classifier, and does not have "
            f"{other!r}: write each of the {len(classes)} classes into one of its rows"
        )
    return tuple(spelled.get(name, name) for name in classes)
