"""OpenVINO, imported where it is needed and quietly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

__all__ = ["openvino", "read_model"]


def openvino() -> Any:
    """OpenVINO without the reports that it sends to its makers, from forked processes, at import and at each use.

    It leaves them out where their package is not installed; for the time of the import, it is not.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules["openvino_telemetry"]
    return openvino


def read_model(path: Path) -> Any:
    """OpenVINO's model of a file or folder; all of it is in memory, so that the file may change or go.

    :raises RuntimeError: OpenVINO cannot read it.
    """
    core = openvino().Core()
    core.set_property({"ENABLE_MMAP": False})
    return core.read_model(str(path))
