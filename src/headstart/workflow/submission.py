"""Predictions in the form of Kaggle's competitions: ``id,<class>,…``, a row a picture, as the sample has it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.uri import to_path
from headstart.errors import DataError
from headstart.evaluate import intervals, metrics
from headstart.evaluate.intervals import Interval
from headstart.files import write_bytes
from headstart.models.names import align
from headstart.workflow.predicting import Predictions

__all__ = ["Submission", "find_sample", "lines", "log_loss", "submission"]

SAMPLE = "sample_submission.csv"


@dataclass(frozen=True)
class Submission:
    """A table as the competition wants it."""

    header: tuple[str, ...]  # the ids' column, then the classes as the sample spells them
    ids: list[str]
    probabilities: NDArray[np.floating]  # (N, C)
    unread: int  # pictures that cannot be read: each class has the same share
    left_out: int  # pictures that the sample does not ask for

    def write(self, path: Path) -> None:
        """As CSV: seven digits, the file whole or not there."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        for name, shares in zip(self.ids, self.probabilities.tolist(), strict=True):
            writer.writerow([name, *(f"{share:.7g}" for share in shares)])
        write_bytes(path, text.getvalue().encode(errors="surrogateescape"))


def find_sample(images: Iterable[str | Path]) -> Path | None:
    """The one sample_submission.csv in the folders of pictures or beside them, if there is one."""
    folders = [Path(image).absolute() for image in images]
    places = [place / SAMPLE for folder in folders for place in (folder, folder.parent)]
    return next((place for place in places if place.is_file()), None)


def submission(found: Predictions, sample: Path | None) -> Submission:
    """Bring predictions into the sample's order of rows and columns; without one, by class name and as they were given.

    :raises DataError: two pictures have the same id, the sample asks for an id that no picture has, or its classes
        are not the classifier's.
    """
    rows = _by_id(found.manifest.uris)
    if sample is None:
        header, ids, columns = ("id", *sorted(found.classes)), list(rows), np.argsort(found.classes, kind="stable")
    else:
        header, ids = _read(sample)
        columns = _columns(header[1:], found.classes, sample)
        _refuse_what_is_missing(ids, rows, sample)
    shares = _all(found)[[rows[name] for name in ids]][:, columns]
    unread = sum(problem is not None for problem in found.manifest.problems)
    return Submission(header, ids, shares, unread, len(rows) - len(ids))


def log_loss(found: Predictions) -> Interval | None:
    """The mean over the readable pictures of minus the logarithm of the true class's probability; None without labels.

    Labels that are none of the classes, such as the names of folders of something else, are no labels.

    :returns: nats, with the 95 % interval.
    """
    usable = found.manifest.usable
    labels = usable.labels
    if not labels or None in labels:
        return None
    try:
        meant = align(usable.classes, found.classes)
    except DataError:
        return None
    targets = usable.with_column("label", [meant[str(label)] for label in labels]).targets(found.classes)
    return intervals.mean(metrics.log_losses(targets, found.probabilities))


def lines(made: Submission, loss: Interval | None) -> list[str]:
    """For a terminal: how many rows, what is not as it should be, and the log-loss where it is known."""
    told = [f"{len(made.ids):,} rows, {len(made.header) - 1:,} classes"]
    if made.left_out:
        told.append(f"left out, since the sample does not ask for them: {made.left_out:,}")
    if made.unread:
        told.append(f"cannot be read, and have the same share for every class: {made.unread:,}")
    if loss is not None:
        told.append(f"log-loss {loss['value']:.5f} (95 % interval {loss['low']:.5f} to {loss['high']:.5f})")
    return told


def _by_id(uris: Sequence[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for row, uri in enumerate(uris):
        name = to_path(uri).stem
        if name in rows:
            raise DataError(f"{uris[rows[name]]} and {uri} have the same id, {name}; a submission has each once")
        rows[name] = row
    return rows


def _all(found: Predictions) -> NDArray[np.floating]:
    """(images, C): the same share for every class of a picture that cannot be read, since a row there must be."""
    shares = np.full((len(found.manifest), len(found.classes)), 1 / len(found.classes))
    shares[[problem is None for problem in found.manifest.problems]] = found.probabilities
    return shares


def _read(sample: Path) -> tuple[tuple[str, ...], list[str]]:
    try:
        with sample.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = _rows(file)
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as failure:
        raise DataError(f"{sample}: not a sample of a submission ({failure})") from failure
    if len(header) < 3 or len(set(header)) < len(header) or not rows:
        raise DataError(
            f"{sample}: not a sample of a submission: it must have id,<class>,<class>,… and a row a picture"
        )
    ids = [row[0] for row in rows]
    if len(set(ids)) < len(ids):
        raise DataError(f"{sample}: not a sample of a submission: an id is there twice")
    return tuple(header), ids


def _rows(file: Iterable[str]) -> Iterator[list[str]]:
    yield from (row for row in csv.reader(file, strict=True) if row)


def _columns(names: Sequence[str], classes: Sequence[str], sample: Path) -> NDArray[np.int64]:
    """Of each class of the sample, its column in the probabilities."""
    try:
        meant = align(names, classes)
    except DataError as failure:
        raise DataError(f"{sample}: {failure}") from failure
    left = sorted(set(classes) - set(meant.values()))
    if left:
        raise DataError(f"{sample}: has no column for {left[0]}, one of the classifier's {len(classes)} classes")
    return np.array([list(classes).index(meant[name]) for name in names], np.int64)


def _refuse_what_is_missing(ids: Sequence[str], rows: dict[str, int], sample: Path) -> None:
    missing = [name for name in ids if name not in rows]
    if missing:
        raise DataError(
            f"{sample}: asks for pictures that are not among the {len(rows):,} given, "
            f"{len(missing):,} of {len(ids):,}: "
            f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}; give the folder that has them all"
        )
