"""Keras in processes of its own: with its OpenVINO backend to export a graph, with torch to check the graph's answers.

The backend is fixed when Keras is first imported, and the calling program may use another one.

Error messages raised here do not name the file; the caller adds it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ModelError
from headstart.models.openvino_library import core

__all__ = ["check_answers", "convert", "require_keras"]

_WORKER = Path(__file__).with_name("keras_worker.py")
_ANSWERS = "answers.npz"
_MIN_KERAS = (3, 12)  # the first version that exports OpenVINO graphs
_TOLERANCE = 1e-2  # relative difference between the graph's answers and Keras's own; half precision is off by 1e-3
_EXPORT_HINT = "export it as ONNX (model.export('FILE.onnx', format='onnx')) and use that file"

Floats = NDArray[np.float32]


def require_keras() -> None:
    """Check that Keras is installed.

    :raises ModelError: it is not, or the version is too old; the message says what to install.
    """
    try:
        installed = version("keras")
    except PackageNotFoundError as failure:
        raise ModelError(
            'networks other than MobileNetV2 need Keras, which is not installed; run "pip install headstart[keras]"'
        ) from failure
    if tuple(int(part) for part in re.findall(r"\d+", installed)[:2]) < _MIN_KERAS:
        required = ".".join(map(str, _MIN_KERAS))
        raise ModelError(
            f"networks other than MobileNetV2 need Keras {required} or later, installed is {installed}; run "
            '"pip install --upgrade headstart[keras]"'
        )


def convert(path: Path, folder: Path) -> Path:
    """Convert a Keras file to an OpenVINO graph in ``folder``; return the path of the graph.

    Beside it are Keras's own answers, for :func:`check_answers`; both processes run at once.

    :raises ModelError: Keras is not installed, or cannot load or export the network.
    """
    require_keras()
    target = folder / "graph.xml"
    with ThreadPoolExecutor(2) as executor:
        exporting = executor.submit(_run, "export", path, target, backend="openvino")
        answering = executor.submit(_run, "answers", path, folder / _ANSWERS, backend="torch")
    if reason := exporting.result():
        raise ModelError(f"Keras cannot load it or export it to OpenVINO ({reason}); {_EXPORT_HINT}")
    if reason := answering.result():
        raise ModelError(f"Keras cannot compute its answers to compare them ({reason}); {_EXPORT_HINT}")
    return target


def check_answers(graph: Any, path: Path, folder: Path) -> None:
    """Check that a graph answers as Keras does in inference, on two images.

    Keras computes with torch, so that a fault of its export shows as well as one of OpenVINO.

    :param graph: the OpenVINO model that :func:`convert` made of the file ``path``, in ``folder``.
    :raises ModelError: it does not, or Keras's own answers are random; the message names the first layer that differs.
    """
    with np.load(folder / _ANSWERS, allow_pickle=False) as arrays:
        images, count = arrays["images"], sum(name.startswith("output_0_") for name in arrays.files)
        first, second = ([arrays[f"output_{run}_{index}"] for index in range(count)] for run in range(2))
    if not all(map(_agree, first, second)):
        raise ModelError(
            f"its layer {_first_random_layer(path, folder)} is random in inference too, so that the same image gets "
            "another answer each time; save the model without it"
        )
    found = _outputs(graph, images)
    if len(found) == count and not all(map(_agree, found, first)):
        raise ModelError(
            f"in OpenVINO it answers otherwise than in Keras, from its layer {_first_other_layer(path, folder)} on; "
            f"{_EXPORT_HINT}"
        )


def _run(task: str, path: Path, target: Path, *, backend: str) -> str:
    """Run the worker; return why it failed, "" if it did not."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "KERAS_HOME": str(target.parent),  # Keras writes its settings there
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        "PYTHONWARNINGS": "ignore",
        "CUDA_VISIBLE_DEVICES": "",  # the CPU computes the same and starts sooner
    }
    command = [sys.executable, str(_WORKER), task, str(path.resolve()), str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if not done.returncode and target.is_file():
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return (lines or ["no reason given"])[-1][:300]


def _outputs(graph: Any, images: NDArray[Any]) -> list[Floats]:
    """All outputs of a graph for images that are run one by one."""
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    program = core().compile_model(graph, "CPU", settings)
    runs = [program.create_infer_request().infer({0: image[None]}, share_outputs=False) for image in images]
    return [
        np.concatenate([np.asarray(run[index], np.float32) for run in runs]) for index in range(len(program.outputs))
    ]


def _agree(values: Floats, expected: Floats) -> bool:
    """Whether two answers are the same for each image where both are finite."""
    if values.shape != expected.shape:
        return False
    for one, other in zip(values, expected, strict=True):
        if not (np.isfinite(one).all() and np.isfinite(other).all()):
            continue
        if np.linalg.norm(one - other) > _TOLERANCE * max(float(np.linalg.norm(other)), 1e-3):
            return False
    return True


def _first_random_layer(path: Path, folder: Path) -> str:
    names, first, second = _layers(path, folder, backend="torch")
    return _first_difference(names, first, second)


def _first_other_layer(path: Path, folder: Path) -> str:
    names, keras_own, _ = _layers(path, folder, backend="torch")
    _, others, _ = _layers(path, folder, backend="openvino")
    return _first_difference(names, others, keras_own)


def _layers(path: Path, folder: Path, *, backend: str) -> tuple[list[str], list[Floats], list[Floats]]:
    """Names of the layers, and two computations of their outputs."""
    target = folder / f"layers-{backend}.npz"
    if _run("layers", path, target, backend=backend):
        return [], [], []
    with np.load(target, allow_pickle=False) as arrays:
        names = [str(name) for name in arrays["names"]]
        first, second = ([arrays[f"output_{run}_{index}"] for index in range(len(names))] for run in range(2))
    return names, first, second


def _first_difference(names: Sequence[str], values: Sequence[Floats], expected: Sequence[Floats]) -> str:
    differing = (name for name, one, other in zip(names, values, expected, strict=False) if not _agree(one, other))
    return next(differing, "(unknown)")
