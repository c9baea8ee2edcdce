"""Validation of targets, probabilities and logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError

__all__ = ["check_probabilities", "check_targets", "validate_logits", "validate_probabilities"]

SUM_TOLERANCE = 1e-3  # a float16 softmax over 1,000 classes stays within it


def validate_probabilities(
    probabilities: ArrayLike, targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities ``(N, C)`` as float64 and targets ``(N,)`` as int64, N at least 1.

    :raises DataError: a shape or value is wrong.
    """
    values, true = _validate_shapes("probabilities", probabilities, targets)
    check_probabilities(values)
    return values.astype(np.float64), true


def validate_logits(logits: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return finite logits ``(N, C)`` as float64 and targets ``(N,)`` as int64, N at least 1.

    :raises DataError: a shape or value is wrong.
    """
    values, true = _validate_shapes("logits", logits, targets)
    values = values.astype(np.float64)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(f"logits must be finite; logits[{row}, {column}] is {values[row, column]}. Training diverged.")
    return values, true


def _validate_shapes(name: str, values: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    columns, true = np.asarray(values), np.asarray(targets)
    if columns.ndim != 2 or not columns.shape[1]:
        raise DataError(f"{name} must have the shape (images, classes), got {columns.shape}.")
    if true.shape != columns.shape[:1]:
        raise DataError(f"targets must have the shape ({len(columns)},), one per image, got {true.shape}.")
    if not len(true):
        raise DataError("targets is empty: there are no images to calibrate with. Choose a split that has images.")
    check_targets(true, columns.shape[1])
    return columns, true.astype(np.int64)


def check_targets(targets: NDArray[Any], classes: int) -> None:
    """Check that targets ``(N,)`` are integers from 0 to ``classes - 1``.

    :raises DataError: they are not.
    """
    if not np.issubdtype(targets.dtype, np.integer):
        raise DataError(f"targets must be integer class indices, got {targets.dtype}.")
    wrong = np.flatnonzero((targets < 0) | (targets >= classes))
    if len(wrong):
        row = wrong[0]
        raise DataError(f"targets must be between 0 and {classes - 1}; targets[{row}] is {targets[row]}.")


def check_probabilities(probabilities: NDArray[Any]) -> None:
    """Check that probabilities ``(N, C)`` are floats between 0 and 1 and that each row sums to 1.

    :raises DataError: they are not.
    """
    if not np.issubdtype(probabilities.dtype, np.floating):
        raise DataError(f"probabilities must be floats between 0 and 1, got {probabilities.dtype}.")
    inside = (probabilities >= -SUM_TOLERANCE) & (probabilities <= 1 + SUM_TOLERANCE)  # False for NaN
    wrong = np.argwhere(~inside)
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"probabilities must be between 0 and 1; probabilities[{row}, {column}] is "
            f"{probabilities[row, column]:.6g}. Apply a softmax to logits first."
        )
    sums = probabilities.sum(axis=1, dtype=np.float64)
    row = int(np.abs(sums - 1).argmax())
    if abs(sums[row] - 1) > SUM_TOLERANCE:
        raise DataError(
            f"Each row of probabilities must sum to 1; row {row} sums to {sums[row]:.6g}. "
            "Include all classes and normalize (softmax, not sigmoid)."
        )
