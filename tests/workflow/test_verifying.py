from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from headstart.classifier import Classifier
from headstart.data.manifest import Manifest
from headstart.errors import DataError
from headstart.settings import EngineSettings, ReadSettings
from headstart.workflow.checking import read
from headstart.workflow.predicting import open_classifier
from headstart.workflow.verifying import verify_input

TORCH = EngineSettings(engine="torch", precision="float32")


@pytest.fixture(scope="module", autouse=True)
def _small_work() -> None:
    """This folder's networks are small and run in one thread, but for those here."""


def crops() -> Iterator[NDArray[np.uint8]]:
    """Pictures on which colour matters."""
    for photo in (data.coffee(), data.chelsea(), data.rocket(), data.astronaut()):
        for top in (0, 30, 60):
            for left in (0, 40):
                yield photo[top : top + 220, left : left + 220]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.pretrained("tf_efficientnet_lite0")


@pytest.fixture(scope="module")
def labelled(classifier: Classifier) -> Manifest:
    """The labels are what the network says when it is shown the pictures as it was trained."""
    arrays = list(crops())
    names = classifier.predict(arrays, settings=TORCH)
    uris = [f"array:{number}" for number in range(len(arrays))]
    return Manifest.from_rows(uris, labels=[str(name) for name in names], arrays=arrays)


def test_the_right_reading_fits(classifier: Classifier, labelled: Manifest) -> None:
    found = verify_input(classifier, labelled, TORCH)
    assert found.own_fits
    assert found.readings[0].top1["value"] == 1
    assert found.lines()[-1].startswith("its own reading fits")


def test_a_wrong_reading_is_found_out(classifier: Classifier, labelled: Manifest) -> None:
    wrong = replace(classifier, spec=classifier.spec.changed(channels="BGR", range="0:255"))
    found = verify_input(wrong, labelled, TORCH)
    assert not found.own_fits
    assert found.readings[0].top1["value"] < 0.5
    assert found.best.changes["channels"] == "RGB"
    assert found.best.changes["range"] == "-1:1"
    assert "use --channels RGB --range -1:1" in found.lines()[-1]


def test_each_reading_is_tried_once(classifier: Classifier, labelled: Manifest) -> None:
    found = verify_input(classifier, labelled, TORCH, sample=20)
    specs = [classifier.spec.changed(**reading.changes) for reading in found.readings]
    assert len(set(specs)) == len(specs)
    assert found.images == 20


def test_labels_are_needed(classifier: Classifier) -> None:
    with pytest.raises(DataError, match="no image has a label"):
        verify_input(classifier, Manifest.from_rows(["array:0"], arrays=list(crops())[:1]))


@pytest.mark.shared
@pytest.mark.slow
def test_the_tutorial_s_mistake_on_its_own_weights(shared: Path) -> None:
    weights = shared.parent / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
    manifest = read(shared / "imagenet-val", ReadSettings())
    own = open_classifier(str(weights))
    wrong = replace(own, spec=own.spec.changed(channels="BGR", range="0:1"))
    found = verify_input(wrong, manifest, sample=100)
    assert not found.own_fits
    assert found.best.changes["channels"] == "RGB"
    assert found.best.changes["range"] == "-1:1"
    assert verify_input(own, manifest, sample=100).own_fits
