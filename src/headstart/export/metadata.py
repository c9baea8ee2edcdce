"""What an exported file says about itself: classes, input, calibration, licence. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, MinLen

from headstart.artifacts.model_document import InputRecord, Name, Positive
from headstart.documents import decode, encode
from headstart.errors import RunError
from headstart.inference.results import PredictionSetRule

__all__ = ["EXPORT_FORMAT", "KEY", "ExportMetadata", "metadata_from_text", "metadata_to_text", "read_end"]

EXPORT_FORMAT = 1
KEY = "headstart"
"""The name under which a file keeps its metadata."""

_END = 4 << 20  # bytes


@dataclass(frozen=True)
class ExportMetadata:
    """The metadata inside an exported file, as JSON."""

    model: Name  # name of the network
    classes: Annotated[tuple[Name, ...], MinLen(1)]  # in the order of the probabilities
    input: InputRecord  # which the file computes from the image
    temperature: Positive  # which the file applies
    tta_flip: bool  # whether the file averages each image with its mirror image
    prediction_sets: PredictionSetRule | None  # a class belongs to the set if 1 - its probability is at most threshold
    ood_threshold: float | None  # images with a higher ood_score look like none of the classes
    source: str  # of the pretrained weights
    licence: str  # of the pretrained weights
    headstart: str  # version
    min_side: Annotated[int, Ge(1)]  # pixels; a JPEG may be decoded at reduced size down to this
    images: str = "uint8 (N, H, W, 3), RGB, upright, any size"  # the input, in words
    outputs: tuple[str, ...] = ("probabilities",)  # "probabilities" (N, C), and perhaps "ood_score" (N,)


def metadata_to_text(metadata: ExportMetadata) -> str:
    """The metadata as JSON with its format version, in ASCII."""
    return json.dumps(encode(metadata, version=EXPORT_FORMAT), allow_nan=False)


def metadata_from_text(text: str, where: str) -> ExportMetadata:
    """Read what :func:`metadata_to_text` wrote.

    :param where: the file, for the error message.
    :raises RunError: the text is damaged, or of another format version.
    """
    remedy = "Export the classifier again."
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: damaged: its metadata are not JSON ({error}). {remedy}") from error
    return decode(ExportMetadata, values, where, version=EXPORT_FORMAT, remedy=remedy)


def read_end(path: Path) -> bytes:
    """The last 4 MB of a file, in which some formats keep the metadata, behind the weights."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _END))
        return file.read()
