"""Targets and probabilities in, one JSON document out: ``evaluation.json``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError
from headstart.evaluate import intervals, metrics
from headstart.evaluate.calibration import calibration_error, reliability
from headstart.evaluate.checks import check_probabilities, check_targets

__all__ = ["evaluate"]

MOST_PAIRS = 20

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def evaluate(
    targets: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    part: str = "validation",
    bins: int = 15,
) -> dict[str, Any]:
    """Every figure of the report, as plain JSON values.

    ``targets`` are integers ``(N,)``, ``probabilities`` ``(N, C)`` with rows that sum to 1, ``classes`` the C names in
    the columns' order. Shares are between 0 and 1. A figure is ``{"value", "low", "high"}`` with its 95 % interval:
    Wilson's for shares of images, 1.96 standard errors for log loss (nats) and Brier score (0 to 2), a seeded
    bootstrap over images for balanced accuracy, macro F1 and calibration error (``bins`` equal bins); Wilson's again
    for the first two where all images are right, or none.
    ``top5`` is there for more than 5 classes. A class's precision, recall or F1 is ``None`` where it has no images to
    tell by. A tie counts against the model.

    Raises :class:`~headstart.errors.DataError` if shapes or values are not so.

    >>> found = evaluate([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], ["cat", "dog"])
    >>> found["confusion"], round(found["top1"]["value"], 3)
    ([[1, 0], [1, 1]], 0.667)
    >>> found["confused_pairs"]
    [{'true': 'dog', 'predicted': 'cat', 'images': 1, 'share': 0.5}]
    """
    names = list(classes)
    true, shares = _checked(targets, probabilities, names)
    predicted = metrics.decisions(true, shares)
    matrix = metrics.confusion_matrix(true, predicted, classes=len(names))
    return {
        "part": part,
        "images": len(true),
        "classes": names,
        **_figures(true, shares, predicted=predicted, bins=bins),
        "per_class": _per_class(matrix, names),
        "confusion": matrix.tolist(),
        "confused_pairs": _confused_pairs(matrix, names),
        "reliability": reliability(shares.max(axis=1), true == predicted, bins=bins),
    }


def _figures(true: Ints, shares: Floats, *, predicted: Ints, bins: int) -> dict[str, intervals.Interval]:
    images, classes = shares.shape
    hits = true == predicted
    figures = {"top1": intervals.wilson(int(hits.sum()), images)}
    if classes > 5:
        figures["top5"] = intervals.wilson(int(metrics.top_k_hits(true, shares, k=5).sum()), images)
    recalls = intervals.bootstrap(partial(metrics.balanced_accuracy, true, predicted, classes=classes), images)
    # Reflected, since classes that drop out of a resample pull F1 down.
    f1 = intervals.bootstrap(partial(metrics.macro_f1, true, predicted, classes=classes), images, reflect=True)
    if hits.all() or not hits.any():  # resamples are all alike then, which is no reason to be sure
        recalls = f1 = figures["top1"]
    return figures | {
        "balanced_accuracy": recalls,
        "macro_f1": f1,
        "log_loss": intervals.mean(metrics.log_losses(true, shares)),
        "brier": intervals.mean(metrics.brier_scores(true, shares)),
        "ece": calibration_error(shares.max(axis=1), hits, bins=bins),
    }


def _per_class(matrix: NDArray[np.int64], names: list[str]) -> list[dict[str, Any]]:
    rows = zip(names, matrix.diagonal().tolist(), matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist(), strict=True)
    return [
        {
            "class": name,
            "images": own,
            "precision": hits / named if named else None,
            "recall": intervals.wilson(hits, own) if own else None,
            "f1": 2 * hits / (own + named) if own + named else None,
        }
        for name, hits, own, named in rows
    ]


def _confused_pairs(matrix: NDArray[np.int64], names: list[str]) -> list[dict[str, Any]]:
    """The pairs confused most often; among equals the one with the larger share of its class, then class order."""
    own = matrix.sum(axis=1)
    errors = matrix - np.diag(matrix.diagonal())
    true, taken_for = np.nonzero(errors)
    counts = errors[true, taken_for]
    order = np.lexsort((-counts / own[true], -counts))[:MOST_PAIRS]
    return [
        {
            "true": names[true[pair]],
            "predicted": names[taken_for[pair]],
            "images": int(counts[pair]),
            "share": float(counts[pair] / own[true[pair]]),
        }
        for pair in order
    ]


def _checked(targets: ArrayLike, probabilities: ArrayLike, names: list[str]) -> tuple[Ints, Floats]:
    shares = np.asarray(probabilities)
    true = np.asarray(targets)
    wanted = f"probabilities must have the shape (images, {len(names)}), a column a class"
    if shares.ndim != 2 or shares.shape[1] != len(names) or not len(names):
        raise DataError(f"{wanted}, not {shares.shape}. Give the class names in the order of the columns.")
    if true.shape != shares.shape[:1]:
        raise DataError(f"targets must have the shape ({len(shares)},), one an image, not {true.shape}.")
    if not len(true):
        raise DataError("There are no images to evaluate: targets are empty. Choose a part that has images.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"classes must be distinct; {twice!r} is there {names.count(twice)} times.")
    check_targets(true, len(names))
    check_probabilities(shares)
    return true.astype(np.int64), shares.astype(np.float64)
