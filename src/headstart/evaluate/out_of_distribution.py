"""Out-of-distribution detection: the distance of an image's features from those of every class.

The score is the Mahalanobis distance to the nearest class mean, with one covariance for all classes (Lee, Lee, Lee and
Shin, A simple unified framework for detecting out-of-distribution samples, NeurIPS 2018, arXiv:1807.03888) on
L2-normalized features (Müller and Hein, Mahalanobis++, ICML 2025, arXiv:2505.18032). The covariance has a few principal
directions and is isotropic in all others (Tipping and Bishop, Probabilistic principal component analysis, JRSS B 61,
1999). It is shrunk as in Ledoit and Wolf (A well-conditioned estimator for large-dimensional covariance matrices,
Journal of Multivariate Analysis 88, 2004). The size of a detector does not grow with the number of images, and no image
is stored in it: 160 KB for 1,280 features, and 2.5 KB per class.

Area under the ROC curve on the 1,280 pooled features of EfficientNet-Lite0, fitted on about 1,500 images:

| in, out of distribution     | this  | nearest neighbor  | energy | largest probability |
| --------------------------- | ----- | ----------------- | ------ | ------------------- |
| trash, dogs                 | 1.000 | 1.000             | 0.935  | 0.859               |
| trash, ImageNet             | 0.999 | 0.999             | 0.909  | 0.842               |
| dogs, trash                 | 1.000 | 1.000             | 1.000  | 1.000               |
| dogs, ImageNet              | 0.963 | 0.954             | 0.945  | 0.936               |
| 60 breeds, the other 60     | 0.843 | 0.819             | 0.837  | 0.801               |
| 5 kinds of trash, cardboard | 0.938 | 0.925             | 0.558  | 0.513               |
| 5 kinds of trash, metal     | 0.785 | 0.785             | 0.794  | 0.769               |
| 5 kinds of trash, plastic   | 0.622 | 0.735             | 0.668  | 0.650               |

It detects images of another kind reliably, and images that resemble the classes poorly. With 150 images to fit, trash
against dogs and ImageNet gives the same, and kinds of trash lose 0.01 to 0.02. The nearest neighbor (Sun, Ming, Zhu and
Li, Out-of-distribution detection with deep nearest neighbors, ICML 2022, arXiv:2204.06507) is as good, but would have
to store features of training images, 5 MB for 2,000. The full covariance differs from 64 directions by at most 0.015.
Stanford's dogs are part of ImageNet, so that the network was trained on those images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, RunError
from headstart.evaluate import intervals
from headstart.evaluate.conformal import quantile_rank
from headstart.evaluate.folds import kfold_split
from headstart.evaluate.schema import HistogramBin, Interval, OutOfDistributionMetrics

__all__ = ["MAX_FIT_IMAGES", "OODDetector", "auroc", "fit_ood_detector", "ood_fit_rows", "ood_metrics"]

DIRECTIONS = 64
MAX_FIT_IMAGES = 10_000  # images that the covariance is estimated from
INLIER_RATE = 0.95
MIN_IMAGES_PER_CLASS = 20  # kept per class for its mean when there are more than MAX_FIT_IMAGES images
CHUNK = 1024  # images scored at a time
HISTOGRAM_BINS = 40

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OODDetector:
    """Class means and shared covariance of L2-normalized features, and the score above which an image is flagged."""

    means: NDArray[np.float16]  # (K, D), one row per class that has images
    directions: NDArray[np.float16]  # (Q, D), unit vectors: the principal directions of the covariance
    gains: Floats  # (Q,), how much smaller the weight of a squared distance is along each direction
    precision: float  # weight of a squared distance in all other directions
    threshold: float  # images with a higher score are flagged as out of distribution
    inlier_rate: float = INLIER_RATE  # share of held-out images of the classes with a score up to the threshold

    def scores(self, features: ArrayLike) -> Floats:
        """Return the out-of-distribution scores ``(N,)`` of images by their features ``(N, D)``.

        The score is the squared Mahalanobis distance divided by D: about 1 for images of the classes if the detector
        was fitted on many images, higher if on few.

        :raises DataError: the shape is wrong, or a feature is not finite.
        """
        values = _validate(features, dimension=self.means.shape[1])
        chunks = (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
        return np.concatenate([np.empty(0), *map(self._scores, chunks)])

    def flag(self, features: ArrayLike) -> NDArray[np.bool_]:
        """Return which images are flagged as out of distribution, ``(N,)``, by their features ``(N, D)``."""
        return self.scores(features) > self.threshold

    def _scores(self, features: NDArray[Any]) -> Floats:
        means, directions = self.means.astype(np.float64), self.directions.astype(np.float64)
        own = _normalize(features).astype(np.float64)  # (N, D)
        apart = (own**2).sum(axis=1)[:, None] - 2 * own @ means.T + (means**2).sum(axis=1)  # (N, K)
        distances = self.precision * apart
        own_along, means_along = own @ directions.T, means @ directions.T  # (N, Q), (K, Q)
        along = ((own_along**2) @ self.gains)[:, None] - 2 * (own_along * self.gains) @ means_along.T
        distances -= along + (means_along**2) @ self.gains
        return distances.min(axis=1) / means.shape[1]  # type: ignore[no-any-return]

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the detector as arrays by name, for a safetensors file."""
        numbers = np.array([self.precision, self.threshold, self.inlier_rate])
        arrays = {"means": self.means, "directions": self.directions, "gains": self.gains, "numbers": numbers}
        # safetensors writes the buffer as it is, without a warning where it is in column-major order.
        return {name: np.ascontiguousarray(array) for name, array in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> OODDetector:
        """Return the detector that :meth:`as_arrays` was called on.

        :raises RunError: an array is missing or its shape does not fit the others.
        """
        names = ("means", "directions", "gains", "numbers")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise RunError(f"OOD detector: damaged: {', '.join(missing)} missing. Fit the classifier again.")
        means, directions, gains, numbers = (arrays[name] for name in names)
        dimension, rank = means.shape[-1] if means.ndim else 0, len(directions) if directions.ndim else 0
        if means.ndim != 2 or directions.shape != (rank, dimension) or gains.shape != (rank,) or numbers.shape != (3,):
            shapes = ", ".join(f"{name} {arrays[name].shape}" for name in names)
            raise RunError(f"OOD detector: damaged: inconsistent shapes: {shapes}. Fit the classifier again.")
        precision, threshold, inlier_rate = numbers.tolist()
        infinite = [name for name in names if not np.isfinite(arrays[name]).all()]
        if infinite or precision < 0 or not 0 < inlier_rate <= 1:
            wrong = ", ".join(infinite) or "numbers"
            raise RunError(f"OOD detector: damaged: {wrong} out of range. Fit the classifier again.")
        return cls(means, directions, gains, precision, threshold, inlier_rate)


def fit_ood_detector(
    features: ArrayLike,
    targets: ArrayLike,
    held_out: ArrayLike,
    *,
    inlier_rate: float = INLIER_RATE,
    directions: int = DIRECTIONS,
    seed: int = 0,
    overwrite_features: bool = False,
) -> OODDetector:
    """Fit class means and covariance on training features, and the threshold on held-out features.

    The threshold is the held-out score of rank ceil((M + 1) inlier_rate), as in conformal prediction (Bates et al.,
    Testing for outliers with conformal p-values, Annals of Statistics 51, 2023): new images of the classes have a score
    up to it with at least the probability ``inlier_rate``. With fewer held-out images (below 19 for 0.95) it is their
    largest score, and the probability is lower.

    :param features: of the training split, ``(N, D)``.
    :param targets: class indices ``(N,)``.
    :param held_out: features ``(M, D)`` of images of the classes that were not trained on (the validation split), since
        those are farther from the class means.
    :param directions: number of principal directions of the covariance.
    :param seed: draws the 10,000 images that the covariance is estimated from, if there are more.
    :param overwrite_features: whether ``features``, if they are float32, may be overwritten, which saves a copy.
    :raises DataError: a shape or value is wrong.
    :raises SettingsError: ``inlier_rate`` is not between 0 and 1.

    >>> rng = np.random.default_rng(0)
    >>> targets = np.arange(400) % 2
    >>> features = rng.normal(size=(400, 8)) + 10 * np.eye(8)[targets]
    >>> detector = fit_ood_detector(features[:200], targets[:200], features[200:], directions=2)
    >>> detector.flag(10 * np.eye(8)[:4]).tolist()
    [False, False, True, True]
    """
    values = _validate(features)
    true = np.asarray(targets)
    if true.shape != values.shape[:1] or not len(true):
        raise DataError(
            f"targets must have the shape ({len(values)},), one per image and at least one, got {true.shape}."
        )
    means, residuals = _class_means(_normalize(values, copy=not overwrite_features), true, seed=seed)
    axes, gains, precision = _covariance(residuals, degrees=len(residuals) - len(means), rank=directions)
    fitted = OODDetector(means.astype(np.float16), axes.astype(np.float16), gains, precision, np.inf, inlier_rate)
    scores = fitted.scores(held_out)
    if not len(scores):
        raise DataError("held_out must have at least one image: the threshold is computed from its scores.")
    return replace(fitted, threshold=_threshold(scores, inlier_rate))


def ood_fit_rows(targets: ArrayLike, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the rows of the images that :func:`fit_ood_detector` needs, ascending: all, or about 10,000 of more.

    Rows are drawn with ``seed``, equally many per class where possible, and at least 20 per class.

    >>> len(ood_fit_rows(np.arange(300) % 3)), len(ood_fit_rows(np.arange(30_000) % 3))
    (300, 9999)
    """
    true = np.asarray(targets)
    if len(true) <= MAX_FIT_IMAGES:
        return np.arange(len(true))
    _, index, images = np.unique(true, return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(true)), index))  # by class
    rank = np.arange(len(true)) - np.repeat(np.cumsum(images) - images, images)  # within the class
    return np.sort(order[rank < max(MIN_IMAGES_PER_CLASS, MAX_FIT_IMAGES // len(images))])


def ood_metrics(
    scores: Floats,
    *,
    threshold: float,
    cross_fitted: bool,
    inlier_rate: float = INLIER_RATE,
    folds: int = 5,
    seed: int = 0,
) -> OutOfDistributionMetrics:
    """Count how many images of the classes are flagged as out of distribution.

    :param scores: of the evaluated split, ``(N,)``.
    :param cross_fitted: True if ``threshold`` was computed from these images: then each image is compared with the
        threshold of the other folds.

    >>> found = ood_metrics(np.arange(100.0), threshold=89.5, cross_fitted=False)
    >>> found.flagged.value, sum(each.images for each in found.histogram)
    (0.1, 100)
    """
    flagged = scores > threshold
    if cross_fitted:
        for others, held_out in kfold_split(len(scores), folds=folds, seed=seed):
            known = len(others) > 0
            flagged[held_out] = scores[held_out] > _threshold(scores[others], inlier_rate) if known else False
    counts, edges = np.histogram(scores, bins=HISTOGRAM_BINS)
    return OutOfDistributionMetrics(
        inlier_rate=inlier_rate,
        threshold=float(threshold),
        cross_fitted=cross_fitted,
        images=len(scores),
        flagged=intervals.wilson(int(flagged.sum()), len(scores)),
        histogram=tuple(
            HistogramBin(low, high, images)
            for low, high, images in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        ),
    )


def auroc(inside: ArrayLike, outside: ArrayLike) -> Interval:
    """Return the area under the ROC curve with its 95 % interval.

    It is the probability that an image outside the classes has a higher score than one inside; a tie counts half. The
    interval is DeLong's on the logit scale: DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more
    correlated receiver operating characteristic curves, Biometrics 44, 1988; Sun and Xu, Fast implementation of
    DeLong's algorithm, IEEE Signal Processing Letters 21, 2014. If the two do not overlap, that would have no width:
    then it is Wilson's for the size of the smaller group.

    :param inside: scores ``(N,)`` of images of the classes.
    :param outside: scores ``(M,)`` of other images.
    :raises DataError: a group is empty, or a score is not finite.

    >>> f"{auroc([1.0, 2.0, 3.0], [2.5, 4.0]):.2f}"
    '0.83 (0.15 to 0.99)'
    """
    from scipy.special import expit, logit
    from scipy.stats import rankdata

    low, high = np.asarray(inside, dtype=np.float64), np.asarray(outside, dtype=np.float64)
    few = min(len(low), len(high))
    if not few or not np.isfinite(np.concatenate([low, high])).all():
        raise DataError("auroc needs at least one score inside and one outside, all finite.")
    ranks = rankdata(np.concatenate([low, high]))
    # For each image, the share of the other group that it is ordered correctly against.
    ordered_low = 1 - (ranks[: len(low)] - rankdata(low)) / len(high)
    ordered_high = (ranks[len(low) :] - rankdata(high)) / len(low)
    value = float(ordered_high.mean())
    error = np.sqrt(sum(each.var(ddof=1) / len(each) for each in (ordered_low, ordered_high) if len(each) > 1))
    if not 0 < value < 1 or not error:
        return replace(intervals.wilson(round(value * few), few), value=value)
    reach = 1.96 * error / (value * (1 - value))
    return Interval(value, float(expit(logit(value) - reach)), float(expit(logit(value) + reach)))


def _validate(features: ArrayLike, *, dimension: int | None = None) -> NDArray[Any]:
    values = np.asarray(features)
    if values.ndim != 2 or dimension not in (None, values.shape[1]):
        raise DataError(f"features must have the shape (images, {dimension or 'features'}), got {values.shape}.")
    if not np.isfinite(values).all():
        raise DataError("features must be finite. The weights of the network or the images are damaged.")
    return values


def _normalize(values: NDArray[Any], *, copy: bool = True) -> NDArray[np.float32]:
    """Scale rows to length 1; a row of zeros stays."""
    rows: NDArray[np.float32] = values.astype(np.float32, copy=copy)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows /= np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    return rows


def _class_means(rows: NDArray[np.float32], true: NDArray[Any], *, seed: int) -> tuple[Floats, NDArray[np.float32]]:
    """Return the means ``(K, D)`` of the classes that have images, and the residuals of at most 10,000 images.

    The residuals overwrite ``rows``, so that the features are in memory once.
    """
    from scipy.sparse import csr_array

    _, index, images = np.unique(true, return_inverse=True, return_counts=True)
    members = csr_array((np.ones(len(true), np.float32), (index, np.arange(len(true)))), shape=(len(images), len(true)))
    means: Floats = (members @ rows) / images[:, None]
    if len(rows) > MAX_FIT_IMAGES:
        drawn = np.sort(np.random.default_rng(seed).choice(len(rows), MAX_FIT_IMAGES, replace=False))
        rows, index = rows[drawn], index[drawn]
    for start in range(0, len(rows), CHUNK):
        rows[start : start + CHUNK] -= means[index[start : start + CHUNK]]
    return means, rows


def _covariance(residuals: NDArray[np.float32], *, degrees: int, rank: int) -> tuple[Floats, Floats, float]:
    """Return directions ``(Q, D)``, their gains ``(Q,)`` and the precision of the other directions.

    :param residuals: ``(N, D)``.
    :param degrees: degrees of freedom: number of images minus number of means.
    """
    from scipy.linalg import eigh

    dimension = residuals.shape[1]
    total = float(np.einsum("nd,nd->", residuals, residuals, dtype=np.float64)) / max(degrees, 1)
    if total <= 1e-9 or degrees < 2:  # one image per class: isotropic
        return np.empty((0, dimension)), np.empty(0), float(dimension)
    rank = max(0, min(rank, degrees - 1, dimension - 1))
    products = residuals.T @ residuals  # (D, D)
    shrinkage = _shrinkage(residuals, products)
    axes, variances = np.empty((0, dimension)), np.empty(0)
    if rank:
        largest, directions = eigh(products, subset_by_index=(dimension - rank, dimension - 1))  # ascending
        axes, variances = directions.T[::-1], largest[::-1].astype(np.float64) / degrees
    isotropic = shrinkage * total / dimension
    rest = (1 - shrinkage) * (total - variances.sum()) / (dimension - rank) + isotropic
    rest = max(rest, 1e-6 * total / dimension)  # for features that lie in a few directions only
    return axes, 1 / rest - 1 / np.maximum((1 - shrinkage) * variances + isotropic, rest), 1 / rest


def _shrinkage(residuals: NDArray[np.float32], products: NDArray[np.float32]) -> float:
    """Return the Ledoit-Wolf shrinkage of the covariance towards a multiple of the identity: 0 to 1.

    ``products`` ``(D, D)`` is ``residuals.T @ residuals``, which the directions need too. scikit-learn's function
    computes it again, and as large a product of the squares, of which only the row lengths are needed.
    """
    images, dimension = residuals.shape
    lengths = np.einsum("nd,nd->n", residuals, residuals).astype(np.float64)  # squared
    trace, squares = lengths.sum() / images, float(np.square(products, dtype=np.float64).sum()) / images**2
    noise = float((np.square(lengths).sum() / images - squares) / images)
    distance = squares - trace**2 / dimension
    return float(np.clip(noise / distance, 0, 1)) if distance > 0 else 1.0


def _threshold(scores: Floats, inlier_rate: float) -> float:
    rank = min(quantile_rank(len(scores), inlier_rate), len(scores))
    return float(np.sort(scores)[rank - 1])
