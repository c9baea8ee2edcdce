"""One number that makes a network's percentages mean what they say.

Logits are divided by a temperature T before the softmax: above 1 the percentages become more modest, below 1 bolder,
and the order of the classes stays. Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks,
ICML 2017, arXiv:1706.04599.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.evaluate import intervals, metrics
from headstart.evaluate.calibration import calibration_error
from headstart.evaluate.checks import checked_logits
from headstart.evaluate.folds import turns

__all__ = ["fit_temperature", "scaled", "scaled_out_of_fold", "temperature_section"]

COLDEST, HOTTEST = 0.01, 100.0
PRIOR = 0.5  # standard deviation of 1/T around 1, before any image has been seen

Floats = NDArray[np.float64]


def scaled(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """The probabilities ``(N, C)`` of logits ``(N, C)`` at a temperature.

    >>> scaled([[1.0, 0.0]], 2.0).round(3)
    array([[0.622, 0.378]])
    """
    from scipy.special import softmax

    shares: Floats = softmax(np.asarray(logits, dtype=np.float64) / temperature, axis=1)
    return shares


def fit_temperature(logits: ArrayLike, targets: ArrayLike, *, smoothing: float = 0.0) -> float:
    """The temperature at which logits ``(N, C)`` have the smallest log loss on targets ``(N,)``, integers.

    Fit it on images that were not trained on. The log loss is convex in 1/T, and so is the weak prior on 1/T (normal,
    mean 1, standard deviation 0.5) that is added to it: without one, ten images that are all right would make any
    network certain. From some hundred images on the prior moves T by a percent. The answer lies within 0.01 to 100;
    it is 1 for a single class.

    With ``smoothing``, that share of each target is given to the other classes, in place of the prior and the limits:
    for scores of any size, of which no temperature is more likely than another. Platt, Probabilistic outputs for
    support vector machines, 1999, takes 1/(N + 2): ten images that are all right then ask for eleven twelfths.

    Raises :class:`~headstart.errors.DataError` if shapes or values are not so.

    >>> sure = np.log([[0.99, 0.01]] * 10)  # 99 % sure, and right in 8 of 10
    >>> round(fit_temperature(np.repeat(sure, 100, axis=0), [0] * 800 + [1] * 200), 1)
    3.3
    >>> scaled([[1000.0, 0.0]], fit_temperature([[1000.0, 0.0]] * 10, [0] * 10, smoothing=1 / 12)).round(3)
    array([[0.917, 0.083]])
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    values, true = checked_logits(logits, targets)
    # Only how far each class lies above the true one matters, and the losses stay exact where all are right.
    ahead = values - values[np.arange(len(true)), true][:, None]  # (N, C)
    doubt = float(smoothing * ahead.sum() / max(values.shape[1] - 1, 1))  # what the other classes' shares ask for

    def loss(log_temperature: float) -> float:
        cold = math.exp(-log_temperature)
        prior = 0.0 if smoothing else ((cold - 1) / PRIOR) ** 2 / 2
        return float(logsumexp(ahead * cold, axis=1).sum()) - doubt * cold + prior

    coldest, hottest = COLDEST, HOTTEST
    if smoothing:
        size = math.sqrt(float(np.square(ahead).mean())) or 1.0
        coldest, hottest = coldest / HOTTEST * size, hottest * size
    bounds = (math.log(coldest), math.log(hottest))
    # The logarithm spends the search's steps evenly; a function of one valley stays one.
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(found.x))


def scaled_out_of_fold(logits: ArrayLike, targets: ArrayLike, *, folds: int = 5, seed: int = 0) -> Floats:
    """Probabilities ``(N, C)``, each image's at the temperature that the images of the other folds ask for.

    So that figures on the part that the temperature is fitted on do not flatter it. A single image stays as it is.
    Raises as :func:`fit_temperature` does.
    """
    values, true = checked_logits(logits, targets)
    shares = np.empty_like(values)
    for others, own in turns(len(true), folds=folds, seed=seed):
        temperature = fit_temperature(values[others], true[others]) if len(others) else 1.0
        shares[own] = scaled(values[own], temperature)
    return shares


def temperature_section(
    logits: ArrayLike, targets: ArrayLike, *, temperature: float, cross_fitted: bool, bins: int = 15
) -> dict[str, Any]:
    """``evaluation["calibration"]``: log loss and calibration error before and after scaling, as plain JSON values.

    ``logits`` ``(N, C)`` and ``targets`` ``(N,)`` are of the part that is evaluated. Say ``cross_fitted`` where
    ``temperature`` was fitted on these very images: then "after" is of probabilities scaled out of fold. Figures are
    ``{"value", "low", "high"}`` as :func:`~headstart.evaluate.evaluate` gives them.

    >>> found = temperature_section(np.log([[0.99, 0.01]] * 5), [0, 0, 0, 0, 1], temperature=3.3, cross_fitted=False)
    >>> round(found["before"]["log_loss"]["value"], 2), round(found["after"]["log_loss"]["value"], 2)
    (0.93, 0.5)
    """
    values, true = checked_logits(logits, targets)
    after = scaled_out_of_fold(values, true) if cross_fitted else scaled(values, temperature)
    return {
        "temperature": float(temperature),
        "cross_fitted": cross_fitted,
        "images": len(true),
        "before": _trust(true, scaled(values), bins=bins),
        "after": _trust(true, after, bins=bins),
    }


def _trust(true: NDArray[np.int64], shares: Floats, *, bins: int) -> dict[str, intervals.Interval]:
    hits = metrics.decisions(true, shares) == true
    return {
        "log_loss": intervals.mean(metrics.log_losses(true, shares)),
        "ece": calibration_error(shares.max(axis=1), hits, bins=bins),
    }
