"""The evaluation of predicted probabilities on one split: the content of ``evaluation.json``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError
from headstart.evaluate import intervals, metrics
from headstart.evaluate.calibration import calibration_error, reliability
from headstart.evaluate.checks import check_probabilities, check_targets
from headstart.evaluate.schema import ClassMetrics, ConfusedPair, Evaluation, Interval

__all__ = ["evaluate"]

MAX_PAIRS = 20

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def evaluate(
    targets: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    split: str = "validation",
    bins: int = 15,
    groups: ArrayLike | None = None,
) -> Evaluation:
    """Compute all metrics of the report.

    Intervals are at 95 %: Wilson's for proportions of images, 1.96 standard errors for log-loss (nats) and Brier score
    (0 to 2), a seeded bootstrap over images for balanced accuracy, macro F1 and calibration error. Where all images
    are classified correctly, or none, balanced accuracy and macro F1 have Wilson's interval too. A tie counts against
    the model. With groups, these intervals are those of another sample of groups; those of single classes are not.

    :param targets: class indices ``(N,)``.
    :param probabilities: ``(N, C)``; each row sums to 1.
    :param classes: the C class names, in the order of the columns.
    :param split: name of the evaluated split.
    :param bins: number of bins of equal width for the calibration error.
    :param groups: number of the group of each image ``(N,)``, as of the patient whom it shows.
    :raises DataError: a shape or value is wrong.

    >>> evaluation = evaluate([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["cat", "dog"])
    >>> evaluation.confusion_matrix, round(evaluation.top1.value, 3)
    (((1, 0), (1, 1)), 0.667)
    >>> evaluation.confused_pairs
    (ConfusedPair(true='dog', predicted='cat', images=1, share=0.5),)
    """
    names = tuple(classes)
    true, values = _validate(targets, probabilities, names)
    images, predicted = len(true), metrics.decisions(true, values)
    correct, confidence = true == predicted, values.max(axis=1)
    matrix = metrics.confusion_matrix(true, predicted, classes=len(names))
    together = None if groups is None else _group_numbers(groups, images)
    count = None if together is None else len(np.unique(together))
    top1 = intervals.proportion(correct, together)
    balanced, f1 = _class_averages(true, predicted, classes=len(names), top1=top1, groups=together)
    return Evaluation(
        split=split,
        images=images,
        classes=names,
        top1=top1,
        top5=intervals.proportion(metrics.top_k_hits(true, values, k=5), together) if len(names) > 5 else None,
        balanced_accuracy=balanced,
        macro_f1=f1,
        log_loss=intervals.mean(metrics.log_losses(true, values), together),
        brier=intervals.mean(metrics.brier_scores(true, values), together),
        ece=calibration_error(confidence, correct, bins=bins, groups=together),
        per_class=_per_class(matrix, names),
        confusion_matrix=tuple(map(tuple, matrix.tolist())),
        confused_pairs=_confused_pairs(matrix, names),
        reliability=reliability(confidence, correct, bins=bins),
        groups=count,
        notes=() if count is None else (_note_on_groups(images, count),),
    )


def _note_on_groups(images: int, groups: int) -> str:
    return (
        f"The {images:,} images belong to {groups:,} groups, whose images are not independent of each other. The "
        "intervals of the metrics over all classes are those of another sample of groups; the intervals of single "
        "classes take images as independent, and may be too narrow."
    )


def _group_numbers(groups: ArrayLike, images: int) -> Ints:
    given = np.asarray(groups)
    if given.shape != (images,):
        raise DataError(f"groups must have the shape ({images},), one number per image, got {given.shape}.")
    return np.unique(given, return_inverse=True)[1].astype(np.int64)


def _class_averages(
    true: Ints, predicted: Ints, *, classes: int, top1: Interval, groups: Ints | None
) -> tuple[Interval, Interval]:
    """Return balanced accuracy and macro F1."""
    if top1.value in (0, 1):  # all resamples are equal, so that a bootstrap interval would have no width
        return top1, top1
    images = len(true)
    recall, mean_f1 = (
        partial(statistic, true, predicted, classes=classes)
        for statistic in (metrics.balanced_accuracy, metrics.macro_f1)
    )
    balanced = intervals.bootstrap(recall, images, groups=groups)
    # Reflected, because classes that are missing in a resample lower F1.
    f1 = intervals.bootstrap(mean_f1, images, groups=groups, reflect=True)
    return balanced, f1


def _per_class(matrix: Ints, names: Sequence[str]) -> tuple[ClassMetrics, ...]:
    rows = zip(names, matrix.diagonal().tolist(), matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist(), strict=True)
    return tuple(
        ClassMetrics(
            name=name,
            images=images,
            precision=hits / predicted if predicted else None,
            recall=intervals.wilson(hits, images) if images else None,
            f1=2 * hits / (images + predicted) if images + predicted else None,
        )
        for name, hits, images, predicted in rows
    )


def _confused_pairs(matrix: Ints, names: Sequence[str]) -> tuple[ConfusedPair, ...]:
    """Return the most frequent confusions; ties by the larger share of the true class, then by class order."""
    images = matrix.sum(axis=1)
    errors = matrix - np.diag(matrix.diagonal())
    true, predicted = np.nonzero(errors)
    counts = errors[true, predicted]
    order = np.lexsort((-counts / images[true], -counts))[:MAX_PAIRS]
    return tuple(
        ConfusedPair(
            true=names[true[pair]],
            predicted=names[predicted[pair]],
            images=int(counts[pair]),
            share=float(counts[pair] / images[true[pair]]),
        )
        for pair in order
    )


def _validate(targets: ArrayLike, probabilities: ArrayLike, names: Sequence[str]) -> tuple[Ints, Floats]:
    values, true = np.asarray(probabilities), np.asarray(targets)
    if values.ndim != 2 or values.shape[1] != len(names) or not len(names):
        raise DataError(
            f"probabilities must have the shape (images, {len(names)}), one column per class, got {values.shape}. "
            "Pass the class names in the order of the columns."
        )
    if true.shape != values.shape[:1]:
        raise DataError(f"targets must have the shape ({len(values)},), one per image, got {true.shape}.")
    if not len(true):
        raise DataError("targets is empty: there are no images to evaluate. Choose a split that has images.")
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise DataError(f"classes must be distinct; {duplicate!r} occurs {names.count(duplicate)} times.")
    check_targets(true, len(names))
    check_probabilities(values)
    return true.astype(np.int64), values.astype(np.float64)
