"""Networks of Keras and TF Hub as timm's: MobileNetV2, from its files to a state dict that timm's own model takes.

timm has the same architecture as ``mobilenetv2_*``. Two things are set otherwise: the padding (TensorFlow's SAME puts
the odd row at the end) and BatchNorm (epsilon 1e-3; Keras's momentum of 0.999 is 0.001 in torch's way to count). After
that the network is cut and fine-tuned as any other of timm's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import timm
import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError, WeightsNotFound
from headstart.models.imagenet import BACKGROUND, imagenet_names
from headstart.models.keras import config, mobilenet_v2
from headstart.models.keras.hdf5 import Stored, read_hdf5, read_keras
from headstart.models.keras.other import OtherNetwork
from headstart.models.keras.saved_model import read_saved_model

__all__ = ["ARCHITECTURES", "BUILD_OPTIONS", "SPEC", "KerasWeights", "build_keras", "is_keras_file", "load_keras"]

ARCHITECTURES: Mapping[str, str] = {
    "keras:MobileNetV2": "mobilenetv2_100",
    "keras:MobileNetV2-0.35": "mobilenetv2_035",
    "keras:MobileNetV2-0.5": "mobilenetv2_050",
    "keras:MobileNetV2-0.75": "mobilenetv2_075",
    "keras:MobileNetV2-1.4": "mobilenetv2_140",
}
"""timm's name of each network that can be converted; the number is Keras's ``alpha``, the width of the layers."""

BUILD_OPTIONS: Mapping[str, Any] = {"pad_type": "same", "bn_eps": 1e-3, "bn_momentum": 1e-3}
"""What ``timm.create_model`` is given besides the name."""

SPEC = InputSpec(224, 224, crop=0.875, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""RGB in [-1, 1], as ``keras.applications.mobilenet_v2.preprocess_input`` makes it.

Modules of TF Hub are called with [0, 1] and bring it to [-1, 1] themselves, so that their network sees the same.
"""

_NAMES = dict(zip((1.0, 0.35, 0.5, 0.75, 1.4), ARCHITECTURES, strict=True))
_IMAGENET_HEADS = ("predictions", "Logits")  # what Keras (Logits: its first versions) and TF Hub call ImageNet's


@dataclass(frozen=True)
class KerasWeights:
    """A network out of a file of Keras or TensorFlow: all that is needed to build it in torch."""

    name: str  # one of ARCHITECTURES, by which it can be built again without the file
    architecture: str  # timm's name
    build_options: Mapping[str, Any]  # for timm.create_model
    state: Mapping[str, Tensor]  # by timm's names
    classes: int  # of the file's own head; 0 where it has none (include_top=False)
    spec: InputSpec
    class_names: tuple[str, ...] | None
    origin: str


def is_keras_file(name: str) -> bool:
    """Whether ``name`` is the path of what :func:`load_keras` reads: by its ending, or a folder with variables.

    >>> is_keras_file("some/where/model.keras"), is_keras_file("resnet50")
    (True, False)
    """
    return name.endswith((".h5", ".hdf5", ".keras", ".tar.gz", ".tgz", ".tar")) or Path(name, "variables").is_dir()


def load_keras(path: str | Path) -> KerasWeights:
    """Read MobileNetV2 from a file, without running anything in it.

    :param path: ``.h5`` (variables, or a whole model), ``.keras``, or a SavedModel: its folder or ``.tar.gz``.
    :raises OtherNetwork: it is another network, or a SavedModel that is not read; the text says what does not fit.
    :raises ModelError: damaged or unsafe.
    :raises WeightsNotFound: no such file.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsNotFound(f"{path}: no such file; a .h5 or .keras file or a SavedModel is looked for")
    try:
        return _convert(_read(path), str(path))
    except OSError as failure:
        raise ModelError(f"{path}: cannot be read ({failure.strerror or failure})") from failure
    except ModelError as failure:
        # A SavedModel may be of any network, and what is read of it here are MobileNetV2's variables alone.
        kind = OtherNetwork if _is_saved_model(path) else type(failure)
        raise kind(f"{path}: {failure}") from failure


def build_keras(name: str, *, classes: int) -> nn.Module:
    """One of :data:`ARCHITECTURES` with random weights, in evaluation mode.

    >>> network = build_keras("keras:MobileNetV2", classes=1001)
    >>> parameters = sum(each.numel() for each in network.parameters())
    >>> parameters + sum(each.numel() for each in network.buffers() if each.ndim)  # Keras counts statistics too
    3540265

    :raises ModelError: no such network is converted.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"no Keras network is converted as {name}; there are: {', '.join(ARCHITECTURES)}")
    network: nn.Module = timm.create_model(ARCHITECTURES[name], num_classes=classes, **BUILD_OPTIONS)
    return network.eval()


def _read(path: Path) -> Stored:
    if path.suffix == ".keras" and not h5py.is_hdf5(path):  # which TensorFlow up to 2.11 wrote under that name
        return read_keras(path)
    if _is_saved_model(path):
        return Stored(read_saved_model(path))
    with path.open("rb") as file:
        return read_hdf5(file)


def _is_saved_model(path: Path) -> bool:
    return path.is_dir() or path.name.endswith((".tar.gz", ".tgz", ".tar"))


def _convert(stored: Stored, origin: str) -> KerasWeights:
    if stored.config is not None:
        config.refuse_code(stored.config)
    try:
        return _as_mobilenet_v2(stored, origin)
    except ModelError as failure:
        raise OtherNetwork(str(failure)) from failure


def _as_mobilenet_v2(stored: Stored, origin: str) -> KerasWeights:
    head = mobilenet_v2.head_of(stored.layers)
    body = mobilenet_v2.by_known_names({name: each for name, each in stored.layers.items() if name != head})
    name = _NAMES[mobilenet_v2.alpha_of(body)]
    top = stored.layers[head] if head else None
    classes = top["kernel"].shape[1] if top else 0
    with torch.device("meta"):  # for its shapes alone
        shapes = {place: value.shape for place, value in build_keras(name, classes=classes).state_dict().items()}
    return KerasWeights(
        name=name,
        architecture=ARCHITECTURES[name],
        build_options=BUILD_OPTIONS,
        state=mobilenet_v2.state_dict(body, top, shapes),
        classes=classes,
        spec=SPEC if stored.config is None else config.input_spec(stored.config, SPEC),
        class_names=_class_names(classes) if head in _IMAGENET_HEADS else None,
        origin=origin,
    )


def _class_names(classes: int) -> tuple[str, ...] | None:
    """ImageNet's; the networks of TensorFlow-Slim have one class more, in front."""
    names = imagenet_names()
    return {len(names): names, len(names) + 1: (BACKGROUND, *names)}.get(classes)
