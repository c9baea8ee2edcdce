"""What figures are made of, looked at before anything is computed with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError

__all__ = ["check_probabilities", "check_targets", "checked_logits", "checked_probabilities"]

SUM_TOLERANCE = 1e-3  # float16 softmax over 1,000 classes stays within it


def checked_probabilities(
    probabilities: ArrayLike, targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities ``(N, C)`` as float64 and targets ``(N,)`` as int64, for one image or more.

    Raises :class:`~headstart.errors.DataError` if shapes or values are not so.
    """
    shares, true = _shaped("probabilities", probabilities, targets)
    check_probabilities(shares)
    return shares.astype(np.float64), true


def checked_logits(logits: ArrayLike, targets: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits ``(N, C)``, finite, as float64 and targets ``(N,)`` as int64, for one image or more.

    Raises :class:`~headstart.errors.DataError` if shapes or values are not so.
    """
    values, true = _shaped("logits", logits, targets)
    values = values.astype(np.float64)
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(f"logits must be finite; logits[{row}, {column}] is {values[row, column]}. Training diverged.")
    return values, true


def _shaped(name: str, values: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    columns, true = np.asarray(values), np.asarray(targets)
    if columns.ndim != 2 or not columns.shape[1]:
        raise DataError(f"{name} must have the shape (images, classes), not {columns.shape}.")
    if true.shape != columns.shape[:1]:
        raise DataError(f"targets must have the shape ({len(columns)},), one an image, not {true.shape}.")
    if not len(true):
        raise DataError("There are no images to calibrate with: targets are empty. Choose a part that has images.")
    check_targets(true, columns.shape[1])
    return columns, true.astype(np.int64)


def check_targets(true: NDArray[Any], classes: int) -> None:
    """Raise :class:`~headstart.errors.DataError` unless targets ``(N,)`` are integers from 0 to below ``classes``."""
    if not np.issubdtype(true.dtype, np.integer):
        raise DataError(f"targets must be integers, the indices of classes, not {true.dtype}.")
    wrong = np.flatnonzero((true < 0) | (true >= classes))
    if len(wrong):
        where = wrong[0]
        raise DataError(f"targets must be 0 to {classes - 1}; targets[{where}] is {true[where]}.")


def check_probabilities(shares: NDArray[Any]) -> None:
    """Raise :class:`~headstart.errors.DataError` unless ``(N, C)`` are floats of 0 to 1 whose rows sum to 1."""
    if not np.issubdtype(shares.dtype, np.floating):
        raise DataError(f"probabilities must be floats between 0 and 1, not {shares.dtype}.")
    wrong = np.argwhere(~((shares >= -SUM_TOLERANCE) & (shares <= 1 + SUM_TOLERANCE)))  # NaN is wrong too
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"probabilities must be between 0 and 1; probabilities[{row}, {column}] is {shares[row, column]:.6g}. "
            "Logits must go through a softmax first."
        )
    sums = shares.sum(axis=1, dtype=np.float64)
    row = int(np.abs(sums - 1).argmax())
    if abs(sums[row] - 1) > SUM_TOLERANCE:
        raise DataError(
            f"Each row of probabilities must sum to 1; row {row} sums to {sums[row]:.6g}. "
            "Put in all classes, and normalise (softmax, not sigmoid)."
        )
