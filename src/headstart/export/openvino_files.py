"""OpenVINO, whose own form is two files: operations in ``.xml``, weights in ``.bin`` of the same name beside it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.artifacts.classifier import Classifier
from headstart.errors import ModelError, RunError
from headstart.export.base import OpenedExport
from headstart.export.metadata import KEY, metadata_from_text, metadata_to_text, read_end
from headstart.export.network import ExportNetwork, export_program
from headstart.models.openvino_library import core, openvino, read_model

__all__ = ["OpenVINOFormat"]


class OpenVINOFormat:
    """``NAME.xml`` with its metadata in ``rt_info``, and ``NAME.bin``."""

    name = "openvino"
    suffix = ".xml"

    def check(self) -> None:
        """Nothing: OpenVINO is a dependency of headstart."""

    def write(self, classifier: Classifier, path: Path) -> list[Path]:
        """Write both files."""
        network = ExportNetwork(classifier, branches=False)
        program = export_program(network)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the converter's own use of torch
                model = openvino().convert_model(program)
        except Exception as failure:  # of several types, for operations that OpenVINO lacks
            reason = str(failure).strip().split("\n")[0]
            raise ModelError(f"{classifier.model}: cannot be written for OpenVINO ({reason})") from failure
        model.inputs[0].set_names({"images"})
        for output, name in zip(model.outputs, network.metadata.outputs, strict=True):
            output.set_names({name})
        model.set_rt_info(metadata_to_text(network.metadata), [KEY])
        openvino().save_model(model, str(path), compress_to_fp16=False)
        return [path, path.with_suffix(".bin")]

    def recognizes(self, path: Path) -> bool:
        """Whether the end of the file has our metadata."""
        return f"<{KEY} value=".encode() in read_end(path)

    def open(self, path: Path) -> OpenedExport:
        """Open the file in OpenVINO."""
        if not path.with_suffix(".bin").is_file():
            raise RunError(f"{path}: {path.with_suffix('.bin').name}, which has its weights, must be beside it")
        try:
            model = read_model(path)
            text = model.get_rt_info([KEY]).astype(str)
            # Else a processor that computes with bfloat16 would use it.
            hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
            compiled = core().compile_model(model, "CPU", hints)
        except RuntimeError as failure:
            reason = str(failure).strip().split("\n")[-1]
            raise RunError(f"{path}: damaged: {reason}. Export the classifier again.") from failure
        metadata = metadata_from_text(text, str(path))
        request = compiled.create_infer_request()

        def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
            found = request.infer({"images": images}, share_inputs=True)
            probabilities, *scores = (np.array(found[name]) for name in metadata.outputs)
            return probabilities, scores[0] if scores else None

        return OpenedExport(metadata, f"OpenVINO {openvino().__version__.partition('-')[0]}", run)
