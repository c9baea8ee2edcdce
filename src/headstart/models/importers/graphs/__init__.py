"""Frozen networks from ONNX, TensorFlow SavedModel and Keras files; only their head is a torch module."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "FrozenGraph",
    "ImportedModel",
    "ImportedNetwork",
    "build_imported",
    "import_isolated",
    "import_network",
    "is_onnx_file",
]

_MODULE_OF = {
    "FrozenGraph": "frozen",
    "ImportedModel": "loading",
    "ImportedNetwork": "network",
    "build_imported": "network",
    "import_isolated": "loading",
    "import_network": "loading",
    "is_onnx_file": "formats",
}

if TYPE_CHECKING:
    from headstart.models.importers.graphs.formats import is_onnx_file
    from headstart.models.importers.graphs.frozen import FrozenGraph
    from headstart.models.importers.graphs.loading import ImportedModel, import_isolated, import_network
    from headstart.models.importers.graphs.network import ImportedNetwork, build_imported


def __getattr__(name: str) -> Any:
    """Import a name when it is first used (PEP 562): the process that reads foreign files does without torch."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
