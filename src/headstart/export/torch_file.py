"""A program of ``torch.export``, run by torch without headstart and timm."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.artifacts.classifier import Classifier
from headstart.errors import RunError
from headstart.export.base import OpenedExport
from headstart.export.metadata import KEY, metadata_from_text, metadata_to_text
from headstart.export.network import ExportNetwork, export_program

__all__ = ["TorchFormat"]

_FILE = f"{KEY}.json"


class TorchFormat:
    """One ``.pt2`` file with its metadata in the extra file ``headstart.json``."""

    name = "torch"
    suffix = ".pt2"

    def check(self) -> None:
        """Nothing: torch is a dependency of headstart."""

    def write(self, classifier: Classifier, path: Path) -> list[Path]:
        """Write the file."""
        network = ExportNetwork(classifier, branches=False)
        text = metadata_to_text(network.metadata)
        program = export_program(network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program, path, extra_files={_FILE: text})
        return [path]

    def recognizes(self, path: Path) -> bool:
        """Whether the archive has our metadata."""
        try:
            with zipfile.ZipFile(path) as archive:
                return any(name.endswith(f"extra/{_FILE}") for name in archive.namelist())
        except (zipfile.BadZipFile, OSError):
            return False

    def open(self, path: Path) -> OpenedExport:
        """Open the file in torch."""
        found = {_FILE: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = torch.export.load(path, extra_files=found).module()
        except Exception as failure:  # torch raises many types for a damaged file
            reason = str(failure).strip().split("\n")[0]
            raise RunError(f"{path}: damaged: {reason}. Export the classifier again.") from failure
        text = found[_FILE]
        metadata = metadata_from_text(text if isinstance(text, str) else bytes(text).decode(), str(path))

        def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
            with torch.inference_mode():
                probabilities, *scores = module(torch.from_numpy(np.require(images, requirements=["C", "W"])))
            return probabilities.numpy(), scores[0].numpy() if scores else None

        return OpenedExport(metadata, f"torch {torch.__version__.partition('+')[0]}", run)
