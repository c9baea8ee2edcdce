"""The classifier in scikit-learn's manners: parameters are settings, ``fit`` learns, attributes end in ``_``."""

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

from headstart.classifier import Classifier, images_as_manifest
from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.settings import EngineSettings, FitSettings, knobs
from headstart.workflow.fitting import Fitted, fit
from headstart.workflow.reporting import report
from headstart.workflow.runs import save_run

__all__ = ["ImageClassifier"]


@dataclass(eq=False, repr=False, kw_only=True)
class ImageClassifier(ClassifierMixin, BaseEstimator, FitSettings):  # type: ignore[misc]  # scikit-learn has no types
    """Learns to tell images apart from a few labelled ones, with a pretrained network.

    Its parameters are the settings of ``headstart fit`` (:class:`headstart.FitSettings`). Images are given as a
    manifest of :func:`headstart.read_images`, or as a sequence of paths or of arrays: (H, W), (H, W, 3) or (H, W, 4),
    of uint8, or floats in [0, 1]. It works with scikit-learn's ``cross_val_score``, ``GridSearchCV`` and ``Pipeline``.

    Attributes after ``fit``: ``classes_`` (in the order of the probabilities' columns), ``classifier_`` (the artifact),
    ``history_`` (a line an epoch), ``evaluation_`` (the figures of ``evaluation.json``).

    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits()
    >>> model = ImageClassifier("test_efficientnet", weights="random", train="head")
    >>> model.fit(digits.images[:100] / 16, digits.target[:100]).predict(digits.images[:3] / 16).shape
    (3,)
    """

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def fit(self, X: Any, y: ArrayLike | None = None) -> ImageClassifier:
        """Learn from images.

        :param X: N images, or a manifest with labels.
        :param y: (N,) labels of any type; None where the manifest has them.
        :raises SettingsError: parameters are wrong; the text names all of them.
        :raises DataError: the images or labels cannot be used as they are.
        """
        settings = FitSettings.of(**self._settings(FitSettings))
        manifest, labels = self._labelled(X, y)
        fitted = fit(manifest, settings)
        self._take(fitted, labels)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities, (N, C), columns in the order of ``classes_``.

        :raises ImageProblem: an image cannot be read.
        """
        check_is_fitted(self)
        settings = EngineSettings.of(**self._settings(EngineSettings))
        return self.classifier_.predict_proba(self._images(X), settings=settings)[:, self._columns]

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each image, (N,), as it stood in ``y``."""
        shares = self.predict_proba(X)
        return np.asarray(self.classes_[shares.argmax(1)])

    def top_k(self, image: str | Path | NDArray[Any], k: int = 5) -> list[tuple[str, float]]:
        """The ``k`` likeliest classes of one image with their probabilities, likeliest first."""
        check_is_fitted(self)
        return self.classifier_.top_k(image, k)

    def save(self, folder: str | Path) -> Path:
        """Write a run folder as ``headstart fit`` does, with its report; :func:`headstart.load` reads it."""
        check_is_fitted(self)
        run = save_run(self._fitted, Path(folder))
        report(run)
        return run

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a matrix of measurements is no list of pictures
        tags.input_tags.one_d_array = True  # paths
        tags.input_tags.three_d_array = True  # (N, H, W)
        tags.input_tags.string = True
        return tags

    def _images(self, X: Any) -> Manifest:
        """The one place that knows what ``X`` may be."""
        if isinstance(X, str | Path) or not len(X):
            raise DataError("X must be a sequence of at least one image: paths or arrays")
        return images_as_manifest(X if isinstance(X, Manifest) else list(X))

    def _labelled(self, X: Any, y: ArrayLike | None) -> tuple[Manifest, NDArray[Any]]:
        manifest = self._images(X)
        if y is None:
            if not manifest.classes:
                raise DataError("requires y to be passed, but the target y is None, and X has no labels of its own")
            return manifest, np.array(manifest.classes)
        labels = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        if len(labels) != len(manifest):
            raise DataError(f"X has {len(manifest)} images, y has {len(labels)} labels: there must be as many")
        return manifest.with_column("label", [str(label) for label in labels]), np.unique(labels)

    def _take(self, fitted: Fitted, labels: NDArray[Any]) -> None:
        self._fitted = fitted
        self.classifier_: Classifier = fitted.classifier
        self.history_: list[dict[str, Any]] = fitted.history
        self.evaluation_: dict[str, Any] = fitted.evaluation
        column = {name: index for index, name in enumerate(fitted.classifier.classes)}
        # Numbers sort otherwise than their names. A class whose images are all broken is left out.
        self.classes_: NDArray[Any] = np.array([label for label in labels if str(label) in column], dtype=labels.dtype)
        self._columns: Sequence[int] = [column[str(label)] for label in self.classes_]

    def _settings(self, kind: type[Any]) -> dict[str, Any]:
        return {knob.name: getattr(self, knob.name) for knob in knobs(kind)}
