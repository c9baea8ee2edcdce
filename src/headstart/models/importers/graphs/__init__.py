"""Frozen networks from ONNX, TensorFlow SavedModel and Keras files; only their head is a torch module."""

from __future__ import annotations

from headstart.models.importers.graphs.formats import is_onnx_file
from headstart.models.importers.graphs.frozen import FrozenGraph
from headstart.models.importers.graphs.loading import ImportedModel, import_network
from headstart.models.importers.graphs.network import ImportedNetwork, build_imported

__all__ = ["FrozenGraph", "ImportedModel", "ImportedNetwork", "build_imported", "import_network", "is_onnx_file"]
