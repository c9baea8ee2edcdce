"""ImageClassifier with the tools of scikit-learn.

The checks of scikit-learn pass matrices of numbers, and skip an estimator that takes anything else. PixelRows makes
them applicable: it draws each row as an image of gray bands. Everything else that the checks test (validation of y,
attributes, cloning, repeatability, order and subsets of rows, pickling) is the code of ImageClassifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

import headstart as hs
from headstart.data.manifest import Manifest
from headstart.errors import DataError, ImageProblem, SettingsError
from headstart.evaluate.schema import EpochRecord

TINY = {"model": "test_efficientnet", "weights": "random"}


@dataclass(eq=False, repr=False, kw_only=True)
class PixelRows(hs.ImageClassifier):
    """Rows of numbers as images: two gray bands per number."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__

    def _images(self, X: Any) -> Manifest:
        X = validate_data(self, X, reset=not hasattr(self, "classifier_"), dtype="numeric")
        X = np.clip(X.astype(np.float64), -1e6, 1e6)
        # The first band distinguishes small numbers; the second, a sine, large ones too.
        shades = np.hstack([1 / (1 + np.exp(-np.clip(X, -30, 30))), (1 + np.sin(X)) / 2])
        bands = np.repeat((255 * shades).round().astype(np.uint8), 8, axis=1)
        return super()._images([np.repeat(row[None], 32, axis=0) for row in bands])

    def fit(self, X: Any, y: Any = None) -> PixelRows:
        self.__dict__.pop("classifier_", None)
        return super().fit(X, y)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        return tags


@parametrize_with_checks([PixelRows(**TINY, l2=1e-4)])
def test_the_checks_of_scikit_learn(estimator: Any, check: Any, store: Path) -> None:
    check(estimator.set_params(cache_dir=str(store)))


def test_cross_val_score_over_paths(tmp_path: Path, store: Path) -> None:
    digits = load_digits(n_class=3)
    paths = []
    for row, image in enumerate(digits.images[:90]):
        paths.append(str(tmp_path / f"{row}.png"))
        Image.fromarray((image * 15).astype(np.uint8)).save(paths[-1])
    model = hs.ImageClassifier(**TINY, cache_dir=str(store))
    scores = cross_val_score(model, np.array(paths), digits.target[:90], cv=3)
    assert scores.mean() > 0.7
    assert len(scores) == 3


def test_labels_keep_their_type_and_order(store: Path) -> None:
    digits = load_digits()
    images, targets = digits.images[:120] / 16, digits.target[:120] + 5  # "10" sorts before "5" as a string
    model = hs.ImageClassifier(**TINY, cache_dir=str(store)).fit(images, targets)
    assert model.classes_.tolist() == list(range(5, 15))
    assert model.predict(images[:5]).dtype == targets.dtype
    probabilities = model.predict_proba(images)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (model.classes_[probabilities.argmax(1)] == targets).mean() > 0.8
    assert model.top_k(images[0], 2)[0][0] == str(model.predict(images[:1])[0])


def test_a_manifest_has_its_own_labels_and_a_run_can_be_saved(tmp_path: Path, store: Path) -> None:
    for row, image in enumerate(load_digits(n_class=2).images[:40]):
        path = tmp_path / "photos" / ("dark" if row % 2 else "light") / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 7 + 100 * (row % 2 == 0)).astype(np.uint8)).save(path)
    model = hs.ImageClassifier("test_efficientnet", weights="random", train="head", cache_dir=str(store))
    run = model.fit(hs.read_images(tmp_path / "photos")).save(tmp_path / "run")
    assert model.classes_.tolist() == ["dark", "light"]
    assert isinstance(model.evaluation_, hs.Evaluation)
    assert model.evaluation_.top1.value == 1
    assert isinstance(model.history_, tuple)
    assert {type(record) for record in model.history_} == {EpochRecord}
    assert model.history_[0].stage == "head"
    assert (run / "report.html").stat().st_size > 10_000
    again = hs.load(run).predict_proba([str(path)])
    assert np.allclose(again, model.predict_proba([str(path)]))


def test_a_clone_has_the_same_parameters() -> None:
    model = hs.ImageClassifier("resnet18", train="last:2", epochs=3)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert repr(copy) == "ImageClassifier(epochs=3, model='resnet18', train='last:2')"


def test_fit_reports_all_invalid_parameters_at_once() -> None:
    model = hs.ImageClassifier("resnet18", train="haed", epochs=0)
    with pytest.raises(SettingsError) as caught:
        model.fit([np.zeros((8, 8))] * 4, [0, 0, 1, 1])
    assert str(caught.value) == (
        "train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'haed'; did you mean head?\n"
        "epochs must be a whole number of at least 1, got 0; the nearest valid value is 1"
    )


@pytest.mark.parametrize(
    ("X", "y", "text"),
    [
        (
            [],
            [],
            "X must be a manifest or a sequence of at least one image (paths or arrays), got an empty sequence",
        ),
        (
            "a.jpg",
            ["a"],
            "X must be a manifest or a sequence of at least one image (paths or arrays), got 'a.jpg'",
        ),
        ([np.zeros((8, 8))] * 3, ["a", "b"], "X and y must have the same length, got 3 images and 2 labels"),
        ([np.zeros((8, 8))] * 3, None, "requires y to be passed, but the target y is None, and X has no labels"),
    ],
)
def test_images_and_labels_that_do_not_match(X: Any, y: Any, text: str) -> None:
    with pytest.raises(DataError) as caught:
        hs.ImageClassifier(**TINY).fit(X, y)
    assert str(caught.value) == text


def test_an_unreadable_image_is_named(tmp_path: Path, store: Path) -> None:
    images = load_digits(n_class=2).images[:20] / 16
    model = hs.ImageClassifier(**TINY, cache_dir=str(store)).fit(images, load_digits(n_class=2).target[:20])
    with pytest.raises(ImageProblem, match=r"gone\.jpg: no such file"):
        model.predict([tmp_path / "gone.jpg"])
