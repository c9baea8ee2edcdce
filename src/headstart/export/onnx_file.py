"""ONNX, run by ONNX Runtime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.artifacts.classifier import Classifier
from headstart.errors import ModelError, RunError
from headstart.export.base import OpenedExport, Run
from headstart.export.metadata import KEY, metadata_from_text, metadata_to_text, read_end
from headstart.export.network import ExportNetwork, export_program
from headstart.extras import require_extra

__all__ = ["READING", "WRITING", "OnnxFormat", "onnx_bytes", "open_onnx"]

_LARGEST = 2_000_000_000  # bytes; a file of Protocol Buffers is at most 2 GiB
_OPSET = 20

WRITING, READING = ("onnx", "onnxruntime", "onnxscript"), ("onnxruntime",)
"""Packages of the extra ``onnx`` that are needed."""


class OnnxFormat:
    """One ``.onnx`` file with its metadata in ``metadata_props``."""

    name = "onnx"
    suffix = ".onnx"

    def check(self) -> None:
        """Check that the packages are installed."""
        require_extra("onnx", WRITING, what="--to onnx")

    def write(self, classifier: Classifier, path: Path) -> list[Path]:
        """Write the file."""
        path.write_bytes(onnx_bytes(ExportNetwork(classifier)))
        return [path]

    def recognizes(self, path: Path) -> bool:
        """Whether the end of the file has our metadata."""
        end = read_end(path)
        return KEY.encode() in end and b'"prediction_sets"' in end and b'"ood_threshold"' in end

    def open(self, path: Path) -> OpenedExport:
        """Open the file in ONNX Runtime."""
        require_extra("onnx", READING, what=str(path))
        return open_onnx(path.read_bytes(), str(path))


def onnx_bytes(network: ExportNetwork) -> bytes:
    """The network as the content of an ONNX file, with its metadata.

    :raises ModelError: an operation of its network cannot be expressed, or it is larger than such a file may be.
    """
    import torch

    metadata = network.metadata
    program = export_program(network)
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [each.level for each in loggers]
    try:
        for each in loggers:  # they tell of every step and of every optimization that was left out
            each.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=["images"],
                output_names=list(metadata.outputs),
            )
        assert made is not None
        proto = made.model_proto
    except Exception as failure:  # of many types, for operations that ONNX lacks
        reason = str(failure).strip().split("\n")[0]
        raise ModelError(f"{metadata.model}: cannot be written as ONNX ({reason})") from failure
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
    if (size := proto.ByteSize()) > _LARGEST:
        raise ModelError(f"{metadata.model}: {size / 1e9:.1f} GB is more than an ONNX file may have; use --to torch")
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, metadata_to_text(metadata)
    content: bytes = proto.SerializeToString()
    return content


def open_onnx(content: bytes, where: str) -> OpenedExport:
    """Open the content of a file in ONNX Runtime.

    :param where: the file, for error messages.
    :raises RunError: it is damaged.
    """
    import onnxruntime

    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as failure:  # ONNX Runtime has a type per reason
        raise RunError(f"{where}: damaged: {str(failure).strip()}. Export the classifier again.") from failure
    properties: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    if KEY not in properties:
        raise RunError(f"{where}: was not written by headstart export")
    metadata = metadata_from_text(properties[KEY], where)
    return OpenedExport(metadata, f"ONNX Runtime {onnxruntime.__version__}", _runner(session, metadata.outputs))


def _runner(session: Any, outputs: tuple[str, ...]) -> Run:
    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        probabilities, *scores = session.run(list(outputs), {"images": images})
        return probabilities, scores[0] if scores else None

    return run
