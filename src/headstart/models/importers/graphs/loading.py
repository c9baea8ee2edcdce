"""Importing a network file of another framework, with its input and its class names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from headstart.data.spec import InputSpec
from headstart.errors import ModelError, WeightsNotFound
from headstart.models.imagenet import imagenet_1k_names
from headstart.models.importers.graphs.formats import read_source
from headstart.models.importers.graphs.frozen import FrozenGraph
from headstart.models.importers.graphs.graph import LinearLayer, split_graph
from headstart.models.importers.graphs.network import ImportedNetwork

__all__ = ["ImportedModel", "import_network"]


@dataclass(frozen=True)
class ImportedModel:
    """A network imported from a file, with its metadata."""

    name: str  # the file name
    network: ImportedNetwork
    spec: InputSpec
    classes: tuple[str, ...] | None
    source: str


def import_network(path: str | Path) -> ImportedModel:
    """Import a network; if it ends in a linear layer, that layer becomes the head.

    :param path: an ONNX file, a TensorFlow SavedModel (its folder or ``.tar.gz``), or a whole Keras model.
    :raises WeightsNotFound: no such file.
    :raises ModelError: the file is damaged or unsafe, or the network cannot be used; the message has the reason.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsNotFound(f"{path}: no such file; expected an ONNX file, a Keras file or a TensorFlow SavedModel")
    try:
        return _import(path)
    except OSError as failure:
        raise ModelError(f"{path}: cannot be read ({failure.strerror or failure})") from failure
    except RuntimeError as failure:  # the only type that OpenVINO raises
        reason = str(failure).strip().split("\n")[-1]
        raise ModelError(f"{path}: OpenVINO cannot run it ({reason})") from failure
    except ModelError as failure:
        raise ModelError(f"{path}: {failure}") from failure


def _import(path: Path) -> ImportedModel:
    source = read_source(path)
    parts = split_graph(source.graph, channels_first=source.channels_first)
    prefix = FrozenGraph(parts.prefix, source_digest=bytes.fromhex(source.digest), features=parts.features)
    network = ImportedNetwork(prefix, 0)
    if parts.head is not None:
        _set_head(network, parts.head)
    spec = replace(source.spec, height=parts.size[0], width=parts.size[1])
    if parts.takes_pixel_values:
        spec = replace(spec, mean=(0.0,) * 3, std=(1 / 255,) * 3, channels="RGB")
    names = imagenet_1k_names(network.num_classes)  # by the number of classes: the file contains no names
    return ImportedModel(path.resolve().name, network.eval(), spec, names, f"{path} ({source.kind})")


def _set_head(network: ImportedNetwork, layer: LinearLayer) -> None:
    with torch.random.fork_rng(devices=[]):
        network.reset_classifier(len(layer.bias))
    head = network.get_classifier()
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(layer.weight))
        head.bias.copy_(torch.from_numpy(layer.bias))
