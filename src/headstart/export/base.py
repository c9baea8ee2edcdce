"""The seam of exports: what a format is, and what a file is when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headstart.artifacts.classifier import Classifier
from headstart.export.metadata import ExportMetadata

__all__ = ["ExportFormat", "OpenedExport", "Run"]

Run: TypeAlias = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], "NDArray[np.float32] | None"]]
"""From images (N, H, W, 3) to probabilities (N, C), and out-of-distribution scores (N,) where the file has them."""


@dataclass(frozen=True)
class OpenedExport:
    """An exported file, ready to run."""

    metadata: ExportMetadata
    runtime: str  # its name and version
    run: Run


class ExportFormat(Protocol):
    """One format: how a classifier is written, and how the file is run."""

    name: str  # of --to
    suffix: str  # of the file

    def check(self) -> None:
        """Check that the packages of the format are installed.

        :raises SettingsError: one is missing; the message says how to install it.
        """

    def write(self, classifier: Classifier, path: Path) -> list[Path]:
        """Write the classifier, with its :class:`ExportMetadata` inside; return the files that were written.

        :raises ModelError: its network cannot be expressed in the format.
        """

    def recognizes(self, path: Path) -> bool:
        """Whether a file is one that :meth:`write` wrote, found out without loading it."""

    def open(self, path: Path) -> OpenedExport:
        """Open a file in the format's own runtime, on the CPU and in float32.

        :raises RunError: the file is damaged.
        """
