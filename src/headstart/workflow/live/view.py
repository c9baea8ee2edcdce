"""What is known of all images of a project at one time: what the head predicts, and which ones to label next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.train.suggestions import margins, order_by_suggestion, spread_out
from headstart.workflow.live.solving import Solution
from headstart.workflow.live.vectors import VectorPool, Vectors

__all__ = ["View", "look"]

_ROWS = 4096  # predicted at a time
_COLD = 2000  # images among which the first suggestions are spread, before there is a head


@dataclass(frozen=True)
class View:
    """What is known of the images with vectors, by their rows in the pool. All arrays are (N,)."""

    solution: Solution | None
    vectors: Vectors
    predicted: NDArray[np.int64]  # position in the solution's classes; -1: none is left
    probability: NDArray[np.float32]  # of that class
    ahead: NDArray[np.float32]  # margin to the next class
    rank: NDArray[np.int64]  # of the suggestions; images with a label come after all others
    revision: int = 0  # of the labels that the suggestions are for

    @classmethod
    def empty(cls) -> View:
        """Of no images."""
        whole, real = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return cls(None, Vectors(whole, np.zeros((0, 0), np.float16)), whole, real, real, whole)


def look(
    solution: Solution | None,
    vectors: Vectors,
    pool: VectorPool,
    labeled: Iterable[int],
    rejected: Iterable[tuple[int, int]],
    *,
    revision: int,
    rule: str,
    spread: int,
) -> View:
    """Predict all images, and order those without a label.

    :param solution: None before there is a head: then suggestions are images that differ from each other.
    :param pool: that the vectors are from.
    :param labeled: ids of images that need no label. What is said of them is by heads that were solved without them.
    :param rejected: (image id, class id) that are not predicted.
    :param revision: of the labels.
    :param rule: of the suggestions, see :mod:`headstart.train.suggestions`; ``spread``: how many are spread.
    """
    count = len(vectors)
    predicted, probability = np.full(count, -1, np.int64), np.zeros(count, np.float32)
    ahead = np.zeros(count, np.float32)
    if solution is not None:
        masks = _masks(solution, pool, rejected, count)
        for start in range(0, count, _ROWS):
            part = slice(start, min(start + _ROWS, count))
            found = solution.predict(vectors.take(part))
            for row in masks:
                if part.start <= row < part.stop:
                    found[row - start] = _without(found[row - start], masks[row])
            predicted[part], probability[part], ahead[part] = _best(found)
        rows = pool.rows(solution.ids.tolist())
        predicted[rows], probability[rows], ahead[rows] = _best(solution.probabilities)
    free = np.ones(count, bool)
    own = pool.rows(labeled)
    free[own[(own >= 0) & (own < count)]] = False
    rank = np.full(count, count, np.int64)
    order = _order(solution, vectors, np.flatnonzero(free), ahead, rule, spread)
    rank[order] = np.arange(len(order))
    return View(solution, vectors, predicted, probability, ahead, rank, revision)


def _order(
    solution: Solution | None,
    vectors: Vectors,
    rows: NDArray[np.int64],
    ahead: NDArray[np.float32],
    rule: str,
    spread: int,
) -> NDArray[np.int64]:
    """Rows of images without a label, the one to be labeled first in the first place."""
    if solution is None:  # nothing is uncertain yet
        drawn = np.random.default_rng(0).permutation(rows)
        some = drawn[:_COLD]
        first = some[spread_out(vectors.take(some), np.ones(len(some)), spread)]
        return np.concatenate([first, drawn[~np.isin(drawn, first)]])
    order = order_by_suggestion(rule, ahead[rows], lambda some: vectors.take(rows[some]), count=spread)
    return np.asarray(rows[order], np.int64)


def _masks(
    solution: Solution, pool: VectorPool, rejected: Iterable[tuple[int, int]], count: int
) -> dict[int, list[int]]:
    """By row, the positions of the classes that a person has rejected."""
    position = {number: place for place, number in enumerate(solution.classes)}
    pairs = [(image, position[number]) for image, number in rejected if number in position]
    masks: dict[int, list[int]] = {}
    for row, (_, place) in zip(pool.rows(image for image, _ in pairs).tolist(), pairs, strict=True):
        if 0 <= row < count:
            masks.setdefault(row, []).append(place)
    return masks


def _without(probabilities: NDArray[np.float32], classes: list[int]) -> NDArray[np.float32]:
    left = probabilities.copy()
    left[classes] = 0
    total = float(left.sum())
    return left / total if total > 0 else left


def _best(
    probabilities: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The most probable class of each image, its probability and its margin; -1 if all classes are rejected."""
    best, most = probabilities.argmax(1), probabilities.max(1)
    return np.where(most > 0, best, -1), most, margins(probabilities)
