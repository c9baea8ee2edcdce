from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings, ReadSettings
from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.workflow.predict import open_classifier
from headstart.workflow.reading import read
from headstart.workflow.verify_input import verify_input

TORCH = EngineSettings(engine="torch", precision="float32")


@pytest.fixture(scope="module", autouse=True)
def _small_work() -> None:
    """Override the limit to one thread of this folder: the networks here are larger."""


def crops() -> Iterator[NDArray[np.uint8]]:
    """Images on which color matters."""
    for photo in (data.coffee(), data.chelsea(), data.rocket(), data.astronaut()):
        for top in (0, 60):
            for left in (0, 40):
                yield photo[top : top + 220, left : left + 220]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.pretrained("tf_efficientnet_lite0")


@pytest.fixture(scope="module")
def labeled(classifier: Classifier) -> Manifest:
    """Labels that the network predicts with the right preprocessing."""
    arrays = list(crops())
    names = classifier.predict(arrays, settings=TORCH)
    uris = [f"array:{number}" for number in range(len(arrays))]
    return Manifest.from_rows(uris, labels=[str(name) for name in names], arrays=arrays)


def test_the_right_preprocessing_fits(classifier: Classifier, labeled: Manifest) -> None:
    found = verify_input(classifier, labeled, TORCH)
    assert found.own_fits
    assert found.candidates[0].top1.value == 1
    assert found.lines()[-1].startswith("the preprocessing of the network fits")


def test_a_wrong_preprocessing_is_detected(classifier: Classifier, labeled: Manifest) -> None:
    wrong = replace(classifier, spec=classifier.spec.changed(channels="BGR", range="0:255"))
    found = verify_input(wrong, labeled, TORCH)
    assert not found.own_fits
    assert found.candidates[0].top1.value < 0.5
    assert found.best.changes["channels"] == "RGB"
    assert found.best.changes["range"] == "-1:1"
    assert "use --channels RGB --range -1:1" in found.lines()[-1]


def test_each_preprocessing_is_tried_once(classifier: Classifier, labeled: Manifest) -> None:
    found = verify_input(classifier, labeled, TORCH, sample=12)
    specs = [classifier.spec.changed(**each.changes) for each in found.candidates]
    assert len(set(specs)) == len(specs)
    assert found.images == 12


def test_labels_are_required(classifier: Classifier) -> None:
    with pytest.raises(DataError, match="no image has a label"):
        verify_input(classifier, Manifest.from_rows(["array:0"], arrays=list(crops())[:1]))


@pytest.mark.shared
@pytest.mark.slow
def test_the_mistake_of_the_tutorial_on_its_own_weights(shared: Path) -> None:
    weights = shared.parent / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    manifest = read(shared / "imagenet-val", ReadSettings())
    own = open_classifier(str(weights))
    wrong = replace(own, spec=own.spec.changed(channels="BGR", range="0:1"))
    found = verify_input(wrong, manifest, sample=40)
    assert not found.own_fits
    assert found.best.changes["channels"] == "RGB"
    assert found.best.changes["range"] == "-1:1"
    assert verify_input(own, manifest, sample=40).own_fits
