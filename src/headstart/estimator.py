"""A classifier that is compatible with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_is_fitted, column_or_1d

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, FitSettings, Settings, options_of
from headstart.data.inputs import AnyImage, images_as_manifest
from headstart.data.manifest import Manifest
from headstart.errors import DataError, SettingsError
from headstart.evaluate.schema import EpochRecord, Evaluation
from headstart.workflow.fit import FitResult, fit
from headstart.workflow.report import report
from headstart.workflow.runs import save_run

__all__ = ["ImageClassifier"]


@dataclass(eq=False, repr=False, kw_only=True)
class ImageClassifier(ClassifierMixin, BaseEstimator, FitSettings):  # type: ignore[misc]  # scikit-learn has no types
    """Image classifier that is fitted to a few labeled images by transfer learning.

    Parameters are the settings of ``headstart fit`` (:class:`headstart.FitSettings`). Images are a manifest from
    :func:`headstart.read_images`, or what :meth:`headstart.Classifier.predict_proba` takes: paths, bytes, PIL images,
    arrays, tensors, batches, lists of these, or one of these. Works with ``cross_val_score``, ``GridSearchCV`` and
    ``Pipeline`` of scikit-learn; with a manifest, pass its labels as well, so that folds are stratified:
    ``cross_val_score(model, manifest, manifest.labels)``.

    Attributes after ``fit``: ``classes_`` (C,), sorted, in the order of the columns of ``predict_proba`` and of
    ``classifier_.classes``, which has their names; ``classifier_``, the fitted :class:`headstart.Classifier`;
    ``evaluation_``, the :class:`headstart.Evaluation` on held-out images or by cross-validation; ``history_``, a tuple
    with one ``EpochRecord`` per epoch or L2 penalty.

    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> model = ImageClassifier("test_efficientnet", weights="random", train="head")
    >>> model.fit(digits.images[:100] / 16, digits.target[:100]).predict(digits.images[:5] / 16).shape
    (5,)
    """

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @classmethod
    def by_recipe(cls, recipe: str, **values: Any) -> ImageClassifier:
        """As :meth:`headstart.FitSettings.by_recipe`, but with sorted classes, as scikit-learn expects them."""
        return super().by_recipe(recipe, **{"class_order": "sorted", **values})

    def fit(self, X: Any, y: ArrayLike | None = None, groups: ArrayLike | None = None) -> ImageClassifier:
        """Fit the classifier to labeled images.

        :param X: N images, or a manifest with labels.
        :param y: (N,) labels, all texts or all numbers; None if the manifest has labels.
        :param groups: (N,) what each image belongs to, as a patient: no split or fold divides a group. None: as the
            manifest says.
        :raises SettingsError: parameters are invalid; the message lists all of them.
        :raises DataError: the images or labels cannot be used as they are.
        :raises ModelError: the network or its weights are not available, or it cannot be cut as requested.
        """
        settings = FitSettings.of(**self._values(FitSettings))
        if settings.class_order != "sorted":
            got = f"got {settings.class_order!r}"
            raise SettingsError(f"class_order must be sorted here, as scikit-learn expects of classes_, {got}")
        manifest, labels = self._labeled(X, y)
        if groups is not None:
            manifest = manifest.with_column("group", _checked_groups(groups, len(manifest)))
        self._set_result(fit(manifest, settings, class_order=[str(label) for label in labels]), labels)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Predict probabilities, (N, C), with columns in the order of ``classes_``.

        :raises ImageProblem: an image cannot be read.
        """
        check_is_fitted(self)
        settings = EngineSettings.of(**self._values(EngineSettings))
        return self.classifier_.predict_proba(self._images(X), settings=settings)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most likely class of each image, (N,), with the type of ``y``.

        :raises ImageProblem: an image cannot be read.
        """
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])

    def score(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Compute the accuracy on labeled images.

        :param y: (N,) labels; None if ``X`` is a manifest with labels.
        :raises DataError: an image has no label, or one that is none of the classes.
        """
        check_is_fitted(self)
        if y is None:
            X = self._images(X)
            unknown = sorted(set(X.classes) - set(self.classifier_.classes))
            if unknown:
                raise DataError(
                    f"X has the label {unknown[0]!r}, to which the classifier was not fitted; in cross-validation, "
                    "pass the labels of the manifest as y, so that every fold has all classes"
                )
            y = self.classes_[X.targets(self.classifier_.classes)]
        return float(super().score(X, y, sample_weight))

    def top_k(self, image: AnyImage, k: int = 5) -> list[tuple[str, float]]:
        """The ``k`` most likely classes of one image with their probabilities, most likely first."""
        check_is_fitted(self)
        return self.classifier_.top_k(image, k)

    def save(self, folder: str | Path) -> Path:
        """Write a run folder with a report, as ``headstart fit`` does; :func:`headstart.load` reads it."""
        check_is_fitted(self)
        run = save_run(self._result, Path(folder))
        report(run)
        return run

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a matrix of features is not a list of images
        tags.input_tags.one_d_array = True  # paths
        tags.input_tags.three_d_array = True  # (N, H, W)
        tags.input_tags.string = True
        return tags

    def _images(self, X: Any) -> Manifest:
        """The manifest of what users may pass as ``X``."""
        manifest = images_as_manifest(X)
        if not len(manifest):
            raise DataError("X must have at least one image, got none")
        return manifest

    def _labeled(self, X: Any, y: ArrayLike | None) -> tuple[Manifest, NDArray[Any]]:
        """The images with the names of their classes as labels, and the distinct labels, sorted."""
        manifest = self._images(X)
        if y is None:
            if not manifest.classes:
                raise DataError("requires y to be passed, but the target y is None, and X has no labels")
            return manifest, np.array(manifest.classes)
        labels = _checked_labels(y)
        if len(labels) != len(manifest):
            raise DataError(f"X and y must have the same length, got {len(manifest)} images and {len(labels)} labels")
        return manifest.with_column("label", [str(label) for label in labels]), np.unique(labels)

    def _set_result(self, result: FitResult, labels: NDArray[Any]) -> None:
        self._result = result
        self.classifier_: Classifier = result.classifier
        self.history_: tuple[EpochRecord, ...] = result.history
        self.evaluation_: Evaluation = result.evaluation
        names = set(result.classifier.classes)  # a class without a readable image is left out
        self.classes_: NDArray[Any] = np.array([label for label in labels if str(label) in names], dtype=labels.dtype)

    def _values(self, kind: type[Settings]) -> dict[str, object]:
        return {option.name: getattr(self, option.name) for option in options_of(kind)}


def _checked_groups(groups: ArrayLike, images: int) -> list[str | None]:
    """Groups (N,) as texts; a missing value means that an image belongs to no group.

    :raises DataError: there is not one for each image.
    """
    given = column_or_1d(np.asarray(groups, dtype=object)).tolist()
    if len(given) != images:
        raise DataError(f"X and groups must have the same length, got {images} images and {len(given)} groups")
    return [None if _is_missing(group) else str(group) for group in given]


def _checked_labels(y: ArrayLike) -> NDArray[Any]:
    """Labels (N,), of one type.

    :raises DataError: a label is missing or empty, or the labels are of different types, which NumPy would turn into
        texts: None would become a class called "None".
    """
    labels: NDArray[Any] = column_or_1d(y, warn=True)
    if not (isinstance(y, np.ndarray) and y.dtype.kind in "biuf"):
        labels = _of_one_type(column_or_1d(np.asarray(y, dtype=object)).tolist())
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels


def _of_one_type(values: Sequence[Any]) -> NDArray[Any]:
    kinds: dict[str, object] = {}
    for row, value in enumerate(values):
        if _is_missing(value):
            raise DataError(f"y must have a label for every image, got {value!r} for image {row}: leave that image out")
        is_bool = isinstance(value, bool | np.bool_)
        kind = "bool" if is_bool else "number" if isinstance(value, Number) else type(value).__name__
        kinds.setdefault("str" if isinstance(value, str) else kind, value)
    if len(kinds) > 1:
        found = " and ".join(f"{value!r} ({kind})" for kind, value in kinds.items())
        raise DataError(f"y must have labels of one type, got {found}: pass all as texts, or all as numbers")
    return np.asarray(values)


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN, one of the missing values of pandas, or an empty text."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value) or value == ""  # noqa: PLR0124 - only NaN differs from itself
