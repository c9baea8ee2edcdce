"""Networks in the files of Keras and TensorFlow, read into torch without either."""

from __future__ import annotations

from headstart.models.keras.networks import (
    ARCHITECTURES,
    BUILD_OPTIONS,
    SPEC,
    KerasWeights,
    build_keras,
    is_keras_file,
    load_keras,
)
from headstart.models.keras.other import OtherNetwork

__all__ = [
    "ARCHITECTURES",
    "BUILD_OPTIONS",
    "SPEC",
    "KerasWeights",
    "OtherNetwork",
    "build_keras",
    "is_keras_file",
    "load_keras",
]
