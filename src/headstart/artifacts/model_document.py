"""The content of ``model.json``, which describes a classifier beside its weights. No torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

from headstart.config import FitSettings, options_of
from headstart.data.spec import InputSpec
from headstart.data.value_range import ValueRange
from headstart.documents import read_document, write_document
from headstart.inference.results import PredictionSetRule

__all__ = [
    "MODEL_FORMAT",
    "InputRecord",
    "ModelDocument",
    "ModelMetadata",
    "StageRecord",
    "read_model_document",
    "write_model_document",
]

MODEL_FORMAT = 1
_REMEDY = "Save the classifier again."
_TRAIN = next(option for option in options_of(FitSettings) if option.name == "train")

Name = Annotated[str, MinLen(1)]
Side = Annotated[int, Ge(1), Le(16_384)]  # pixels
Positive = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class ModelMetadata:
    """Where the weights of a classifier came from, and how its frozen part is run."""

    source: str  # of the pretrained weights, in words
    licence: str  # of the pretrained weights
    feature_dtype: Literal["float16", "float32"] = "float32"  # in which the fit stored features
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "float32"  # of the frozen part during the fit
    cut: str = ""  # the last operation of the frozen part; empty if the whole network was trained


@dataclass(frozen=True)
class InputRecord:
    """The fields of :class:`headstart.InputSpec`, all of which a document must state."""

    height: Side
    width: Side
    crop: Annotated[float, Ge(0.01), Le(2)]  # 1.15 for some networks of timm
    crop_mode: Literal["center", "squash"]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    channels: Literal["RGB", "BGR"]
    value_ranges: tuple[ValueRange, ...]

    @classmethod
    def of(cls, spec: InputSpec) -> InputRecord:
        """Record a spec."""
        return cls(**{each.name: getattr(spec, each.name) for each in fields(spec)})

    def spec(self) -> InputSpec:
        """The recorded spec."""
        return InputSpec(**{each.name: getattr(self, each.name) for each in fields(self)})


@dataclass(frozen=True)
class StageRecord:
    """The fields of :class:`headstart.models.stage_head.Stage`: a module whose pooled output the head is given."""

    name: Name
    channels: Annotated[int, Ge(1), Le(65_536)]
    layout: Literal["NCHW", "NHWC", "NLC"]
    prefix_tokens: Annotated[int, Ge(0), Le(1024)]


@dataclass(frozen=True)
class ModelDocument:
    """A classifier without its arrays. Digests are BLAKE2b of whole files, in 32 hexadecimal digits."""

    model: Name  # name of the network
    train: str  # what was trained, which decides where the network is cut
    classes: Annotated[tuple[Name, ...], MinLen(1)]  # in the order of the logits, each only once
    input: InputRecord
    temperature: Positive
    tta_flip: bool
    prediction_sets: PredictionSetRule | None
    metadata: ModelMetadata
    headstart: str  # version
    torch: str  # version
    digest: str  # of model.safetensors
    stages: tuple[StageRecord, ...] = ()  # those that the head is given beside the last features, last one first
    files: dict[str, str] = field(default_factory=dict)  # digests of the files of an imported network
    ood_detector: str | None = None  # digest of ood_detector.safetensors

    def __post_init__(self) -> None:
        """Check what the types do not state.

        :raises ValueError: a class name occurs twice, or ``train`` is not what the setting of that name takes.
        """
        twice = [name for name, count in Counter(self.classes).items() if count > 1]
        if twice:
            raise ValueError(f"classes: {twice[0]!r} occurs more than once")
        if mistake := _TRAIN.mistake(self.train):
            raise ValueError(mistake.replace("train must", "train: Input must", 1))


def write_model_document(path: Path, document: ModelDocument) -> None:
    """Write ``model.json``."""
    write_document(path, document, version=MODEL_FORMAT)


def read_model_document(path: Path) -> ModelDocument:
    """Read ``model.json``.

    :raises RunError: the file is missing or damaged, or has another format version.
    """
    return read_document(ModelDocument, path, version=MODEL_FORMAT, remedy=_REMEDY)
