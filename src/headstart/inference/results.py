"""What inference returns: probabilities, prediction sets and out-of-distribution scores. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from headstart.evaluate import prediction_sets

__all__ = ["InferenceResult", "PredictionSetRule", "concatenate_results", "set_names", "softmax"]


@dataclass(frozen=True)
class PredictionSetRule:
    """The rule of prediction sets that contain the true class with the probability ``coverage``."""

    threshold: Annotated[float, Ge(0), Le(1)]  # see headstart.evaluate.conformal_threshold
    coverage: Annotated[float, Gt(0), Le(1)]

    def apply(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which classes belong to the prediction set of each image, (N, C), by their probabilities (N, C).

        >>> PredictionSetRule(threshold=0.7, coverage=0.9).apply(np.array([[0.3, 0.6, 0.1]])).tolist()
        [[True, True, False]]
        """
        return prediction_sets(probabilities, self.threshold)


@dataclass(frozen=True)
class InferenceResult:
    """The result for N images, in order. Images that could not be read are in ``problems`` only."""

    probabilities: NDArray[np.float32]  # (N, C), rows sum to 1
    prediction_sets: NDArray[np.bool_] | None = None  # (N, C); None without a PredictionSetRule
    ood_score: NDArray[np.float64] | None = None  # (N,), see OODDetector; None without a detector or embeddings
    out_of_distribution: NDArray[np.bool_] | None = None  # (N,), whether the score is above the threshold
    problems: tuple[tuple[int, str], ...] = ()  # (row, reason) of unreadable images

    def __getitem__(self, images: slice) -> InferenceResult:
        """The result for some of the images that were read, without problems."""

        def part(array: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if array is None else array[images]

        return InferenceResult(
            self.probabilities[images], part(self.prediction_sets), part(self.ood_score), part(self.out_of_distribution)
        )


def concatenate_results(
    results: Sequence[InferenceResult], problems: Sequence[tuple[int, str]] = ()
) -> InferenceResult:
    """One result for the images of one or more results, in order; ``problems`` replace theirs.

    >>> one = InferenceResult(np.array([[0.3, 0.7]], np.float32))
    >>> concatenate_results([one, one]).probabilities.shape
    (2, 2)
    """

    def joined(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
        present = [array for array in arrays if array is not None]
        return np.concatenate(present) if present else None

    return InferenceResult(
        np.concatenate([result.probabilities for result in results]),
        joined([result.prediction_sets for result in results]),
        joined([result.ood_score for result in results]),
        joined([result.out_of_distribution for result in results]),
        tuple(problems),
    )


def set_names(
    probabilities: NDArray[np.float32], members: NDArray[np.bool_], classes: Sequence[str]
) -> list[list[str]]:
    """The classes of each prediction set, most probable first.

    :param members: (N, C), see :meth:`PredictionSetRule.apply`.

    >>> set_names(np.array([[0.3, 0.6, 0.1]]), np.array([[True, True, False]]), ["ant", "bee", "cat"])
    [['bee', 'ant']]
    """
    return [
        [classes[index] for index in np.argsort(-row, kind="stable") if included[index]]
        for row, included in zip(probabilities, members, strict=True)
    ]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities from logits (N, C), without overflow.

    >>> softmax(np.array([[1e4, 0.0]])).tolist()
    [[1.0, 0.0]]
    """
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)
