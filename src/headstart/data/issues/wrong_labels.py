"""Labels that are likely wrong, by what a head says that was not fitted to them (confident learning).

Northcutt, Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels, JAIR 70, 2021
(arXiv:1911.00068).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headstart.data.issues.base import RELABEL, CheckedImages, Issue, OutOfFold

__all__ = ["find_wrong_labels", "likely_wrong"]

_NEIGHBORS = 10


def likely_wrong(out_of_fold: OutOfFold) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (K,) of the probabilities whose label is likely wrong, most likely first, and their likelier classes (K,).

    These are the off-diagonal counts of the confident joint: the likeliest of the classes whose probability is at least
    the mean over the images with that label is another one than the label. They are ranked by the ratio of the two
    probabilities (benchmarks/accuracy/wrong_labels.py compares this with other orders).

    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]], np.float32)
    >>> targets = np.array([0, 0, 1, 1])
    >>> [each.tolist() for each in likely_wrong(OutOfFold(np.arange(4), ("cat", "dog"), targets, probabilities))]
    [[3], [0]]
    """
    probabilities, targets = out_of_fold.probabilities, out_of_fold.targets
    counts = np.bincount(targets, minlength=len(out_of_fold.classes))
    of_label = probabilities[np.arange(len(targets)), targets]
    # A class without images here has no threshold, and is not suggested.
    thresholds = np.bincount(targets, of_label, minlength=len(counts)) / np.where(counts, counts, np.nan)
    confident = np.where(probabilities >= thresholds, probabilities, 0.0)
    likelier = confident.argmax(1)
    wrong = np.flatnonzero((confident.max(1) > 0) & (likelier != targets))
    ratios = of_label[wrong] / confident.max(1)[wrong]
    wrong = wrong[np.argsort(ratios, kind="stable")]
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
