"""The content of ``model.json``, which describes a classifier beside its weights. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from headstart.data.spec import InputSpec
from headstart.documents import read_document, write_document
from headstart.inference.results import PredictionSetRule

__all__ = [
    "MODEL_FORMAT",
    "InputRecord",
    "ModelDocument",
    "ModelMetadata",
    "read_model_document",
    "write_model_document",
]

MODEL_FORMAT = 1
_REMEDY = "Save the classifier again."


@dataclass(frozen=True)
class ModelMetadata:
    """Where the weights of a classifier came from, and how its frozen part is run."""

    source: str  # of the pretrained weights, in words
    licence: str  # of the pretrained weights
    feature_dtype: str = "float32"  # in which the fit stored features
    precision: str = "float32"  # of the frozen part during the fit, or "auto"
    cut: str = ""  # the last operation of the frozen part; empty if the whole network was trained


@dataclass(frozen=True)
class InputRecord:
    """The fields of :class:`headstart.InputSpec`, all of which a document must state."""

    height: int
    width: int
    crop: float
    crop_mode: str
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str

    @classmethod
    def of(cls, spec: InputSpec) -> InputRecord:
        """Record a spec."""
        return cls(**asdict(spec))

    def spec(self) -> InputSpec:
        """The recorded spec."""
        return InputSpec(**asdict(self))


@dataclass(frozen=True)
class ModelDocument:
    """A classifier without its arrays. Digests are BLAKE2b of whole files, in 32 hexadecimal digits."""

    model: str  # name of the network
    train: str  # what was trained, which decides where the network is cut
    classes: tuple[str, ...]  # in the order of the logits
    input: InputRecord
    temperature: float
    tta_flip: bool
    prediction_sets: PredictionSetRule | None
    metadata: ModelMetadata
    headstart: str  # version
    torch: str  # version
    digest: str  # of model.safetensors
    files: dict[str, str] = field(default_factory=dict)  # digests of the files of an imported network
    ood_detector: str | None = None  # digest of ood_detector.safetensors


def write_model_document(path: Path, document: ModelDocument) -> None:
    """Write ``model.json``."""
    write_document(path, document, version=MODEL_FORMAT)


def read_model_document(path: Path) -> ModelDocument:
    """Read ``model.json``.

    :raises RunError: the file is missing or damaged, or has another format version.
    """
    return read_document(ModelDocument, path, version=MODEL_FORMAT, remedy=_REMEDY)
