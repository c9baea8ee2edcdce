"""Metrics per image and per class; :mod:`headstart.evaluate.evaluation` combines them.

Shapes: targets ``(N,)``, class indices below C; probabilities ``(N, C)``; weights ``(R, N)``, how often each image
counts in each of R resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "balanced_accuracy",
    "brier_scores",
    "class_sums",
    "confusion_matrix",
    "decisions",
    "log_losses",
    "macro_f1",
    "top_k_hits",
]

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]


def top_k_hits(targets: Ints, probabilities: Floats, *, k: int) -> NDArray[np.bool_]:
    """Return whether the true class is among the k most probable, ``(N,)``. A tie counts against the model.

    >>> top_k_hits(np.array([0, 0]), np.array([[0.6, 0.4], [0.5, 0.5]]), k=1)
    array([ True, False])
    """
    own = np.take_along_axis(probabilities, targets[:, None], axis=1)  # (N, 1)
    return (probabilities >= own).sum(axis=1) <= k  # type: ignore[no-any-return]


def decisions(targets: Ints, probabilities: Floats) -> NDArray[np.int64]:
    """Return the predicted class of each image, ``(N,)``: the most probable one, in a tie a wrong one.

    The diagonal of the confusion matrix then sums to the top-1 hits, and a model with equal probabilities for all
    classes does not score on class 0.

    >>> decisions(np.array([0, 1]), np.array([[0.5, 0.5], [0.1, 0.9]]))
    array([1, 1])
    """
    rows = np.arange(len(targets))
    others = probabilities.copy()
    others[rows, targets] = -np.inf
    rival = others.argmax(axis=1)
    return np.where(probabilities[rows, targets] > others[rows, rival], targets, rival)


def log_losses(targets: Ints, probabilities: Floats) -> NDArray[np.float64]:
    """Return the negative log-probability of the true class, ``(N,)``, in nats.

    A probability of 0 is clipped to 2.2e-16, as in scikit-learn's ``log_loss``, so that the mean stays finite.
    """
    own = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return -np.log(np.maximum(own, np.finfo(np.float64).eps))


def brier_scores(targets: Ints, probabilities: Floats) -> NDArray[np.float64]:
    """Return the squared distance to the one-hot target, ``(N,)``: 0 (certain and correct) to 2 (certain and wrong).

    Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78, 1950.

    >>> brier_scores(np.array([0, 0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    array([0., 2.])
    """
    distance = probabilities.astype(np.float64)
    distance[np.arange(len(targets)), targets] -= 1
    return (distance**2).sum(axis=1)  # type: ignore[no-any-return]


def confusion_matrix(targets: Ints, predicted: Ints, *, classes: int) -> NDArray[np.int64]:
    """Return counts ``(C, C)``: rows are true classes, columns predicted classes."""
    flat = np.bincount(targets * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def class_sums(weights: Floats, groups: Ints, *, classes: int) -> NDArray[np.float64]:
    """Sum weights ``(R, N)`` over the images of each class: ``(R, C)``; ``groups`` ``(N,)`` are class indices."""
    from scipy.sparse import csr_array

    images = len(groups)
    members = csr_array((np.ones(images), (np.arange(images), groups)), shape=(images, classes))
    return weights @ members  # type: ignore[no-any-return]


def balanced_accuracy(targets: Ints, predicted: Ints, weights: Floats, *, classes: int) -> NDArray[np.float64]:
    """Return the mean recall over the classes that have images, ``(R,)``.

    Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
    """
    images = class_sums(weights, targets, classes=classes)
    hits = class_sums(weights * (targets == predicted), targets, classes=classes)
    return _mean_where(images > 0, hits / np.maximum(images, 1))


def macro_f1(targets: Ints, predicted: Ints, weights: Floats, *, classes: int) -> NDArray[np.float64]:
    """Return the mean F1 over the classes that are true or predicted for at least one image, ``(R,)``.

    It is the mean of the F1 of the classes, not the F1 of mean precision and recall: Opitz and Burst, Macro F1 and
    Macro F1, arXiv:1911.03347.
    """
    images = class_sums(weights, targets, classes=classes)
    named = class_sums(weights, predicted, classes=classes)
    hits = class_sums(weights * (targets == predicted), targets, classes=classes)
    return _mean_where(images + named > 0, 2 * hits / np.maximum(images + named, 1))


def _mean_where(mask: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return (values * mask).sum(axis=1) / mask.sum(axis=1)  # type: ignore[no-any-return]
