"""A classifier that is compatible with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_is_fitted, column_or_1d

from headstart.artifacts.classifier import Classifier, images_as_manifest
from headstart.config import EngineSettings, FitSettings, Settings, options_of
from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.evaluate.schema import EpochRecord, Evaluation
from headstart.workflow.fit import FitResult, fit
from headstart.workflow.report import report
from headstart.workflow.runs import save_run

__all__ = ["ImageClassifier"]


@dataclass(eq=False, repr=False, kw_only=True)
class ImageClassifier(ClassifierMixin, BaseEstimator, FitSettings):  # type: ignore[misc]  # scikit-learn has no types
    """Image classifier that is fitted to a few labeled images by transfer learning.

    Parameters are the settings of ``headstart fit`` (:class:`headstart.FitSettings`). Images are a manifest from
    :func:`headstart.read_images`, or a sequence of paths or arrays: (H, W), (H, W, 3) or (H, W, 4), of uint8, or floats
    in [0, 1]. Works with ``cross_val_score``, ``GridSearchCV`` and ``Pipeline`` of scikit-learn.

    Attributes after ``fit``: ``classes_`` (C,), in the order of the columns of ``predict_proba``; ``classifier_``, the
    fitted :class:`headstart.Classifier`; ``evaluation_``, the :class:`headstart.Evaluation` on held-out images or by
    cross-validation; ``history_``, a tuple with one ``EpochRecord`` per epoch or L2 penalty.

    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> model = ImageClassifier("test_efficientnet", weights="random", train="head")
    >>> model.fit(digits.images[:100] / 16, digits.target[:100]).predict(digits.images[:3] / 16).shape
    (3,)
    """

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def fit(self, X: Any, y: ArrayLike | None = None) -> ImageClassifier:
        """Fit the classifier to labeled images.

        :param X: N images, or a manifest with labels.
        :param y: (N,) labels of any type; None if the manifest has labels.
        :raises SettingsError: parameters are invalid; the message lists all of them.
        :raises DataError: the images or labels cannot be used as they are.
        :raises ModelError: the network or its weights are not available, or it cannot be cut as requested.
        """
        settings = FitSettings.of(**self._values(FitSettings))
        manifest, labels = self._labeled(X, y)
        self._set_result(fit(manifest, settings), labels)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Predict probabilities, (N, C), with columns in the order of ``classes_``.

        :raises ImageProblem: an image cannot be read.
        """
        check_is_fitted(self)
        settings = EngineSettings.of(**self._values(EngineSettings))
        return self.classifier_.predict_proba(self._images(X), settings=settings)[:, self._columns]

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most likely class of each image, (N,), with the type of ``y``.

        :raises ImageProblem: an image cannot be read.
        """
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(1)])

    def top_k(self, image: str | Path | NDArray[Any], k: int = 5) -> list[tuple[str, float]]:
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
        if isinstance(X, str | Path) or not len(X):
            raise DataError(
                f"X must be a manifest or a sequence of at least one image (paths or arrays), got {_described(X)}"
            )
        return images_as_manifest(X if isinstance(X, Manifest) else list(X))

    def _labeled(self, X: Any, y: ArrayLike | None) -> tuple[Manifest, NDArray[Any]]:
        manifest = self._images(X)
        if y is None:
            if not manifest.classes:
                raise DataError("requires y to be passed, but the target y is None, and X has no labels")
            return manifest, np.array(manifest.classes)
        labels = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        if len(labels) != len(manifest):
            raise DataError(f"X and y must have the same length, got {len(manifest)} images and {len(labels)} labels")
        return manifest.with_column("label", [str(label) for label in labels]), np.unique(labels)

    def _set_result(self, result: FitResult, labels: NDArray[Any]) -> None:
        self._result = result
        self.classifier_: Classifier = result.classifier
        self.history_: tuple[EpochRecord, ...] = result.history
        self.evaluation_: Evaluation = result.evaluation
        column = {name: index for index, name in enumerate(result.classifier.classes)}
        # Numbers sort differently from their names. A class without a readable image is left out.
        self.classes_: NDArray[Any] = np.array([label for label in labels if str(label) in column], dtype=labels.dtype)
        self._columns: Sequence[int] = [column[str(label)] for label in self.classes_]

    def _values(self, kind: type[Settings]) -> dict[str, object]:
        return {option.name: getattr(self, option.name) for option in options_of(kind)}


def _described(X: Any) -> str:
    return repr(str(X)) if isinstance(X, str | Path) else "an empty sequence"
