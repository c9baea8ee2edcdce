"""Reading the variables of a network from any file of Keras or TensorFlow, by its kind. No torch.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from headstart.errors import ModelError
from headstart.models.importers.keras.hdf5 import KerasFile, read_hdf5, read_keras
from headstart.models.importers.keras.saved_model import read_saved_model
from headstart.models.importers.keras.unsupported import UnsupportedNetwork

__all__ = ["is_keras_file", "is_saved_model", "read_file"]

_ARCHIVES = (".tar.gz", ".tgz", ".tar")


def is_keras_file(name: str) -> bool:
    """Whether ``name`` is a path that :func:`load_keras` reads, by its suffix, or a folder with variables.

    >>> is_keras_file("some/where/model.keras"), is_keras_file("resnet50")
    (True, False)
    """
    return name.endswith((".h5", ".hdf5", ".keras", *_ARCHIVES)) or Path(name, "variables").is_dir()


def is_saved_model(path: Path) -> bool:
    """Whether a path is the folder or the archive of a TensorFlow SavedModel; others are files of Keras."""
    return path.is_dir() or path.name.endswith(_ARCHIVES)


def read_file(path: Path) -> KerasFile:
    """Read the variables by layer, and the configuration of a whole model.

    :raises UnsupportedNetwork: a SavedModel whose variables cannot be read; it may contain any network.
    :raises ModelError: damaged or unsafe.
    """
    if is_saved_model(path):
        try:
            return KerasFile(read_saved_model(path))
        except ModelError as failure:
            raise UnsupportedNetwork(str(failure)) from failure
    if path.suffix == ".keras" and not h5py.is_hdf5(path):  # TensorFlow up to 2.11 wrote HDF5 with this suffix
        return read_keras(path)
    with path.open("rb") as file:
        return read_hdf5(file)
