"""Keras's published files and TF Hub's modules, from a server of this machine that has what the tests wrote."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from skimage import data

from headstart import places
from headstart.classifier import Classifier
from headstart.errors import ModelError, WeightsNotFound
from headstart.models import fetched as module
from headstart.models.backbone import digest, load_backbone
from headstart.models.catalog import require
from headstart.models.fetched import as_published, fetched, is_handle, kept_at
from headstart.models.published import published
from headstart.models.weights import at_hand
from headstart.progress import Progress
from headstart.workflow.predicting import open_classifier

HANDLE = "https://tfhub.dev/google/tf2-preview/mobilenet_v2/classification/2"
FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224.h5"
SMALL = "keras:MobileNetV2-0.35"


@pytest.fixture
def made(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    return load_module(Path(__file__).parent.parent / "keras" / "made.py")


@pytest.fixture(autouse=True)
def _from_here(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "KERAS", f"{server.url}/keras/")
    monkeypatch.setattr(module, "TFHUB", f"{server.url}/hub/")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def published_file(server: Any, made: ModuleType, tmp_path: Path) -> bytes:
    content = made.write_h5(tmp_path / "published.h5", made.variables(0.35, classes=1000)).read_bytes()
    server.files[f"/keras/{FILE}"] = bytes(content)
    return bytes(content)


class Stages(Progress):
    def __init__(self) -> None:
        self.names: list[str] = []

    def stage(self, name: str, **more: Any) -> Any:
        self.names.append(name)
        return super().stage(name, **more)


def test_keras_s_network_is_fetched_once_and_then_at_hand(server: Any, published_file: bytes, made: ModuleType) -> None:
    told = Stages()
    assert not at_hand(SMALL)
    first = load_backbone(SMALL, progress=told)
    assert told.names == [f"fetching {FILE}"]
    assert (first.name, first.source, first.licence) == (SMALL, f"{server.url}/keras/{FILE}", "apache-2.0")
    assert first.classes is not None
    assert first.classes[0] == "tench, Tinca tinca"
    assert at_hand(SMALL)
    assert as_published(SMALL)
    server.files.clear()
    again = load_backbone(SMALL)
    assert (digest(again.module), again.source) == (digest(first.module), first.source)
    assert len(server.asked) == 1
    expected = made.variables(0.35, classes=1000)["Conv1/kernel"]
    assert np.array_equal(again.module.get_parameter("conv_stem.weight").detach(), expected.transpose(3, 2, 0, 1))


def test_the_names_of_the_files_are_keras_s() -> None:
    spec = importlib.util.find_spec("keras")  # not imported: it wants to be told its backend first
    assert spec is not None
    assert spec.origin is not None
    text = (Path(spec.origin).parent / "src" / "applications" / "mobilenet_v2.py").read_text()
    assert "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/" in text
    assert 'f"_{float(alpha)}_{rows}.h5"' in text
    assert [kept_at(f"keras:MobileNetV2{alpha}").name[47:] for alpha in ("", "-0.5", "-1.4")] == [
        *("_1.0_224.h5", "_0.5_224.h5", "_1.4_224.h5")
    ]


def test_a_file_that_changed_is_not_used(published_file: bytes) -> None:
    path, _ = fetched(SMALL)
    path.write_bytes(published_file[:-1] + b"x")
    now, then = (hashlib.sha256(content).hexdigest() for content in (path.read_bytes(), published_file))
    with pytest.raises(ModelError) as caught:
        load_backbone(SMALL)
    assert str(caught.value) == (
        f"{path}: its content is not what it was when it was first used (SHA-256 {now}, then {then}); "
        f"delete it and {FILE}.sha256 to have it fetched again"
    )


def test_a_file_put_there_by_hand_is_used_and_is_nobody_s_published_one(
    server: Any, made: ModuleType, tmp_path: Path
) -> None:
    name = "keras:MobileNetV2"
    assert published(require(name)).top1 == 71.3
    places.weights().mkdir(parents=True)
    path = made.write_h5(kept_at(name), made.variables(1.0, classes=1000))
    assert published(require(name)).top1 is None
    assert load_backbone(name).source == str(path)
    assert published(require(name)).top1 is None
    assert server.asked == []
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="its content is not what it was when it was first used"):
        load_backbone(name)


def test_without_a_network_the_file_and_its_place_are_named(server: Any) -> None:
    for name, file, given in (
        (SMALL, FILE, "--weights FILE"),
        (HANDLE, "tfhub.dev_google_tf2-preview_mobilenet_v2_classification_2.tar.gz", "--model FILE"),
    ):
        with pytest.raises(WeightsNotFound) as caught:
            load_backbone(name)
        address = server.url + server.asked[-1][0].removeprefix("GET ")
        assert str(caught.value) == (
            f"{name}: its weights are not on this machine, and could not be fetched ({address}: the server answers "
            f"404 Not Found). On a machine with a network, download {address}; then put it at "
            f"{places.weights() / file}, or give its place: {given}"
        )


def test_a_module_of_tf_hub_by_its_handle(server: Any, made: ModuleType, tmp_path: Path) -> None:
    values = {f"module/{name}:0": each for name, each in made.slim(made.variables(0.35, classes=1001)).items()}
    archive = made.write_tar(tmp_path / "module.tar.gz", made.write_saved_model(tmp_path / "module", values))
    address = "/hub/google/tf2-preview/mobilenet_v2/classification/2?tf-hub-format=compressed"
    server.files[address] = archive.read_bytes()
    classifier = open_classifier(HANDLE)
    assert (classifier.model, len(classifier.classes), classifier.classes[0]) == (SMALL, 1001, "background")
    assert classifier.facts["source"] == server.url + address
    assert classifier.predict_proba([data.coffee()]).shape == (1, 1001)
    assert len(server.asked) == 1
    server.files.clear()
    assert Classifier.pretrained(HANDLE).model == SMALL


def test_what_is_a_handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle = "google/mobilenet-v2/tensorFlow2/tf2-preview-classification/4"
    assert is_handle(HANDLE)
    assert is_handle(kaggle)
    for name in (
        "resnet50",
        "runs/dogs",
        "keras:MobileNetV2",
        "https://example.com/a/b",
        "https://tfhub.dev/",
        "../x/y/z",
    ):
        assert not is_handle(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / kaggle).mkdir(parents=True)
    assert not is_handle(kaggle)


def test_kaggle_s_client_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kagglehub", None)
    handle = "google/mobilenet-v2/tensorFlow2/tf2-preview-classification"
    with pytest.raises(WeightsNotFound) as caught:
        open_classifier(handle)
    assert str(caught.value) == (
        f'{handle} comes from Kaggle, whose client is not installed: pip install "headstart[kaggle]"; or download it '
        "at https://www.kaggle.com/models/google/mobilenet-v2 and give its folder or .tar.gz: --model FILE"
    )
