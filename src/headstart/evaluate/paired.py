"""Two or more classifiers on the same images: differences with 95 % intervals that use the pairing.

Most images are right, or wrong, with either classifier. What both have in common cancels in a difference on the same
images, so its interval is much narrower than the intervals of the two figures suggest, and it is the one to look at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.evaluate import intervals, metrics
from headstart.evaluate.calibration import bin_index
from headstart.evaluate.schema import Interval

__all__ = ["Differences", "Figures", "Outcomes", "PairedCounts", "compare_outcomes", "mcnemar", "newcombe", "outcomes"]

BLOCK = 8_000_000  # probabilities that are reduced at a time: 64 MB
BINS = 15  # of the calibration error, as in evaluation.json
RESAMPLES = 2000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a comparison needs to know of the predictions of one classifier for N images."""

    predicted: Ints  # (N,), class indices; a tie counts against the model
    correct: Flags  # (N,)
    top5: Flags | None  # (N,), whether the true class is among the five most probable; None for 5 classes or fewer
    log_loss: Floats  # (N,), nats
    brier: Floats  # (N,)
    confidence: Floats  # (N,), the largest probability

    def select(self, rows: ArrayLike) -> Outcomes:
        """Those of some images, by their rows in the order wanted."""
        chosen = np.asarray(rows)
        return Outcomes(
            predicted=self.predicted[chosen],
            correct=self.correct[chosen],
            top5=None if self.top5 is None else self.top5[chosen],
            log_loss=self.log_loss[chosen],
            brier=self.brier[chosen],
            confidence=self.confidence[chosen],
        )


@dataclass(frozen=True)
class PairedCounts:
    """Images by whether each of two classifiers is right."""

    both: int
    first: int  # right with the first alone
    second: int
    neither: int

    @property
    def images(self) -> int:
        """All of them."""
        return self.both + self.first + self.second + self.neither


@dataclass(frozen=True)
class Figures:
    """What one classifier achieves on the compared images."""

    accuracy: float
    top5: float | None  # None where a classifier has 5 classes or fewer
    balanced_accuracy: float
    log_loss: float
    brier: float
    ece: float


@dataclass(frozen=True)
class Differences:
    """The figures of a classifier minus those of the baseline, with paired 95 % intervals."""

    counts: PairedCounts  # "first" is the classifier, "second" the baseline
    accuracy: Interval
    top5: Interval | None
    balanced_accuracy: Interval
    log_loss: Interval
    brier: Interval
    ece: Interval
    p_value: float  # of McNemar's exact test


def outcomes(targets: Ints, probabilities: NDArray[np.floating[Any]]) -> Outcomes:
    """Reduce probabilities ``(N, C)`` and true classes ``(N,)`` to what each image contributes to a comparison.

    >>> found = outcomes(np.array([0, 1]), np.array([[0.8, 0.2], [0.6, 0.4]]))
    >>> found.correct.tolist(), found.confidence.tolist()
    ([True, False], [0.8, 0.6])
    """
    step = max(1, BLOCK // max(1, probabilities.shape[1]))
    starts = range(0, max(1, len(targets)), step)
    blocks = [_block(targets[at : at + step], probabilities[at : at + step].astype(np.float64)) for at in starts]
    top5 = [block.top5 for block in blocks if block.top5 is not None]
    return Outcomes(
        predicted=np.concatenate([block.predicted for block in blocks]),
        correct=np.concatenate([block.correct for block in blocks]),
        top5=np.concatenate(top5) if top5 else None,
        log_loss=np.concatenate([block.log_loss for block in blocks]),
        brier=np.concatenate([block.brier for block in blocks]),
        confidence=np.concatenate([block.confidence for block in blocks]),
    )


def _block(targets: Ints, values: Floats) -> Outcomes:
    predicted = metrics.decisions(targets, values)
    return Outcomes(
        predicted=predicted,
        correct=predicted == targets,
        top5=metrics.top_k_hits(targets, values, k=5) if values.shape[1] > 5 else None,
        log_loss=metrics.log_losses(targets, values),
        brier=metrics.brier_scores(targets, values),
        confidence=values.max(axis=1),
    )


def compare_outcomes(
    targets: Ints, runs: Sequence[Outcomes], *, baseline: int, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[list[Figures], list[Differences | None]]:
    """Return the figures of each classifier, and its differences from the baseline; None for the baseline itself.

    Intervals of accuracy and top-5 accuracy are Newcombe's for paired proportions. The others come from a paired
    bootstrap: in each resample, all classifiers have the same images (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13). That of the calibration error is reflected, since resampling raises each error.

    :param targets: true classes of the N compared images, as indices into any list of classes.
    :param runs: one per classifier, for the same N images in the same order.
    :param baseline: index into ``runs``.

    >>> sure, unsure = (outcomes(np.array([0, 1]), np.array([[p, 1 - p], [1 - p, p]])) for p in (0.9, 0.6))
    >>> figures, (none, found) = compare_outcomes(np.array([0, 1]), [sure, unsure], baseline=0)
    >>> figures[0].accuracy, found.accuracy.value, round(found.log_loss.value, 3)
    (1.0, 0.0, 0.405)
    """
    images = len(targets)
    statistic = _Statistic(targets, runs)
    values = statistic(np.ones((1, images)))[0]  # (runs, 4)
    draws = intervals.resampled(statistic, images, resamples=resamples, seed=seed)  # (resamples, runs, 4)
    top5 = [run.top5 for run in runs if run.top5 is not None]
    top5 = top5 if len(top5) == len(runs) else []
    figures = [
        Figures(float(run.correct.mean()), float(top5[number].mean()) if top5 else None, *map(float, values[number]))
        for number, run in enumerate(runs)
    ]
    found: list[Differences | None] = []
    for number, run in enumerate(runs):
        if number == baseline:
            found.append(None)
            continue
        gaps, resampled = values[number] - values[baseline], draws[:, number] - draws[:, baseline]
        balanced, log_loss, brier, ece = (
            intervals.percentiles(float(gaps[column]), resampled[:, column], reflect=column == _ECE)
            for column in range(4)
        )
        counts = paired_counts(run.correct, runs[baseline].correct)
        found.append(
            Differences(
                counts,
                newcombe(counts),
                newcombe(paired_counts(top5[number], top5[baseline])) if top5 else None,
                balanced,
                log_loss,
                brier,
                ece,
                mcnemar(counts),
            )
        )
    return figures, found


_ECE = 3  # column of the statistic


class _Statistic:
    """Balanced accuracy, log-loss, Brier score and calibration error of each classifier, in resamples of the images.

    All are sums over the images, by class or by bin of confidence, so one sparse product serves all classifiers.
    """

    def __init__(self, targets: Ints, runs: Sequence[Outcomes]) -> None:
        from scipy.sparse import csr_array, hstack

        rows = np.arange(len(targets))

        def columns(values: NDArray[Any], groups: Ints, count: int) -> Any:
            """The values of the images, each in the column of its group: (N, count)."""
            return csr_array((values.astype(np.float64), (rows, groups)), shape=(len(targets), count))

        present, classes = np.unique(targets, return_inverse=True)
        self._runs, self._classes = len(runs), len(present)
        self._members = columns(np.ones(len(targets)), classes, len(present))
        self._hits = hstack([columns(run.correct, classes, len(present)) for run in runs], format="csr")
        self._gaps = hstack(
            [columns(run.confidence - run.correct, bin_index(run.confidence, BINS), BINS) for run in runs], format="csr"
        )
        self._means = np.stack([values for run in runs for values in (run.log_loss, run.brier)], axis=1)

    def __call__(self, weights: Floats) -> Floats:
        """Weights ``(R, N)`` to values ``(R, runs, 4)``."""
        images = weights.sum(axis=1)[:, None, None]  # (R, 1, 1)
        members = (weights @ self._members)[:, None, :]  # (R, 1, C)
        hits = (weights @ self._hits).reshape(-1, self._runs, self._classes)
        drawn = members > 0
        balanced = (hits / np.where(drawn, members, 1)).sum(axis=2) / drawn.sum(axis=2)  # (R, runs)
        means = (weights @ self._means).reshape(-1, self._runs, 2) / images
        gaps = (weights @ self._gaps).reshape(-1, self._runs, BINS)
        ece = np.abs(gaps).sum(axis=2) / images[:, :, 0]
        return np.concatenate([balanced[:, :, None], means, ece[:, :, None]], axis=2)


def paired_counts(first: Flags, second: Flags) -> PairedCounts:
    """Count images by whether each of two classifiers is right, ``(N,)`` each.

    >>> paired_counts(np.array([True, True, False]), np.array([True, False, False]))
    PairedCounts(both=1, first=1, second=0, neither=1)
    """
    both, either = int((first & second).sum()), int((first | second).sum())
    return PairedCounts(both, int(first.sum()) - both, int(second.sum()) - both, len(first) - either)


def newcombe(counts: PairedCounts) -> Interval:
    """Return the difference of two paired proportions, first minus second, with Newcombe's 95 % interval.

    The square-and-add interval from the two Wilson intervals, with the correlation of the pairs: method 10 of Newcombe,
    Improved confidence intervals for the difference between binomial proportions based on paired data, Statistics in
    Medicine 17, 1998; recommended by Fagerland, Lydersen and Laake, Statistics in Medicine 33, 2014.

    >>> f"{newcombe(PairedCounts(both=36, first=12, second=2, neither=0)):.4f}"
    '0.2000 (0.0569 to 0.3404)'
    """
    images = counts.images
    one = intervals.wilson(counts.both + counts.first, images)
    two = intervals.wilson(counts.both + counts.second, images)
    correlation = _correlation(counts)

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))

    value = (counts.first - counts.second) / images
    low = value - reach(one.value - one.low, two.high - two.value)
    high = value + reach(one.high - one.value, two.value - two.low)
    return Interval(value, max(-1.0, low), min(1.0, high))


def _correlation(counts: PairedCounts) -> float:
    """The phi coefficient, with the continuity correction of method 10; 0 where a margin is empty."""
    a, b, c, d = counts.both, counts.first, counts.second, counts.neither
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if not margins:
        return 0.0
    product = float(a * d - b * c)
    if product > 0:
        product = max(product - counts.images / 2, 0.0)
    return product / math.sqrt(margins)


def mcnemar(counts: PairedCounts) -> float:
    """Return the two-sided p-value of McNemar's exact test: are the images that changed sides a fair coin's?

    Of the images that only one of the two classifiers has right, the first has ``first``. If neither were better, that
    number would be binomial with probability 1/2, so p is twice the smaller tail, at most 1. McNemar, Note on the
    sampling error of the difference between correlated proportions or percentages, Psychometrika 12, 1947; the exact
    conditional test as in Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013.

    >>> round(mcnemar(PairedCounts(both=90, first=1, second=8, neither=1)), 4)
    0.0391
    """
    from scipy.special import bdtr

    changed = counts.first + counts.second
    return min(1.0, 2 * float(bdtr(min(counts.first, counts.second), changed, 0.5))) if changed else 1.0
