"""Importing a network file of another framework, with its input."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from headstart.data.spec import InputSpec
from headstart.description import Guess
from headstart.errors import ModelError, RunError, WeightsNotFound
from headstart.models.importers.graphs.conversion import convert, read_conversion, read_head
from headstart.models.importers.graphs.formats import is_onnx_file
from headstart.models.importers.graphs.frozen import FrozenGraph
from headstart.models.importers.graphs.graph import LinearLayer
from headstart.models.importers.graphs.graph_files import read_graph
from headstart.models.importers.graphs.keras_process import require_keras
from headstart.models.importers.graphs.network import ImportedNetwork
from headstart.models.importers.isolation import Limits, forget, read_isolated
from headstart.models.importers.keras.files import is_saved_model
from headstart.models.seeding import seeded

__all__ = ["ImportedModel", "import_isolated", "import_network"]


@dataclass(frozen=True)
class ImportedModel:
    """A network imported from a file, with its metadata."""

    name: str  # the file name
    network: ImportedNetwork
    spec: InputSpec
    source: str
    facts: tuple[str, ...]  # how the file was read, for people
    guesses: tuple[Guess, ...]  # readings that the file does not settle


def import_isolated(path: str | Path, limits: Limits | None = None) -> ImportedModel:
    """As :func:`import_network`, but the file is read in a process of its own, and only once.

    :param limits: on that process; by default, they follow from the size of the file.
    """
    path = _existing(path)
    try:
        if not (is_onnx_file(path.name) or is_saved_model(path)):
            require_keras()
        with read_isolated("graph", path, limits) as folder:
            try:
                return _load(folder, path)
            except (RunError, ModelError, OSError, ValueError, KeyError, RuntimeError):
                forget(folder)  # damaged in the cache, or just removed by another process
        with read_isolated("graph", path, limits) as folder:
            return _load(folder, path)
    except OSError as failure:
        raise ModelError(f"{path}: cannot be read ({failure.strerror or failure})") from failure
    except ModelError as failure:
        raise ModelError(f"{path}: {failure}") from failure


def import_network(path: str | Path) -> ImportedModel:
    """Import a network; if it ends in a linear layer, that layer becomes the head.

    The file is read in this process, which a damaged one may crash: for files of unknown origin there is
    :func:`import_isolated`.

    :param path: an ONNX file, a TensorFlow SavedModel (its folder or ``.tar.gz``), or a whole Keras model.
    :raises WeightsNotFound: no such file.
    :raises ModelError: the file is damaged or unsafe, or the network cannot be used; the message has the reason.
    """
    path = _existing(path)
    with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
        try:
            convert(path, Path(folder))
        except OSError as failure:
            raise ModelError(f"{path}: cannot be read ({failure.strerror or failure})") from failure
        except ModelError as failure:
            raise ModelError(f"{path}: {failure}") from failure
        return _load(Path(folder), path)


def _existing(path: str | Path) -> Path:
    if not Path(path).exists():
        raise WeightsNotFound(f"{path}: no such file; expected an ONNX file, a Keras file or a TensorFlow SavedModel")
    return Path(path)


def _load(folder: Path, path: Path) -> ImportedModel:
    """Load what :func:`headstart.models.importers.graphs.conversion.convert` made of the file ``path``."""
    converted = read_conversion(folder)
    graph = read_graph(folder, converted.files)
    digest = bytes.fromhex(converted.digest)
    network = ImportedNetwork(FrozenGraph(graph, source_digest=digest, features=converted.features), 0)
    if converted.classes:
        _set_head(network, read_head(folder))
    source = f"{path} ({converted.kind})"
    return ImportedModel(
        path.resolve().name, network.eval(), converted.spec, source, converted.facts, converted.guesses
    )


def _set_head(network: ImportedNetwork, layer: LinearLayer) -> None:
    with seeded():
        network.reset_classifier(len(layer.bias))
    head = network.get_classifier()
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(layer.weight))
        head.bias.copy_(torch.from_numpy(layer.bias))
