"""Downloads of Keras files and TF Hub modules, from a local server with files that the tests wrote."""

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

from headstart import paths
from headstart.artifacts.classifier import Classifier
from headstart.errors import ModelError, WeightsNotFound
from headstart.events import Event, Events, StageBegun
from headstart.models import downloads
from headstart.models.backbone import digest, load_backbone
from headstart.models.catalog import model_info
from headstart.models.downloads import fetch_published, is_hub_handle, is_published_file, local_path
from headstart.models.published import published_results
from headstart.models.weights import is_available
from headstart.workflow.predict import open_classifier

HANDLE = "https://tfhub.dev/google/tf2-preview/mobilenet_v2/classification/2"
FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224.h5"
SMALL = "keras:MobileNetV2-0.35"


@pytest.fixture
def writer(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    return load_module(Path(__file__).parent / "importers" / "keras" / "writer.py")


@pytest.fixture(autouse=True)
def _local_server(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(downloads, "KERAS_URL", f"{server.url}/keras/")
    monkeypatch.setattr(downloads, "TFHUB_URL", f"{server.url}/hub/")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def published_file(server: Any, writer: ModuleType, tmp_path: Path) -> bytes:
    content = writer.write_h5(tmp_path / "published.h5", writer.variables(0.35, classes=1000)).read_bytes()
    server.files[f"/keras/{FILE}"] = bytes(content)
    return bytes(content)


class StageNames(Events):
    def __init__(self) -> None:
        super().__init__(self.hear)
        self.names: list[str] = []

    def hear(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            self.names.append(event.name)


def test_keras_file_is_downloaded_once(server: Any, published_file: bytes, writer: ModuleType) -> None:
    events = StageNames()
    assert not is_available(SMALL)
    first = load_backbone(SMALL, events=events)
    assert events.names == [f"downloading {FILE}"]
    assert (first.name, first.source, first.licence) == (SMALL, f"{server.url}/keras/{FILE}", "apache-2.0")
    assert first.classes is not None
    assert first.classes[0] == "tench, Tinca tinca"
    assert is_available(SMALL)
    assert is_published_file(SMALL)
    server.files.clear()
    again = load_backbone(SMALL)
    assert (digest(again.module), again.source) == (digest(first.module), first.source)
    assert len(server.requests) == 1
    expected = writer.variables(0.35, classes=1000)["Conv1/kernel"]
    assert np.array_equal(again.module.get_parameter("conv_stem.weight").detach(), expected.transpose(3, 2, 0, 1))


def test_file_names_are_those_of_keras() -> None:
    spec = importlib.util.find_spec("keras")  # not imported: it would choose a backend
    assert spec is not None
    assert spec.origin is not None
    text = (Path(spec.origin).parent / "src" / "applications" / "mobilenet_v2.py").read_text()
    assert "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/" in text
    assert 'f"_{float(alpha)}_{rows}.h5"' in text
    assert [local_path(f"keras:MobileNetV2{alpha}").name[47:] for alpha in ("", "-0.5", "-1.4")] == [
        *("_1.0_224.h5", "_0.5_224.h5", "_1.4_224.h5")
    ]


def test_changed_file_is_rejected(published_file: bytes) -> None:
    path, _ = fetch_published(SMALL)
    path.write_bytes(published_file[:-1] + b"x")
    now, then = (hashlib.sha256(content).hexdigest() for content in (path.read_bytes(), published_file))
    with pytest.raises(ModelError) as caught:
        load_backbone(SMALL)
    assert str(caught.value) == (
        f"{path}: its content has changed since its first use (SHA-256 {now}, was {then}); "
        f"delete it and {FILE}.sha256 to download it again"
    )


def test_file_placed_by_hand_is_used_but_not_taken_as_published(
    server: Any, writer: ModuleType, tmp_path: Path
) -> None:
    name = "keras:MobileNetV2"
    assert published_results(model_info(name)).top1 == 71.3
    paths.weights().mkdir(parents=True)
    path = writer.write_h5(local_path(name), writer.variables(1.0, classes=1000))
    assert published_results(model_info(name)).top1 is None
    assert load_backbone(name).source == str(path)
    assert published_results(model_info(name)).top1 is None
    assert server.requests == []
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="its content has changed since its first use"):
        load_backbone(name)


def test_download_error_names_the_file_and_its_path(server: Any) -> None:
    for name, file, option in (
        (SMALL, FILE, "--weights FILE"),
        (HANDLE, "tfhub.dev_google_tf2-preview_mobilenet_v2_classification_2.tar.gz", "--model FILE"),
    ):
        with pytest.raises(WeightsNotFound) as caught:
            load_backbone(name)
        address = server.url + server.requests[-1][0].removeprefix("GET ")
        assert str(caught.value) == (
            f"{name}: its weights are not on this machine and cannot be downloaded ({address}: the server answers "
            f"404 Not Found). On a machine with network access, download {address}; then save it as "
            f"{paths.weights() / file}, or pass {option}"
        )


def test_tf_hub_module_by_handle(server: Any, writer: ModuleType, tmp_path: Path) -> None:
    values = {f"module/{name}:0": each for name, each in writer.slim(writer.variables(0.35, classes=1001)).items()}
    archive = writer.write_tar(tmp_path / "module.tar.gz", writer.write_saved_model(tmp_path / "module", values))
    address = "/hub/google/tf2-preview/mobilenet_v2/classification/2?tf-hub-format=compressed"
    server.files[address] = archive.read_bytes()
    classifier = open_classifier(HANDLE)
    assert (classifier.model, len(classifier.classes), classifier.classes[0]) == (SMALL, 1001, "background")
    assert classifier.metadata.source == server.url + address
    assert classifier.predict_proba([data.coffee()]).shape == (1, 1001)
    assert len(server.requests) == 1
    server.files.clear()
    assert Classifier.pretrained(HANDLE).model == SMALL


def test_is_hub_handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle = "google/mobilenet-v2/tensorFlow2/tf2-preview-classification/4"
    assert is_hub_handle(HANDLE)
    assert is_hub_handle(kaggle)
    for name in (
        "resnet50",
        "runs/dogs",
        "keras:MobileNetV2",
        "https://example.com/a/b",
        "https://tfhub.dev/",
        "../x/y/z",
    ):
        assert not is_hub_handle(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / kaggle).mkdir(parents=True)
    assert not is_hub_handle(kaggle)


def test_missing_kaggle_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kagglehub", None)
    handle = "google/mobilenet-v2/tensorFlow2/tf2-preview-classification"
    with pytest.raises(WeightsNotFound) as caught:
        open_classifier(handle)
    assert str(caught.value) == (
        f'{handle} is published on Kaggle, whose client is not installed: pip install "headstart[kaggle]"; or download '
        "it from https://www.kaggle.com/models/google/mobilenet-v2 and pass its folder or .tar.gz with --model FILE"
    )
