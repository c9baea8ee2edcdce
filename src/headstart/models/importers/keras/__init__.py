"""Import of Keras and TensorFlow weight files into torch, without Keras or TensorFlow."""

from __future__ import annotations

from headstart.models.importers.keras.networks import (
    ARCHITECTURES,
    BUILD_OPTIONS,
    SPEC,
    KerasWeights,
    build_keras,
    is_keras_file,
    load_keras,
)
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
