"""Temperature scaling: one number that calibrates the probabilities of a network.

Logits are divided by a temperature T before the softmax. T above 1 lowers the confidence, T below 1 raises it; the
order of the classes does not change. Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks,
ICML 2017, arXiv:1706.04599.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.evaluate import intervals, metrics
from headstart.evaluate.calibration import calibration_error
from headstart.evaluate.checks import validate_logits
from headstart.evaluate.folds import kfold_split
from headstart.evaluate.schema import CalibrationMetrics, CalibrationScores

__all__ = ["apply_temperature", "calibration_metrics", "cross_fitted_probabilities", "fit_temperature"]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
PRIOR_SD = 0.5  # standard deviation of the prior on 1/T, whose mean is 1

Floats = NDArray[np.float64]


def apply_temperature(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Return the probabilities ``(N, C)`` of logits ``(N, C)`` at a temperature.

    >>> apply_temperature([[1.0, 0.0]], 2.0).round(3)
    array([[0.622, 0.378]])
    """
    from scipy.special import softmax

    probabilities: Floats = softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return probabilities


def fit_temperature(logits: ArrayLike, targets: ArrayLike, *, smoothing: float = 0.0) -> float:
    """Return the temperature that minimizes the log-loss of logits ``(N, C)`` on targets ``(N,)``, class indices.

    Fit it on images that were not trained on. The log-loss is convex in 1/T, and so is the weak prior on 1/T (normal,
    mean 1, standard deviation 0.5) that is added to it: without a prior, ten images that are all classified correctly
    would make any network certain. With some hundred images the prior moves T by about 1 %. T is between 0.01 and
    100, and 1 for a single class.

    :param smoothing: the share of each target that is given to the other classes, instead of the prior and the
        limits. Use it for scores of any scale, for which no temperature is more likely than another. Platt,
        Probabilistic outputs for support vector machines, 1999, uses 1/(N + 2): then ten images that are all
        classified correctly give a target of 11/12.
    :raises DataError: a shape or value is wrong.

    >>> logits = np.log([[0.99, 0.01]] * 10)  # 99 % confident, and correct in 8 of 10 images
    >>> round(fit_temperature(np.repeat(logits, 100, axis=0), [0] * 800 + [1] * 200), 1)
    3.3
    >>> apply_temperature([[1000.0, 0.0]], fit_temperature([[1000.0, 0.0]] * 10, [0] * 10, smoothing=1 / 12)).round(3)
    array([[0.917, 0.083]])
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    values, true = validate_logits(logits, targets)
    # Only the margins over the true class matter, and the losses stay exact where all images are correct.
    margins = values - values[np.arange(len(true)), true][:, None]  # (N, C)
    smoothed = float(smoothing * margins.sum() / max(values.shape[1] - 1, 1))

    def loss(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        prior = 0.0 if smoothing else ((inverse - 1) / PRIOR_SD) ** 2 / 2
        return float(logsumexp(margins * inverse, axis=1).sum()) - smoothed * inverse + prior

    lowest, highest = MIN_TEMPERATURE, MAX_TEMPERATURE
    if smoothing:
        scale = math.sqrt(float(np.square(margins).mean())) or 1.0
        lowest, highest = lowest / MAX_TEMPERATURE * scale, highest * scale
    # Search over log T, which spreads the steps evenly; the loss stays unimodal.
    bounds = (math.log(lowest), math.log(highest))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def cross_fitted_probabilities(logits: ArrayLike, targets: ArrayLike, *, folds: int = 5, seed: int = 0) -> Floats:
    """Return probabilities ``(N, C)``, each image scaled with the temperature fitted on the other folds.

    This avoids optimistic metrics on the images that the temperature is fitted on. A single image is not scaled.

    :raises DataError: a shape or value is wrong.
    """
    values, true = validate_logits(logits, targets)
    probabilities = np.empty_like(values)
    for others, held_out in kfold_split(len(true), folds=folds, seed=seed):
        temperature = fit_temperature(values[others], true[others]) if len(others) else 1.0
        probabilities[held_out] = apply_temperature(values[held_out], temperature)
    return probabilities


def calibration_metrics(
    logits: ArrayLike, targets: ArrayLike, *, temperature: float, cross_fitted: bool, bins: int = 15
) -> CalibrationMetrics:
    """Compute log-loss and calibration error before and after temperature scaling.

    :param logits: of the evaluated split, ``(N, C)``.
    :param targets: ``(N,)``.
    :param cross_fitted: True if ``temperature`` was fitted on these images: then "after" uses
        :func:`cross_fitted_probabilities`.
    :raises DataError: a shape or value is wrong.

    >>> found = calibration_metrics(np.log([[0.99, 0.01]] * 5), [0, 0, 0, 0, 1], temperature=3.3, cross_fitted=False)
    >>> round(found.before.log_loss.value, 2), round(found.after.log_loss.value, 2)
    (0.93, 0.5)
    """
    values, true = validate_logits(logits, targets)
    after = cross_fitted_probabilities(values, true) if cross_fitted else apply_temperature(values, temperature)
    return CalibrationMetrics(
        temperature=float(temperature),
        cross_fitted=cross_fitted,
        images=len(true),
        before=_scores(true, apply_temperature(values), bins=bins),
        after=_scores(true, after, bins=bins),
    )


def _scores(true: NDArray[np.int64], probabilities: Floats, *, bins: int) -> CalibrationScores:
    correct = metrics.decisions(true, probabilities) == true
    return CalibrationScores(
        log_loss=intervals.mean(metrics.log_losses(true, probabilities)),
        ece=calibration_error(probabilities.max(axis=1), correct, bins=bins),
    )
