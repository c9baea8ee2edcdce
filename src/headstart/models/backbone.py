"""A pretrained network with all that belongs to it: its input, its class names, where its weights are from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError
from headstart.models import catalog, weights
from headstart.models.fetched import fetched, is_handle
from headstart.models.foreign import is_foreign_file, load_foreign
from headstart.models.keras import ARCHITECTURES, OtherNetwork, build_keras, is_keras_file, load_keras
from headstart.progress import Progress

__all__ = ["Backbone", "build", "digest", "is_network_file", "load_backbone"]


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode, and its facts."""

    name: str
    module: nn.Module
    spec: InputSpec
    classes: tuple[str, ...] | None  # of the pretrained head; None where the head is new or its classes are unknown
    source: str  # where the weights came from, in words
    licence: str


def build(name: str, *, classes: int) -> nn.Module:
    """A network by its timm name, with random weights and a head for ``classes``, in evaluation mode.

    :raises ModelError: no such model; the text has the nearest names.

    >>> build("test_resnet", classes=3).get_classifier()
    Linear(in_features=96, out_features=3, bias=True)
    """
    if name in ARCHITECTURES:
        return build_keras(name, classes=classes)
    catalog.require(name)
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes)
    return network.eval()


def load_backbone(
    name: str, *, weights_file: str | None = None, seed: int = 0, progress: Progress | None = None
) -> Backbone:
    """Build a network and load its pretrained weights.

    :param name: timm's name, with or without a tag, for example "tf_efficientnet_lite0" or "resnet50.a1_in1k"; one of
        Keras's, "keras:MobileNetV2"; a handle of TF Hub; or the path of a whole network: ONNX, SavedModel, Keras.
    :param weights_file: a ``.safetensors`` or ``.pth`` file; "random" for none; else what the model's name stands for.
    :raises ModelError: no such model, or the file does not fit it.
    :raises WeightsNotFound: the weights are not at hand and cannot be fetched; the text says which file to put where.
    """
    if is_handle(name) or (name in ARCHITECTURES and weights_file is None):
        path, origin = fetched(name, progress=progress)
        return replace(_from_keras(name if name in ARCHITECTURES else str(path), str(path), seed), source=origin)
    file = name if is_network_file(name) else weights_file
    if file is not None and is_network_file(file):
        return _from_file(name, file, seed)
    info = catalog.require(name)
    found = weights.find(name, weights_file)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for what stays random
        classes = _classes_in(found.state, info) or info.classes
        network = build(name, classes=classes)
    if found.state is not None:
        _load(network, found.state, origin=found.origin)
    network.eval()
    names = weights.class_names(network) if found.state is not None else None
    return Backbone(name, network, info.spec, names, found.origin, info.licence)


def digest(module: nn.Module) -> str:
    """32 hexadecimal digits of all parameters and buffers, names and values."""
    total = hashlib.blake2b(digest_size=16)
    for name, value in module.state_dict().items():
        total.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        total.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def is_network_file(name: str) -> bool:
    """Whether ``name`` is the path of a whole network, rather than the name of one, or a run folder of any name."""
    place = Path(name)
    if place.is_dir():
        return (place / "saved_model.pb").is_file() or (place / "variables").is_dir()
    return is_keras_file(name) or is_foreign_file(name)


def _from_file(name: str, file: str, seed: int) -> Backbone:
    """A MobileNetV2 is converted, and can be trained as far as one likes; of any other network the head can."""
    no_mobilenet = ""
    if is_keras_file(file):
        try:
            return _from_keras(name, file, seed)
        except OtherNetwork as finding:
            if name != file:
                raise
            no_mobilenet = str(finding).removeprefix(f"{file}: ")
    if name != file:
        raise ModelError(f"{file}: holds a whole network, not weights for {name}; use --model {file}")
    try:
        read = load_foreign(file)
    except ModelError as failure:
        if not no_mobilenet:
            raise
        raise ModelError(f"{failure}. Nor is it MobileNetV2, which needs nothing else: {no_mobilenet}") from failure
    return Backbone(read.name, read.network, read.spec, read.classes, read.origin, "not stated")


def _from_keras(name: str, file: str, seed: int) -> Backbone:
    read = load_keras(file)
    if name not in (file, read.name):
        raise ModelError(f"{file}: holds {read.name}, not {name}; use --model {read.name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_keras(read.name, classes=read.classes)
    network.load_state_dict(read.state)
    # ImageNet's own classes: the published weights. Any other file is somebody's, who has not said what others may do.
    licence = catalog.require(read.name).licence if read.class_names else "not stated"
    return Backbone(read.name, network, read.spec, read.class_names, read.origin, licence)


def _classes_in(state: Mapping[str, Tensor] | None, info: catalog.ModelInfo) -> int | None:
    """How many classes a file's own head has, which need not be as many as the published one."""
    weight = (state or {}).get(f"{info.head}.weight")
    return None if weight is None else weight.shape[0]


def _load(network: nn.Module, state: Mapping[str, Tensor], *, origin: str) -> None:
    expected = network.state_dict()
    wrong = [
        f"{name} is {_shape(state.get(name))}, the model has {tuple(value.shape)}"
        for name, value in expected.items()
        if name not in state or state[name].shape != value.shape
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(f"{origin}: the weights do not fit the model: {'; '.join(wrong[:3])}{more}")
    network.load_state_dict({name: state[name] for name in expected})


def _shape(value: Tensor | None) -> str:
    return "missing" if value is None else str(tuple(value.shape))
