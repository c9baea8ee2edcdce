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
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

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


def test_classes_are_in_the_order_of_the_saved_run(tmp_path: Path, store: Path) -> None:
    digits = load_digits()
    images, targets = digits.images[:120] / 16, digits.target[:120] + 5
    model = hs.ImageClassifier(**TINY, l2=1e-3, cache_dir=str(store)).fit(images, targets)
    run = hs.load(model.save(tmp_path / "run"))
    assert run.classes == tuple(map(str, model.classes_)) == tuple(map(str, range(5, 15)))
    assert np.array_equal(run.predict_proba(images[:9]), model.predict_proba(images[:9]))
    assert run.predict(images[:9]).tolist() == [str(label) for label in model.predict(images[:9])]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["ten", "nine"])[np.arange(40) % 2],
        [np.str_(name) for name in np.array(["ten", "nine"])[np.arange(40) % 2]],
        np.array(["ten", "nine"], object)[np.arange(40) % 2],
        np.arange(40) % 2 == 0,
        (np.arange(40) % 2 * 100 - 1).tolist(),
        np.arange(40, dtype=np.uint8) % 2 + 9,
        np.arange(40) % 2 / 1.0,
        (np.arange(40) % 2)[:, None],
    ],
)
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_labels_of_any_type_come_back(labels: Any, store: Path) -> None:
    images = list(load_digits(n_class=2).images[:40] / 16)
    model = hs.ImageClassifier(**TINY, l2=1e-3, cache_dir=str(store)).fit(images, labels)
    assert np.array_equal(model.classes_, np.unique(labels))
    assert set(model.predict(images).tolist()) <= set(np.ravel(labels).tolist())
    assert model.classifier_.classes == tuple(str(label) for label in np.unique(labels))


def test_one_image_and_batches_are_taken_as_by_the_classifier(store: Path) -> None:
    digits = load_digits(n_class=2)
    images = np.repeat((digits.images[:40, ..., None] * 15).astype(np.uint8), 3, axis=-1)
    model = hs.ImageClassifier(**TINY, l2=1e-3, cache_dir=str(store)).fit(images, digits.target[:40])
    one = images[7]
    for given in (one, Image.fromarray(one), torch.from_numpy(one).permute(2, 0, 1), [one]):
        assert model.predict(given).shape == (1,)
        assert np.array_equal(model.predict_proba(given), model.classifier_.predict_proba(given))
    assert (
        model.predict(torch.from_numpy(images[:5]).permute(0, 3, 1, 2)).tolist() == model.predict(images[:5]).tolist()
    )
    with pytest.raises(DataError, match="can be 3 gray images"):
        model.predict(one.transpose(2, 0, 1))
    with pytest.raises(TypeError, match="got NoneType"):
        model.predict([None])


def test_the_classes_cannot_be_in_the_order_of_appearance() -> None:
    with pytest.raises(SettingsError) as refusal:
        hs.ImageClassifier(**TINY, class_order="appearance").fit([np.zeros((8, 8))] * 4, [1, 0, 1, 0])
    assert (
        str(refusal.value) == "class_order must be sorted here, as scikit-learn expects of classes_, got 'appearance'"
    )


def test_cross_validation_of_a_manifest(tmp_path: Path, store: Path) -> None:
    for row, image in enumerate(load_digits(n_class=2).images[:24]):
        path = tmp_path / "photos" / ("dark" if row % 2 else "light") / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 7 + 100 * (row % 2 == 0)).astype(np.uint8)).save(path)
    images = hs.read_images(tmp_path / "photos")
    model = hs.ImageClassifier(**TINY, l2=1e-3, cache_dir=str(store))
    pipeline = Pipeline([("nothing", FunctionTransformer()), ("classifier", model)])
    for estimator in (model, pipeline):
        scores = cross_val_score(estimator, images, images.labels, cv=2, error_score="raise")
        assert scores.tolist() == [1, 1]
    shuffled = KFold(2, shuffle=True, random_state=0)
    assert cross_val_score(model, images, cv=shuffled, error_score="raise").tolist() == [1, 1]
    fitted = clone(model).fit(images)
    check_is_fitted(fitted)
    assert fitted.score(images) == 1
    with pytest.raises(DataError, match=r"^X has the label 'gray', to which the classifier was not fitted; in cross-v"):
        fitted.score(images.with_column("label", ["gray"] * 24))
    with pytest.raises(NotFittedError):
        clone(model).score(images)


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
        ([], [], "X must have at least one image, got none"),
        ([np.zeros((8, 8))] * 3, ["a", "b"], "X and y must have the same length, got 3 images and 2 labels"),
        ([np.zeros((8, 8))] * 3, None, "requires y to be passed, but the target y is None, and X has no labels"),
        (np.zeros((8, 8, 3)), list("abababab"), "X and y must have the same length, got 1 images and 8 labels"),
        (
            [np.zeros((8, 8))] * 3,
            ["a", None, "b"],
            "y must have a label for every image, got None for image 1: leave that image out",
        ),
        (
            [np.zeros((8, 8))] * 3,
            np.array(["a", "b", np.nan], object),
            "y must have a label for every image, got nan for image 2: leave that image out",
        ),
        (
            [np.zeros((8, 8))] * 3,
            ["", "a", "b"],
            "y must have a label for every image, got '' for image 0: leave that image out",
        ),
        (
            [np.zeros((8, 8))] * 3,
            ["a", 1, 2.5],
            "y must have labels of one type, got 'a' (str) and 1 (number): pass all as texts, or all as numbers",
        ),
        (
            [np.zeros((8, 8))] * 3,
            [True, 1, 0],
            "y must have labels of one type, got True (bool) and 1 (number): pass all as texts, or all as numbers",
        ),
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


def test_groups_are_not_divided() -> None:
    digits = load_digits()
    images, groups = list(digits.images[:120] / 16), np.arange(120) // 6
    model = hs.ImageClassifier(**TINY, train="head", validation_share=0.2).fit(images, digits.target[:120], groups)
    manifest = model._result.manifest
    splits = set(zip(manifest.groups, manifest.splits, strict=True))
    assert {group for group, _ in splits} == {str(group) for group in range(20)}
    assert len(splits) == 20
    assert {split for _, split in splits} == {"train", "validation"}
    with pytest.raises(DataError, match="X and groups must have the same length, got 120 images and 3 groups"):
        model.fit(images, digits.target[:120], groups=[1, 2, 3])
