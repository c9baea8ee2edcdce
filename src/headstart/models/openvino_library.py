"""OpenVINO and NNCF, imported where they are needed and quietly."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["nncf", "openvino", "read_model"]


def openvino() -> Any:
    """OpenVINO without the reports that it sends to its makers, from forked processes, at import and at each use."""
    return _unreported("openvino")


def nncf() -> Any:
    """NNCF, which makes networks of 8-bit numbers for OpenVINO, without the same reports."""
    openvino()
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # else it is made to say that it has no GPU
    return _unreported("nncf")


def read_model(path: Path) -> Any:
    """OpenVINO's model of a file or folder; all of it is in memory, so that the file may change or go.

    :raises RuntimeError: OpenVINO cannot read it.
    """
    core = openvino().Core()
    core.set_property({"ENABLE_MMAP": False})
    return core.read_model(str(path))


def _unreported(name: str) -> Any:
    """They leave the reports out where their makers' package is not installed; while they are imported, it is not."""
    if name in sys.modules:
        return sys.modules[name]
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return import_module(name)
    finally:
        del sys.modules["openvino_telemetry"]
