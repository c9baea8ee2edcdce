"""The JSON of what is learned: states, evaluations, jobs and results."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BinView",
    "CellError",
    "ClassFiguresView",
    "EvaluationView",
    "ExportRequest",
    "ExportView",
    "FitRequest",
    "IntervalView",
    "JobView",
    "JobsView",
    "LearningView",
    "PointView",
    "RunView",
    "WrongView",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True)


class IntervalView(_Model):
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


class PointView(_Model):
    """The accuracy that there was with a number of labels."""

    labels: int
    accuracy: float
    low: float
    high: float


class LearningView(_Model):
    """How far the live classifier is."""

    phase: Literal["opening", "features", "solving", "idle", "failed"]
    model: str
    images_with_features: int = 0
    images_total: int = 0
    labels: int = 0
    learned: Annotated[int, Field(description="labeled images that the head was solved on last")] = 0
    revision: Annotated[int, Field(description="that was solved last; 0 before the first")] = 0
    suggested: Annotated[int, Field(description="the revision that the suggestions are for")] = 0
    accuracy: IntervalView | None = None
    log_loss: float | None = None
    judged: Annotated[int, Field(description="images that the accuracy is of")] = 0
    seconds: float | None = None
    curve: list[PointView] = []
    message: str = ""


class ClassFiguresView(_Model):
    """The figures of a class."""

    id: int
    name: str
    count: int
    precision: float | None
    recall: IntervalView | None


class BinView(_Model):
    """Images by the largest probability."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


class CellError(_Model):
    """An image of which another class than its label is predicted."""

    id: int
    given: int
    predicted: int
    probability: float


class WrongView(_Model):
    """An image whose label is likely wrong."""

    id: int
    given: int
    likelier: int
    probability: float


class EvaluationView(_Model):
    """What cross-fitted predictions say of the labels; without classes before anything was learned."""

    revision: int
    images: int
    accuracy: IntervalView | None
    classes: list[ClassFiguresView]
    confusion: Annotated[list[list[int]], Field(description="a row per label, a column per prediction")]
    bins: list[BinView]
    errors: list[CellError]
    wrong: list[WrongView]


class EpochView(_Model):
    """One epoch of fine-tuning."""

    trial: str
    epoch: int
    epochs: int
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    seconds: float


class TrialView(_Model):
    """One candidate of the search over what to train."""

    trial: str
    accuracy: float
    low: float
    high: float
    log_loss: float | None
    seconds: float


class JobView(_Model):
    """A fit or an export."""

    id: int
    kind: Literal["fit", "export"]
    state: Literal["queued", "running", "done", "failed", "stopped"]
    title: str
    stage: str
    progress: float | None
    seconds: float
    seconds_left: float | None
    message: str
    epochs: list[EpochView]
    trials: list[TrialView]
    result: Annotated[str | None, Field(description="name of the run, or of the exported file")]


class JobsView(_Model):
    """The jobs since the start, newest first."""

    jobs: list[JobView]


class FitRequest(_Model):
    """A fit of the labels as they are now."""

    budget: Annotated[str, Field(min_length=1, max_length=40, description="for example 10m")] = "10m"


class ExportRequest(_Model):
    """An export of a run; by default the newest."""

    format: Annotated[str, Field(min_length=1, max_length=40)]
    run: Annotated[str | None, Field(max_length=200)] = None


class RunView(_Model):
    """A trained classifier."""

    name: str
    accuracy: IntervalView | None
    report: bool


class ExportView(_Model):
    """An exported file."""

    file: str
    bytes: int
    format: str
    run: str
