"""From a file of another framework to a network, its input and its class names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError, WeightsNotFound
from headstart.models.foreign.formats import read
from headstart.models.foreign.frozen import FrozenGraph
from headstart.models.foreign.graph import Linear, split
from headstart.models.foreign.network import ForeignNetwork
from headstart.models.imagenet import BACKGROUND, imagenet_names

__all__ = ["Foreign", "load_foreign"]


@dataclass(frozen=True)
class Foreign:
    """A network out of a file, with its facts."""

    name: str  # the file's
    network: ForeignNetwork
    spec: InputSpec
    classes: tuple[str, ...] | None
    origin: str


def load_foreign(path: str | Path) -> Foreign:
    """Read a network; where it ends in a linear layer, that becomes the head.

    :param path: an ONNX file, a TensorFlow SavedModel (its folder or ``.tar.gz``), or a whole model of Keras.
    :raises WeightsNotFound: no such file.
    :raises ModelError: damaged, unsafe, or a network that cannot be used; the text says why.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsNotFound(f"{path}: no such file; an ONNX or Keras file or a TensorFlow SavedModel is looked for")
    try:
        return _load(path)
    except OSError as failure:
        raise ModelError(f"{path}: cannot be read ({failure.strerror or failure})") from failure
    except RuntimeError as failure:  # OpenVINO's only type
        reason = str(failure).strip().split("\n")[-1]
        raise ModelError(f"{path}: OpenVINO cannot run it ({reason})") from failure
    except ModelError as failure:
        raise ModelError(f"{path}: {failure}") from failure


def _load(path: Path) -> Foreign:
    source = read(path)
    parts = split(source.graph, channels_first=source.channels_first)
    prefix = FrozenGraph(parts.prefix, identity=bytes.fromhex(source.digest), features=parts.features)
    network = ForeignNetwork(prefix, 0)
    if parts.head is not None:
        _set_head(network, parts.head)
    spec = replace(source.spec, height=parts.size[0], width=parts.size[1])
    if parts.wants_bytes:
        spec = replace(spec, mean=(0.0,) * 3, std=(1 / 255,) * 3, channels="RGB")
    name = path.resolve().name
    return Foreign(name, network.eval(), spec, _names(network.num_classes), f"{path} ({source.kind})")


def _set_head(network: ForeignNetwork, values: Linear) -> None:
    with torch.random.fork_rng(devices=[]):
        network.reset_classifier(len(values.bias))
    head = network.get_classifier()
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(values.weight))
        head.bias.copy_(torch.from_numpy(values.bias))


def _names(classes: int) -> tuple[str, ...] | None:
    """ImageNet's where their number is ImageNet's; the file has no names."""
    names = imagenet_names()
    return {len(names): names, len(names) + 1: (BACKGROUND, *names)}.get(classes)
