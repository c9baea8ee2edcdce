"""Import of Keras and TensorFlow weight files into torch, without Keras or TensorFlow."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from headstart.models.importers.keras.unsupported import UnsupportedNetwork

__all__ = [
    "ARCHITECTURES",
    "BUILD_OPTIONS",
    "SPEC",
    "KerasWeights",
    "UnsupportedNetwork",
    "build_keras",
    "is_keras_file",
    "load_keras",
]

if TYPE_CHECKING:
    from headstart.models.importers.keras.files import is_keras_file
    from headstart.models.importers.keras.networks import (
        ARCHITECTURES,
        BUILD_OPTIONS,
        SPEC,
        KerasWeights,
        build_keras,
        load_keras,
    )


def __getattr__(name: str) -> Any:
    """Import a name when it is first used (PEP 562): the process that reads foreign files does without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.networks"), name)
