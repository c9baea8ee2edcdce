"""Small networks of other frameworks, written by the frameworks themselves where these are small enough to install."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

_HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def _small_work(one_thread: None) -> None:
    """All networks in this folder are small."""


@pytest.fixture(scope="session")
def tensorflow_writer(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module tests/models/importers/keras/writer.py, which writes TensorFlow's formats without TensorFlow."""
    return load_module(_HERE.parent / "keras" / "writer.py")


@pytest.fixture(scope="session")
def writer(load_module: Callable[[Path], ModuleType]) -> ModuleType:
    """The module tests/models/importers/graphs/writer.py."""
    return load_module(_HERE / "writer.py")


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """A timm network with random weights, also in layers that are usually initialized with constants."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = timm.create_model("test_resnet", num_classes=7).eval()
        with torch.no_grad():
            for name, value in network.state_dict().items():
                if value.is_floating_point() and value.ndim == 1:
                    value.add_(0.1 * torch.rand(value.shape) * (1 if "var" in name else 2))
    return network


@pytest.fixture(scope="session")
def exported(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export ``network``, or another one with an input of ``side`` pixels, as ONNX: exported(dynamic=True) -> path."""

    def write(other: nn.Module | None = None, *, dynamic: bool = False, side: int = 64) -> Path:
        path = tmp_path_factory.mktemp("onnx") / "net.onnx"
        axes = {"images": {0: "batch"}} if dynamic else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that this exporter is old; it needs no other package
            torch.onnx.export(
                other or network,
                (torch.zeros(1, 3, side, side),),
                str(path),
                dynamo=False,
                input_names=["images"],
                dynamic_axes=axes,
            )
        return path

    return write


@pytest.fixture(scope="session")
def keras_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files written by Keras, ``images.npy``, and the outputs of Keras for them, ``outputs.npz``."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip('Keras is not installed: "pip install keras"')
    folder = tmp_path_factory.mktemp("keras")
    environment = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(_HERE / "keras_script.py"), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Noise images with one dominant color, in folders named after it."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            pixels: Any = rng.integers(0, 120, (40, 50, 3), np.uint8)
            pixels[..., channel] += 130
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"
