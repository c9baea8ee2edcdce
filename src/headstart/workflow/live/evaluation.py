"""What cross-fitted predictions say of the labels of a project: where the head errs, and which labels may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart.data.issues import OutOfFold
from headstart.data.issues.wrong_labels import likely_wrong
from headstart.evaluate import metrics
from headstart.evaluate.calibration import bin_index
from headstart.evaluate.intervals import wilson
from headstart.evaluate.schema import Interval
from headstart.workflow.live.solving import Solution

__all__ = ["BINS", "ClassFigures", "ConfidenceBin", "LiveError", "LiveEvaluation", "WrongLabel"]

BINS = 10


@dataclass(frozen=True)
class ClassFigures:
    """The figures of one class."""

    id: int
    name: str
    count: int  # of judged images with this label
    precision: float | None  # None: it is predicted for no image
    recall: Interval | None  # None: it has no judged images


@dataclass(frozen=True)
class ConfidenceBin:
    """Images whose largest probability is between ``low`` (excluded) and ``high``."""

    low: float
    high: float
    count: int
    confidence: float | None  # mean largest probability; None without images
    accuracy: float | None


@dataclass(frozen=True)
class LiveError:
    """An image of which another class than its label is predicted."""

    id: int
    given: int  # ids of classes
    predicted: int
    probability: float  # of the predicted class


@dataclass(frozen=True)
class WrongLabel:
    """An image whose label is likely wrong."""

    id: int
    given: int
    likelier: int
    probability: float  # of the likelier class


class LiveEvaluation:
    """The evaluation of one solution. Each image is judged by a head that was solved without it.

    Not among them are the only image of a class, or those of a class whose images are all in one fold. Computed when it
    is first asked for.
    """

    def __init__(self, solution: Solution) -> None:
        self.solution, self.revision = solution, solution.revision
        mask = solution.solved.judged.numpy()
        self._ids, self._targets = solution.ids[mask], solution.targets[mask]
        self._probabilities = solution.probabilities[mask]

    @property
    def images(self) -> int:
        """How many images are judged."""
        return len(self._ids)

    @property
    def accuracy(self) -> Interval | None:
        """With Wilson's 95 % interval; None without judged images."""
        return self.solution.accuracy

    @cached_property
    def _predicted(self) -> NDArray[np.int64]:
        return self._probabilities.argmax(1) if self.images else np.zeros(0, np.int64)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Counts of images, (C, C): a row per label, a column per prediction, in the order of :attr:`classes`."""
        return metrics.confusion_matrix(self._targets, self._predicted, classes=len(self.solution.classes))

    @cached_property
    def classes(self) -> tuple[ClassFigures, ...]:
        """The classes that have labels."""
        matrix = self.confusion
        hits, given, predicted = matrix.diagonal().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
        return tuple(
            ClassFigures(
                number,
                name,
                given[row],
                hits[row] / predicted[row] if predicted[row] else None,
                wilson(hits[row], given[row]) if given[row] else None,
            )
            for row, (number, name) in enumerate(zip(self.solution.classes, self.solution.names, strict=True))
        )

    @cached_property
    def _bin(self) -> NDArray[np.int64]:
        return bin_index(self._probabilities.max(1), BINS) if self.images else np.zeros(0, np.int64)

    @cached_property
    def bins(self) -> tuple[ConfidenceBin, ...]:
        """Ten bins of the confidence, also those without images."""
        correct = self._predicted == self._targets
        found = []
        for number in range(BINS):
            mask = self._bin == number
            count = int(mask.sum())
            confidence = float(self._probabilities[mask].max(1).mean()) if count else None
            accuracy = float(correct[mask].mean()) if count else None
            found.append(ConfidenceBin(number / BINS, (number + 1) / BINS, count, confidence, accuracy))
        return tuple(found)

    @cached_property
    def errors(self) -> tuple[LiveError, ...]:
        """The images that are classified wrongly, those with the least probable label first."""
        rows = np.flatnonzero(self._predicted != self._targets)
        own = self._probabilities[rows, self._targets[rows]]
        classes = self.solution.classes
        return tuple(
            LiveError(
                int(self._ids[row]),
                classes[self._targets[row]],
                classes[self._predicted[row]],
                float(self._probabilities[row, self._predicted[row]]),
            )
            for row in rows[np.argsort(own, kind="stable")]
        )

    @cached_property
    def wrong(self) -> tuple[WrongLabel, ...]:
        """The images whose label is likely wrong, by the odds (headstart.data.issues.wrong_labels), likeliest first."""
        if not self.images:
            return ()
        names = self.solution.names
        found = OutOfFold(np.arange(self.images), names, self._targets, self._probabilities)
        classes = self.solution.classes
        return tuple(
            WrongLabel(
                int(self._ids[row]),
                classes[self._targets[row]],
                classes[likelier],
                float(self._probabilities[row, likelier]),
            )
            for row, likelier in zip(*(each.tolist() for each in likely_wrong(found)), strict=True)
        )

    def cell(self, given: int, predicted: int) -> list[int]:
        """Ids of the images of a cell of the confusion matrix, by the ids of its classes; the surest first."""
        position = {number: row for row, number in enumerate(self.solution.classes)}
        if given not in position or predicted not in position:
            return []
        column = position[predicted]
        rows = np.flatnonzero((self._targets == position[given]) & (self._predicted == column))
        order = np.argsort(-self._probabilities[rows, column], kind="stable")
        return [int(each) for each in self._ids[rows[order]]]

    def in_bin(self, number: int) -> list[int]:
        """Ids of the images of a bin, wrongly classified ones first."""
        rows = np.flatnonzero(self._bin == number)
        correct = self._predicted[rows] == self._targets[rows]
        return [int(each) for each in self._ids[rows[np.argsort(correct, kind="stable")]]]
