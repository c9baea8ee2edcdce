"""Whether an exported file gives the answer of the classifier, and the document that says so. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from headstart.documents import read_document, write_document

__all__ = [
    "MIN_EQUAL_TOP1",
    "RECORD_FORMAT",
    "TOLERANCE",
    "Comparison",
    "ExportRecord",
    "compare",
    "read_record",
    "write_record",
]

TOLERANCE = 1e-3
"""Largest difference of a probability."""

MIN_EQUAL_TOP1 = 0.999
"""Smallest share of images with the same most probable class."""

RECORD_FORMAT = 1

Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class Comparison:
    """The probabilities of an exported file beside those of the classifier, on the same images."""

    images: Annotated[int, Ge(1)]
    largest_difference: Share  # of a probability
    equal_top1: Share
    tolerance: Share = TOLERANCE
    min_equal_top1: Share = MIN_EQUAL_TOP1

    @property
    def passed(self) -> bool:
        """Whether the file gives the answer of the classifier."""
        return self.largest_difference <= self.tolerance and self.equal_top1 >= self.min_equal_top1

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"on {self.images:,} images the largest difference of a probability is {self.largest_difference:.6f} "
            f"(at most {self.tolerance:g}), and the top-1 class is equal on {self.equal_top1:.2%} "
            f"(at least {self.min_equal_top1:.1%})"
        )


@dataclass(frozen=True)
class ExportRecord:
    """``FILE.export.json``, beside an exported file: what was written, and how it was compared."""

    classifier: str  # as it was given to headstart export
    to: str  # the format
    files: dict[str, str]  # names, each with the BLAKE2b of the file, 32 hexadecimal digits
    bytes: Annotated[int, Ge(1)]  # of all files
    runtime: str  # that ran the file, with its version
    comparison: Comparison
    seconds_to_open: Annotated[float, Ge(0)]
    images_per_second: Annotated[float, Ge(0)]  # one at a time, with decoding
    headstart: str  # version
    created: str  # ISO 8601


def compare(exported: NDArray[np.float32], expected: NDArray[np.float32]) -> Comparison:
    """Compare probabilities, (N, C) each; a value that is not a number differs by 1.

    >>> print(compare(np.array([[0.25, 0.75]]), np.array([[0.3, 0.7]])).largest_difference)
    0.05
    """
    differences = np.nan_to_num(np.abs(exported.astype(np.float64) - expected.astype(np.float64)), nan=1.0)
    equal = exported.argmax(1) == expected.argmax(1)
    return Comparison(len(expected), min(float(round(differences.max(), 9)), 1.0), float(equal.mean()))


def write_record(path: Path, record: ExportRecord) -> None:
    """Write the document."""
    write_document(path, record, version=RECORD_FORMAT)


def read_record(path: Path) -> ExportRecord:
    """Read the document.

    :raises RunError: the file is missing or damaged, or has another format version.
    """
    return read_document(ExportRecord, path, version=RECORD_FORMAT, remedy="Export the classifier again.")
