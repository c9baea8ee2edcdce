"""Small Keras and TensorFlow files, written by writer.py, and by Keras itself where it is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

_HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def writer(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module tests/models/importers/keras/writer.py."""
    return load_module(_HERE / "writer.py")


@pytest.fixture(scope="session")
def keras() -> Callable[..., None]:
    """Run a script in a separate process with the torch backend of Keras: keras(script, *arguments)."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip('Keras is not installed: "pip install keras"')

    def run(script: str, *arguments: str | Path) -> None:
        environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(arguments[0]), "OMP_NUM_THREADS": "2"}
        command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr

    return run


@pytest.fixture(scope="session")
def keras_folder(keras: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files written by Keras, ``images.npy``, and the outputs of Keras for them, ``outputs.npz``."""
    from skimage import data
    from skimage.transform import resize

    folder = tmp_path_factory.mktemp("keras")
    originals = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    images = np.stack([resize(each, (96, 96), anti_aliasing=True) for each in originals])
    np.save(folder / "images.npy", (images * 255).round().astype(np.float32))
    keras((_HERE / "keras_script.py").read_text(), folder)
    return folder
