"""Labels that are likely wrong, by the class probabilities of a head that was not fitted to them.

As in confident learning (Northcutt, Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels,
JAIR 70, 2021, arXiv:1911.00068), probabilities are out of sample. Its choice of candidates, by thresholds of the
classes, misses more of the labels that were changed in dogs120 than a limit of the odds does
(benchmarks/accuracy/wrong_labels.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headstart.data.issues.base import RELABEL, CheckedImages, Issue, OutOfFold

__all__ = ["MIN_ODDS", "find_wrong_labels", "likely_wrong"]

MIN_ODDS = 10
"""How many times as probable as its label another class must be for an image to be listed."""

_NEIGHBORS = 10


def likely_wrong(out_of_fold: OutOfFold) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (K,) of the probabilities whose label is likely wrong, most likely first, and their likelier classes (K,).

    These are the images of which another class is at least ten times as probable as the label.

    >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.95, 0.05]], np.float32)
    >>> targets = np.array([0, 0, 1, 1])
    >>> [each.tolist() for each in likely_wrong(OutOfFold(np.arange(4), ("cat", "dog"), targets, probabilities))]
    [[3], [0]]
    """
    probabilities, rows = out_of_fold.probabilities, np.arange(len(out_of_fold.targets))
    likelier = probabilities.argmax(1)
    odds = probabilities[rows, likelier] / np.maximum(probabilities[rows, out_of_fold.targets], 1e-12)
    wrong = np.flatnonzero(odds >= MIN_ODDS)
    wrong = wrong[np.argsort(-odds[wrong], kind="stable")]
    return wrong, likelier[wrong]


def find_wrong_labels(checked: CheckedImages) -> Iterator[Issue]:
    """The images whose label is likely wrong, each with the likelier one and its nearest images."""
    found = checked.out_of_fold
    if found is None:
        return
    usable, classes = checked.manifest.usable, found.classes
    uris, labels = usable.uris, usable.labels
    rows, likelier = likely_wrong(found)
    near = _nearest(checked, found.rows[rows])
    for number, (row, label) in enumerate(zip(rows.tolist(), likelier.tolist(), strict=True)):
        own, other = found.probabilities[row, [found.targets[row], label]].tolist()
        name = classes[label]
        evidence = (
            f"by cross-validation {name!r} has a probability of {other:.1%}, the label "
            f"{classes[found.targets[row]]!r} one of {own:.1%}"
        )
        neighbors = near[number] if near is not None else []
        if len(neighbors):
            agree = sum(labels[each] == name for each in neighbors)
            evidence += f"; {agree} of the {len(neighbors)} nearest images are {name!r}"
        related = tuple(uris[each] for each in neighbors)
        yield Issue("wrong-label", uris[found.rows[row]], other / (other + own), evidence, RELABEL, name, related)


def _nearest(checked: CheckedImages, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The nearest other images (K, 10) of some rows, by the cosine between their vectors; None without vectors."""
    if checked.vectors is None or not len(rows):
        return None
    vectors = checked.vectors / np.maximum(np.linalg.norm(checked.vectors, axis=1, keepdims=True), 1e-12)
    count = min(_NEIGHBORS, len(vectors) - 1)
    nearest = np.empty((len(rows), count), np.int64)
    for start in range(0, len(rows), 256):  # a block at a time: N x K cosines may not fit into memory
        block = rows[start : start + 256]
        cosines = vectors[block] @ vectors.T
        cosines[np.arange(len(block)), block] = -np.inf
        some = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(cosines, some, 1), axis=1, kind="stable")
        nearest[start : start + 256] = np.take_along_axis(some, order, 1)
    return nearest
