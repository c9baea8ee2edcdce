"""Lazy imports of OpenVINO and NNCF, with their telemetry disabled."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from headstart.execution.forks import new_lock

__all__ = ["core", "nncf", "openvino", "read_model"]

_CORES: dict[int, Any] = {}  # by process, since a fork inherits a core whose threads it lacks
_CREATING = new_lock()


def openvino() -> Any:
    """Import OpenVINO without its telemetry, which otherwise forks processes at import and at each use."""
    return _import_without_telemetry("openvino")


def core() -> Any:
    """The OpenVINO core of this process, which is created once and never destroyed.

    When a core is destroyed, OpenVINO's processor plugin frees the memory of an alternate signal stack that the thread
    still uses: the next signal that Python handles, for example of Ctrl-C, ends the process.
    """
    with _CREATING:
        if os.getpid() not in _CORES:
            made = openvino().Core()
            made.set_property({"ENABLE_MMAP": False})  # a model file may change or be deleted once it is read
            _CORES[os.getpid()] = made
        return _CORES[os.getpid()]


def nncf() -> Any:
    """Import NNCF, OpenVINO's 8-bit quantization, without its telemetry."""
    openvino()
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it logs that there is no GPU
    return _import_without_telemetry("nncf")


def read_model(path: Path) -> Any:
    """Read an OpenVINO model from a file or folder into memory; the file may change or be deleted afterwards.

    :raises RuntimeError: OpenVINO cannot read it.
    """
    return core().read_model(str(path))


def _import_without_telemetry(name: str) -> Any:
    """Hide the package ``openvino_telemetry`` during the import: without it, no telemetry is sent."""
    if name in sys.modules:
        return sys.modules[name]
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return import_module(name)
    finally:
        del sys.modules["openvino_telemetry"]
