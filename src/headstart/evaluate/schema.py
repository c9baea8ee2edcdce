"""The typed documents of a run: evaluation, training history and run info.

Proportions are between 0 and 1, losses in nats, durations in seconds. The files are described in ``docs/formats.md``,
with their JSON schemas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from headstart.description import DataDescription
from headstart.documents import read_document, read_lines, write_document, write_lines

__all__ = [
    "EVALUATION_FORMAT",
    "PRETRAINED_ON",
    "RUN_FORMAT",
    "CalibrationMetrics",
    "CalibrationScores",
    "ClassCoverage",
    "ClassMetrics",
    "ConfusedPair",
    "EpochRecord",
    "Evaluation",
    "HistogramBin",
    "Interval",
    "LeakedImages",
    "NearLeaks",
    "OutOfDistributionMetrics",
    "PredictionSetMetrics",
    "PretrainedScore",
    "ReliabilityBin",
    "RunInfo",
    "SeedSpread",
    "SetSize",
    "Summary",
    "TrialRecord",
    "read_evaluation",
    "read_history",
    "read_run_info",
    "write_evaluation",
    "write_history",
    "write_run_info",
]

EVALUATION_FORMAT = 1
RUN_FORMAT = 1
PRETRAINED_ON = "that the network was pretrained on"
"""In the note of an evaluation that names classes of the pretraining, by which the model card finds it."""
_REMEDY = "Run `headstart evaluate` or `headstart fit` again to write it anew."


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """Format all three numbers.

        >>> f"{Interval(0.842, 0.81, 0.871):.1%}"
        '84.2% (81.0% to 87.1%)'
        """
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class. Precision is None if the class was never predicted, recall if it has no images."""

    name: str
    images: int
    precision: float | None
    recall: Interval | None
    f1: float | None


@dataclass(frozen=True)
class ConfusedPair:
    """The number of images of class ``true`` predicted as ``predicted``, and their share of class ``true``."""

    true: str
    predicted: str
    images: int
    share: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence is above ``low`` and at most ``high``: their mean confidence and their accuracy."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class CalibrationScores:
    """Log-loss and expected calibration error."""

    log_loss: Interval
    ece: Interval


@dataclass(frozen=True)
class CalibrationMetrics:
    """Scores before and after temperature scaling.

    If the temperature was fitted on the evaluated images, the scores after it are ``cross_fitted``: each image is
    scaled with a temperature that was fitted on other images.
    """

    temperature: float
    cross_fitted: bool
    images: int
    before: CalibrationScores
    after: CalibrationScores


@dataclass(frozen=True)
class SetSize:
    """The number of images whose prediction set has ``size`` classes, and how many contain the true class."""

    size: int
    images: int
    covered: int


@dataclass(frozen=True)
class ClassCoverage:
    """The share of the images of one class whose prediction set contains it."""

    name: str
    images: int
    covered: Interval


@dataclass(frozen=True)
class PredictionSetMetrics:
    """Coverage and size of prediction sets."""

    method: str
    coverage: float  # the target
    threshold: float
    cross_fitted: bool
    images: int
    covered: Interval
    mean_size: Interval
    sizes: tuple[SetSize, ...]
    least_covered: ClassCoverage


@dataclass(frozen=True)
class HistogramBin:
    """The number of images with a score between ``low`` and ``high``."""

    low: float
    high: float
    images: int


@dataclass(frozen=True)
class OutOfDistributionMetrics:
    """The share of images of the classes that are flagged as out of distribution, and the histogram of their scores."""

    inlier_rate: float  # target share of images of the classes that are not flagged
    threshold: float
    cross_fitted: bool
    images: int
    flagged: Interval
    histogram: tuple[HistogramBin, ...]


@dataclass(frozen=True)
class TrialRecord:
    """One candidate of the search over what to train, on the selection split."""

    name: str
    accuracy: Interval
    log_loss: float
    seconds: float
    chosen: bool
    note: str = ""


@dataclass(frozen=True)
class SeedSpread:
    """The same fit with several seeds."""

    seeds: tuple[int, ...]
    accuracy: tuple[float, ...]
    log_loss: tuple[float, ...]
    mean: float  # of the accuracies
    sd: float


@dataclass(frozen=True)
class Summary:
    """What was evaluated. Fields that only a fit knows are None for ``headstart evaluate``."""

    model: str
    images: dict[str, int]  # usable images per split
    problems: int  # images that were skipped
    seconds: dict[str, float]  # per stage
    weights: str | None = None  # where they came from
    train: str | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    bytes_per_image: int | None = None  # in the feature store
    images_per_second: float | None = None


@dataclass(frozen=True)
class LeakedImages:
    """Images that the classifier was fitted to and that are left out of the metrics; ``top1`` includes them."""

    images: int
    top1: Interval

    def note(self) -> str:
        """The sentence that states both figures.

        >>> LeakedImages(60, Interval(0.967, 0.92, 0.99)).note()
        '60 more images were used to fit the classifier and are left out; with them, the accuracy would be 96.7%.'
        """
        return (
            f"{self.images:,} more images were used to fit the classifier and are left out; "
            f"with them, the accuracy would be {self.top1.value:.1%}."
        )


@dataclass(frozen=True)
class NearLeaks:
    """Evaluated images with a near-duplicate among those that were fitted to; ``top1`` is without them."""

    images: int
    top1: Interval

    def note(self) -> str:
        """The sentence that states both figures.

        >>> NearLeaks(1, Interval(0.912, 0.89, 0.93)).note()
        '1 of these images has a near-duplicate that was fitted to; without it, the accuracy is 91.2% (89.0% to 93.0%).'
        """
        have = "has" if self.images == 1 else "have"
        return (
            f"{self.images:,} of these images {have} a near-duplicate that was fitted to; "
            f"without {'it' if self.images == 1 else 'them'}, the accuracy is {self.top1:.1%}."
        )


@dataclass(frozen=True)
class PretrainedScore:
    """The pretrained head's own accuracy on the images of the classes that it knows by name, choosing among these.

    ``fitted`` is that of the fitted classifier on the same images.
    """

    classes: int
    images: int
    top1: Interval
    fitted: Interval

    def note(self) -> str:
        """The sentence that states both figures.

        >>> PretrainedScore(118, 950, Interval(0.921, 0.9, 0.937), Interval(0.938, 0.92, 0.95)).note()
        'Pretrained, before any fit: 92.1% (90.0% to 93.7%) on the 950 images of the 118 classes that the pretrained \
head knows, choosing among these; the fitted classifier: 93.8% (92.0% to 95.0%).'
        """
        return (
            f"Pretrained, before any fit: {self.top1:.1%} on the {self.images:,} images of the {self.classes:,} "
            f"classes that the pretrained head knows, choosing among these; the fitted classifier: {self.fitted:.1%}."
        )


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a classifier on one split: the content of ``evaluation.json``."""

    split: str  # "validation", "test", or "cross-validation"
    images: int
    classes: tuple[str, ...]
    top1: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    log_loss: Interval
    brier: Interval
    ece: Interval
    per_class: tuple[ClassMetrics, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]  # rows: true classes, columns: predicted
    confused_pairs: tuple[ConfusedPair, ...]
    reliability: tuple[ReliabilityBin, ...]
    top5: Interval | None = None  # for more than 5 classes
    groups: int | None = None  # of images that belong together, which the intervals count
    calibration: CalibrationMetrics | None = None
    prediction_sets: PredictionSetMetrics | None = None
    out_of_distribution: OutOfDistributionMetrics | None = None
    trials: tuple[TrialRecord, ...] = ()
    leaks: LeakedImages | None = None
    near_leaks: NearLeaks | None = None
    pretrained: PretrainedScore | None = None
    seeds: SeedSpread | None = None
    summary: Summary | None = None
    notes: tuple[str, ...] = ()  # needed to interpret the metrics


@dataclass(frozen=True)
class EpochRecord:
    """One line of ``history.jsonl``: an epoch of fine-tuning, or one L2 penalty of a solved head."""

    stage: Literal["head", "finetune"]
    epoch: int  # from 1, within its trial
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    chosen: bool = False
    trial: str = ""
    val_balanced_loss: float | None = None
    lr: float | None = None  # fine-tuning: learning rate of the head at the first step
    l2: float | None = None  # head: penalty
    prior: str | None = None  # head: what the penalty pulls to
    stages: str | None = None  # head: the pooled stages that it was given, with their weight
    kernel: str | None = None  # head: the kernel of these features that it was given instead of them


@dataclass(frozen=True)
class RunInfo:
    """How a run was made: the content of ``settings.json``."""

    command: Literal["fit", "evaluate"]
    settings: dict[str, Any]
    headstart: str  # version
    created: str  # ISO 8601, with the offset from UTC
    seconds: float | None = None  # duration of the command
    arguments: tuple[str, ...] = ()  # as typed, for example ("headstart", "fit", "photos")
    seeds: tuple[int, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)  # of the packages that decide the result
    data: DataDescription | None = None  # how the images and labels were read; None for arrays in memory
    files: dict[str, str] = field(default_factory=dict)  # BLAKE2b of the files of the run that are read back


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write ``evaluation.json``."""
    write_document(path, evaluation, version=EVALUATION_FORMAT)


def read_evaluation(path: Path) -> Evaluation:
    """Read ``evaluation.json``.

    :raises RunError: the file is missing or damaged, or has another format version.
    """
    return read_document(Evaluation, path, version=EVALUATION_FORMAT, remedy=_REMEDY)


def write_history(path: Path, history: tuple[EpochRecord, ...]) -> None:
    """Write ``history.jsonl``."""
    write_lines(path, history)


def read_history(path: Path) -> tuple[EpochRecord, ...]:
    """Read ``history.jsonl``; empty where there is none.

    :raises RunError: a line is damaged.
    """
    return read_lines(EpochRecord, path, remedy=_REMEDY)


def write_run_info(path: Path, info: RunInfo) -> None:
    """Write ``settings.json``."""
    write_document(path, info, version=RUN_FORMAT)


def read_run_info(path: Path) -> RunInfo:
    """Read ``settings.json``.

    :raises RunError: the file is missing or damaged, or has another format version.
    """
    return read_document(RunInfo, path, version=RUN_FORMAT, remedy=_REMEDY)
