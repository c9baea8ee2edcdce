"""Keras and TF Hub networks as timm models: converts MobileNetV2 files to a state dict of timm's own model.

timm has the same architecture as ``mobilenetv2_*``. Two things differ: the padding (TensorFlow's SAME puts an odd row
at the end) and BatchNorm (epsilon 1e-3; Keras's momentum of 0.999 is 0.001 in torch's convention). The result is cut
and fine-tuned as any other timm model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from headstart.data.spec import InputSpec
from headstart.description import Guess
from headstart.errors import ModelError, WeightsNotFound
from headstart.models.imagenet import imagenet_1k_names
from headstart.models.importers.keras import config, mobilenet_v2
from headstart.models.importers.keras.files import is_keras_file, is_saved_model, read_file
from headstart.models.importers.keras.hdf5 import KerasFile
from headstart.models.importers.keras.unsupported import UnsupportedNetwork

__all__ = ["ARCHITECTURES", "BUILD_OPTIONS", "SPEC", "KerasWeights", "build_keras", "is_keras_file", "load_keras"]

ARCHITECTURES: Mapping[str, str] = {
    "keras:MobileNetV2": "mobilenetv2_100",
    "keras:MobileNetV2-0.35": "mobilenetv2_035",
    "keras:MobileNetV2-0.5": "mobilenetv2_050",
    "keras:MobileNetV2-0.75": "mobilenetv2_075",
    "keras:MobileNetV2-1.4": "mobilenetv2_140",
}
"""The networks that can be converted, with their timm names; the number is the width multiplier, ``alpha`` in Keras."""

BUILD_OPTIONS: Mapping[str, Any] = {"pad_type": "same", "bn_eps": 1e-3, "bn_momentum": 1e-3}
"""Arguments of ``timm.create_model`` besides the name."""

SPEC = InputSpec(224, 224, crop=0.875, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
"""RGB in [-1, 1], as produced by ``keras.applications.mobilenet_v2.preprocess_input``.

TF Hub modules take [0, 1] and convert it to [-1, 1] themselves, so that their network sees the same values.
"""

_NAMES = dict(zip((1.0, 0.35, 0.5, 0.75, 1.4), ARCHITECTURES, strict=True))
_IMAGENET_HEADS = ("predictions", "Logits")  # the ImageNet head in Keras ("Logits" in its first versions) and TF Hub


@dataclass(frozen=True)
class KerasWeights:
    """A network from a Keras or TensorFlow file: everything needed to build it in torch."""

    name: str  # one of ARCHITECTURES, to build it again without the file
    architecture: str  # timm's name
    build_options: Mapping[str, Any]  # for timm.create_model
    state: Mapping[str, Tensor]  # with timm's parameter names
    classes: int  # outputs of the file's own head; 0 without head (include_top=False)
    spec: InputSpec
    class_names: tuple[str, ...] | None
    source: str
    guesses: tuple[Guess, ...] = ()  # readings that the file does not settle


def load_keras(path: str | Path) -> KerasWeights:
    """Load MobileNetV2 from a file, without running anything in it.

    :param path: ``.h5`` (weights, or a whole model), ``.keras``, or a SavedModel: its folder or ``.tar.gz``.
    :raises UnsupportedNetwork: another network, or a SavedModel that cannot be read; the message has the reason.
    :raises ModelError: damaged or unsafe.
    :raises WeightsNotFound: no such file.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsNotFound(f"{path}: no such file; expected a .h5 file, a .keras file or a SavedModel")
    try:
        return _convert(read_file(path), str(path))
    except OSError as failure:
        raise ModelError(f"{path}: cannot be read ({failure.strerror or failure})") from failure
    except ModelError as failure:
        # A SavedModel may contain any network; only the variables of MobileNetV2 are read here.
        kind = UnsupportedNetwork if is_saved_model(path) else type(failure)
        raise kind(f"{path}: {failure}") from failure


def build_keras(name: str, *, classes: int) -> nn.Module:
    """Build one of :data:`ARCHITECTURES` with random weights, in evaluation mode.

    >>> network = build_keras("keras:MobileNetV2", classes=1001)
    >>> parameters = sum(each.numel() for each in network.parameters())
    >>> parameters + sum(each.numel() for each in network.buffers() if each.ndim)  # Keras counts statistics too
    3540265

    :raises ModelError: unknown network.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"unknown Keras network {name!r}; available: {', '.join(ARCHITECTURES)}")
    network: nn.Module = timm.create_model(ARCHITECTURES[name], num_classes=classes, **BUILD_OPTIONS)
    return network.eval()


def _convert(file: KerasFile, source: str) -> KerasWeights:
    if file.config is not None:
        config.check_no_lambda(file.config)
    try:
        return _convert_mobilenet_v2(file, source)
    except ModelError as failure:
        raise UnsupportedNetwork(str(failure)) from failure


def _convert_mobilenet_v2(file: KerasFile, source: str) -> KerasWeights:
    head_name = mobilenet_v2.find_head(file.layers)
    body = mobilenet_v2.with_current_names({name: each for name, each in file.layers.items() if name != head_name})
    name = _NAMES[mobilenet_v2.find_alpha(body)]
    head = file.layers[head_name] if head_name else None
    classes = head["kernel"].shape[1] if head else 0
    spec: InputSpec = SPEC
    guesses: tuple[Guess, ...] = ()
    if file.config is not None:
        spec, guesses = config.input_spec(file.config, SPEC), config.input_guesses(file.config)
    with torch.device("meta"):  # only the shapes are needed
        shapes = {key: value.shape for key, value in build_keras(name, classes=classes).state_dict().items()}
    return KerasWeights(
        name=name,
        architecture=ARCHITECTURES[name],
        build_options=BUILD_OPTIONS,
        state=mobilenet_v2.to_state_dict(body, head, shapes),
        classes=classes,
        spec=spec,
        class_names=imagenet_1k_names(classes) if head_name in _IMAGENET_HEADS else None,
        source=source,
        guesses=guesses,
    )
