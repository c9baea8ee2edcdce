"""Whether a picture is of none of the classes: how far its features lie from those of every class.

The score is the Mahalanobis distance to the nearest class mean, with one covariance for all classes (Lee, Lee, Lee and
Shin, A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018, arXiv:1807.03888) on features
of length 1 (Müller and Hein, Mahalanobis++, ICML 2025, arXiv:2505.18032). The covariance has few directions of its own
and is the same in all others (Tipping and Bishop, Probabilistic principal component analysis, JRSS B 61, 1999); it is
shrunk as Ledoit and Wolf (A well-conditioned estimator for large-dimensional covariance matrices, Journal of
Multivariate Analysis 88, 2004) tell from the number of images. What is kept does not grow with the images and holds
none of them: for 1,280 features 160 KB, and 2.5 KB a class.

Area under the ROC curve on EfficientNet-Lite0's 1,280 pooled features, about 1,500 images to fit:

| inside, outside             | this  | nearest neighbour | energy | largest probability |
| --------------------------- | ----- | ----------------- | ------ | ------------------- |
| trash, dogs                 | 1.000 | 1.000             | 0.935  | 0.859               |
| trash, ImageNet             | 0.999 | 0.999             | 0.909  | 0.842               |
| dogs, trash                 | 1.000 | 1.000             | 1.000  | 1.000               |
| dogs, ImageNet              | 0.963 | 0.954             | 0.945  | 0.936               |
| 60 breeds, the other 60     | 0.843 | 0.819             | 0.837  | 0.801               |
| 5 kinds of trash, cardboard | 0.938 | 0.925             | 0.558  | 0.513               |
| 5 kinds of trash, metal     | 0.785 | 0.785             | 0.794  | 0.769               |
| 5 kinds of trash, plastic   | 0.622 | 0.735             | 0.668  | 0.650               |

So it tells pictures of another kind reliably, and what looks much like the classes badly; with 150 images to fit, trash
against dogs and ImageNet gives the same, and kinds of trash lose 0.01 to 0.02. The nearest neighbour (Sun, Ming, Zhu
and Li, Out-of-distribution detection with deep nearest neighbors, ICML 2022, arXiv:2204.06507) does as well, but would
keep features of training images, 5 MB of 2,000. The whole covariance differs from 64 directions by 0.015 at most.
Stanford's dogs are ImageNet's, so that the network has seen those pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, RunError
from headstart.evaluate import intervals
from headstart.evaluate.conformal import rank_of_quantile
from headstart.evaluate.folds import turns

__all__ = ["MOST", "Novelty", "auroc", "fit_novelty", "novelty_rows", "novelty_section"]

DIRECTIONS = 64
MOST = 10_000  # images that the covariance is estimated from
INSIDE = 0.95
OF_EACH = 20  # images of a class that its mean is estimated from, where there are more than the 10,000
CHUNK = 1024  # images scored at a time
BARS = 40

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Novelty:
    """Class means and a covariance, for features of length 1, and the score from which on a picture is strange."""

    means: NDArray[np.float16]  # (K, D), a row a class that has images
    directions: NDArray[np.float16]  # (Q, D), of length 1, in which classes spread most
    gains: Floats  # (Q,), how much less a distance counts along each
    precision: float  # what a squared distance counts in all other directions
    threshold: float  # the score that most held-out images of the classes stay below
    inside: float = INSIDE  # that share of them

    def scores(self, features: ArrayLike) -> Floats:
        """How strange pictures are by their features ``(N, D)``: ``(N,)``, higher is stranger.

        It is the squared Mahalanobis distance divided by D: about 1 for images of the classes where many were there to
        fit, more where few were.

        Raises :class:`~headstart.errors.DataError` if the shape is another, or a feature is not finite.
        """
        values = _checked(features, dimension=self.means.shape[1])
        chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
        return np.concatenate([np.empty(0), *map(self._scores, chunks)])

    def strange(self, features: ArrayLike) -> NDArray[np.bool_]:
        """Which pictures are none of the classes, as far as the score tells: ``(N,)``."""
        return self.scores(features) > self.threshold

    def _scores(self, features: NDArray[Any]) -> Floats:
        means, directions = self.means.astype(np.float64), self.directions.astype(np.float64)
        own = _unit(features).astype(np.float64)  # (N, D)
        apart = (own**2).sum(axis=1)[:, None] - 2 * own @ means.T + (means**2).sum(axis=1)  # (N, K)
        distances = self.precision * apart
        own_along, means_along = own @ directions.T, means @ directions.T  # (N, Q), (K, Q)
        along = ((own_along**2) @ self.gains)[:, None] - 2 * (own_along * self.gains) @ means_along.T
        distances -= along + (means_along**2) @ self.gains
        return distances.min(axis=1) / means.shape[1]  # type: ignore[no-any-return]

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """All of it as arrays by name, to be kept in a file of safetensors."""
        numbers = np.array([self.precision, self.threshold, self.inside])
        arrays = {"means": self.means, "directions": self.directions, "gains": self.gains, "numbers": numbers}
        # safetensors writes the bytes as they lie, and says nothing where columns come first.
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Novelty:
        """What :meth:`as_arrays` gave.

        Raises :class:`~headstart.errors.RunError` if an array is missing or does not fit the others.
        """
        names = ("means", "directions", "gains", "numbers")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise RunError(f"novelty: damaged: {', '.join(missing)} must be there. Fit the classifier again.")
        means, directions, gains, numbers = (arrays[name] for name in names)
        dimension, rank = means.shape[-1], len(directions)
        if means.ndim != 2 or directions.shape != (rank, dimension) or gains.shape != (rank,) or numbers.shape != (3,):
            shapes = ", ".join(f"{name} {arrays[name].shape}" for name in names)
            raise RunError(f"novelty: damaged: the arrays do not fit each other: {shapes}. Fit the classifier again.")
        precision, threshold, inside = numbers.tolist()
        return cls(means, directions, gains, precision, threshold, inside)


def fit_novelty(
    features: ArrayLike,
    targets: ArrayLike,
    held_out: ArrayLike,
    *,
    inside: float = INSIDE,
    directions: int = DIRECTIONS,
    seed: int = 0,
) -> Novelty:
    """Learn what pictures of the classes look like, and from where on one is strange.

    ``features`` ``(N, D)`` and ``targets`` ``(N,)`` are of the training part; ``held_out`` ``(M, D)`` are features of
    pictures of the classes that were not trained on (the validation part), since those lie farther out. The threshold
    is their score of rank ceil((M + 1) inside), as in conformal prediction (Bates et al., Testing for outliers with
    conformal p-values, Annals of Statistics 51, 2023): of new pictures like them, at least the share ``inside`` stays
    below. With fewer than 19 of them for 0.95, it is their largest score, and the share is smaller.

    ``seed`` draws the 10,000 images that the covariance is estimated from, where there are more.

    Raises :class:`~headstart.errors.DataError` if shapes or values are not so, and
    :class:`~headstart.errors.SettingsError` if ``inside`` does not lie between 0 and 1.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(400) % 2
    >>> pictures = rng.normal(size=(400, 8)) + 10 * np.eye(8)[targets]
    >>> novelty = fit_novelty(pictures[:200], targets[:200], pictures[200:], directions=2)
    >>> novelty.strange(10 * np.eye(8)[:4]).tolist()
    [False, False, True, True]
    """
    values = _checked(features)
    true = np.asarray(targets)
    if true.shape != values.shape[:1] or not len(true):
        raise DataError(f"targets must have the shape ({len(values)},), one an image, at least one, not {true.shape}.")
    means, spread = _classes(_unit(values), true, seed=seed)
    axes, gains, precision = _covariance(spread, own=len(spread) - len(means), rank=directions)
    fitted = Novelty(means.astype(np.float16), axes.astype(np.float16), gains, precision, np.inf, inside)
    scores = fitted.scores(held_out)
    if not len(scores):
        raise DataError("held_out must have one image or more, to tell from where on a picture is strange.")
    return Novelty(fitted.means, fitted.directions, gains, precision, _threshold(scores, inside), inside)


def novelty_rows(targets: ArrayLike, *, seed: int = 0) -> NDArray[np.int64]:
    """Rows of as many images as :func:`fit_novelty` needs, ascending: all, or of many about 10,000, drawn by ``seed``.

    Of each class there are as many, where it has them, and 20 at least.

    >>> len(novelty_rows(np.arange(300) % 3)), len(novelty_rows(np.arange(30_000) % 3))
    (300, 9999)
    """
    true = np.asarray(targets)
    if len(true) <= MOST:
        return np.arange(len(true))
    _, index, images = np.unique(true, return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(true)), index))  # class by class
    place = np.arange(len(true)) - np.repeat(np.cumsum(images) - images, images)  # in its class
    return np.sort(order[place < max(OF_EACH, MOST // len(images))])


def novelty_section(
    scores: Floats, *, threshold: float, cross_fitted: bool, inside: float = INSIDE, folds: int = 5, seed: int = 0
) -> dict[str, Any]:
    """``evaluation["novelty"]``: how many pictures of the classes are called strange, as plain JSON values.

    ``scores`` ``(N,)`` are of the part that is evaluated. Say ``cross_fitted`` where ``threshold`` was taken from these
    very images: then each image is held against the threshold of other folds. ``bars`` count the images by score.

    >>> found = novelty_section(np.arange(100.0), threshold=89.5, cross_fitted=False)
    >>> found["strange"]["value"], sum(bar["images"] for bar in found["bars"])
    (0.1, 100)
    """
    strange = scores > threshold
    if cross_fitted:
        for others, own in turns(len(scores), folds=folds, seed=seed):
            strange[own] = scores[own] > _threshold(scores[others], inside) if len(others) else False
    counts, edges = np.histogram(scores, bins=BARS)
    return {
        "inside": inside,
        "threshold": float(threshold),
        "cross_fitted": cross_fitted,
        "images": len(scores),
        "strange": intervals.wilson(int(strange.sum()), len(scores)),
        "bars": [
            {"low": low, "high": high, "images": images}
            for low, high, images in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        ],
    }


def auroc(inside: ArrayLike, outside: ArrayLike) -> intervals.Interval:
    """How often a picture from outside has a higher score than one from inside, with its 95 % interval.

    Half a point for a tie: the area under the ROC curve. ``inside`` ``(N,)`` and ``outside`` ``(M,)`` are scores. The
    interval is DeLong's on the logit scale: DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more
    correlated receiver operating characteristic curves, Biometrics 44, 1988; Sun and Xu, Fast implementation of
    DeLong's algorithm, IEEE Signal Processing Letters 21, 2014. Where the two do not overlap it would have no width:
    then it is Wilson's for as many images as the smaller of them has.

    >>> found = auroc([1.0, 2.0, 3.0], [2.5, 4.0])
    >>> round(found["value"], 3), round(found["low"], 2), round(found["high"], 2)
    (0.833, 0.15, 0.99)
    """
    from scipy.special import expit, logit
    from scipy.stats import rankdata

    low, high = np.asarray(inside, dtype=np.float64), np.asarray(outside, dtype=np.float64)
    few = min(len(low), len(high))
    if not few or not np.isfinite(np.concatenate([low, high])).all():
        raise DataError("auroc needs finite scores of one picture or more, both from inside and from outside.")
    ranks = rankdata(np.concatenate([low, high]))
    # Of each picture, the share of the others' group that it is on the right side of.
    right_low = 1 - (ranks[: len(low)] - rankdata(low)) / len(high)
    right_high = (ranks[len(low) :] - rankdata(high)) / len(low)
    value = float(right_high.mean())
    error = np.sqrt(sum(shares.var(ddof=1) / len(shares) for shares in (right_low, right_high) if len(shares) > 1))
    if not 0 < value < 1 or not error:
        return {**intervals.wilson(round(value * few), few), "value": value}
    reach = 1.96 * error / (value * (1 - value))
    return {"value": value, "low": float(expit(logit(value) - reach)), "high": float(expit(logit(value) + reach))}


def _checked(features: ArrayLike, *, dimension: int | None = None) -> NDArray[Any]:
    values = np.asarray(features)
    if values.ndim != 2 or dimension not in (None, values.shape[1]):
        raise DataError(f"features must have the shape (images, {dimension or 'features'}), not {values.shape}.")
    if not np.isfinite(values).all():
        raise DataError("features must be finite; some are not. The network's weights, or the images, are damaged.")
    return values


def _unit(values: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays."""
    rows: NDArray[np.float32] = values.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return rows


def _classes(rows: NDArray[np.float32], true: NDArray[Any], *, seed: int) -> tuple[Floats, NDArray[np.float32]]:
    """The means ``(K, D)`` of the classes that are there, and how images differ from theirs, ``(≤ 10,000, D)``.

    The differences take the place of ``rows``, so that the images are in memory once.
    """
    from scipy.sparse import csr_array

    _, index, images = np.unique(true, return_inverse=True, return_counts=True)
    members = csr_array((np.ones(len(true), np.float32), (index, np.arange(len(true)))), shape=(len(images), len(true)))
    means: Floats = (members @ rows) / images[:, None]
    if len(rows) > MOST:
        some = np.sort(np.random.default_rng(seed).choice(len(rows), MOST, replace=False))
        rows, index = rows[some], index[some]
    for start in range(0, len(rows), CHUNK):
        rows[start : start + CHUNK] -= means[index[start : start + CHUNK]]
    return means, rows


def _covariance(spread: NDArray[np.float32], *, own: int, rank: int) -> tuple[Floats, Floats, float]:
    """Directions ``(Q, D)`` with their gains ``(Q,)``, and the precision of the rest, of differences ``(N, D)``.

    ``own`` is how many images there are more than means that were taken off them.
    """
    from scipy.linalg import eigh

    dimension = spread.shape[1]
    total = float(np.einsum("nd,nd->", spread, spread, dtype=np.float64)) / max(own, 1)
    if total <= 1e-9 or own < 2:  # an image a class: all directions are alike
        return np.empty((0, dimension)), np.empty(0), float(dimension)
    rank = max(0, min(rank, own - 1, dimension - 1))
    products = spread.T @ spread  # (D, D)
    shrinkage = _shrinkage(spread, products)
    axes, variances = np.empty((0, dimension)), np.empty(0)
    if rank:
        most, directions = eigh(products, subset_by_index=(dimension - rank, dimension - 1))  # ascending
        axes, variances = directions.T[::-1], most[::-1].astype(np.float64) / own
    each = shrinkage * total / dimension
    rest = (1 - shrinkage) * (total - variances.sum()) / (dimension - rank) + each
    rest = max(rest, 1e-6 * total / dimension)  # features that lie in few directions only
    return axes, 1 / rest - 1 / np.maximum((1 - shrinkage) * variances + each, rest), 1 / rest


def _shrinkage(spread: NDArray[np.float32], products: NDArray[np.float32]) -> float:
    """How far Ledoit and Wolf draw the covariance of differences ``(N, D)`` to a multiple of the unit matrix: 0 to 1.

    ``products`` are the differences' with each other, ``(D, D)``, which the directions need too: scikit-learn's
    function makes them for itself, and as many again of the squares, whose sum needs lengths alone.
    """
    images, dimension = spread.shape
    lengths = np.einsum("nd,nd->n", spread, spread).astype(np.float64)  # squared
    trace, squares = lengths.sum() / images, float(np.square(products, dtype=np.float64).sum()) / images**2
    noise = float((np.square(lengths).sum() / images - squares) / images)
    apart = squares - trace**2 / dimension
    return float(np.clip(noise / apart, 0, 1)) if apart > 0 else 1.0


def _threshold(scores: Floats, inside: float) -> float:
    rank = min(rank_of_quantile(len(scores), inside), len(scores))
    return float(np.sort(scores)[rank - 1])
