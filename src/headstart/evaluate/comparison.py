"""The typed document of a comparison: what ``headstart compare --json`` prints, and its page shows.

Proportions are between 0 and 1, losses in nats, durations in seconds. ``docs/formats.md`` has the JSON schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from headstart.evaluate.paired import Differences, Figures

__all__ = ["COMPARISON_FORMAT", "ChangedImage", "ComparedPair", "ComparedRun", "Comparison", "DifferingSetting", "Use"]

COMPARISON_FORMAT = 1

Use: TypeAlias = Literal["none", "choices", "cross-validation", "fitted", "unknown"]
"""What a run used the compared images for: nothing; to choose what to train, with which penalty and the like; the same,
by cross-validation; to fit the classifier; or it is not known."""


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs, with its figures on the compared images. What only a fit knows is None without one."""

    name: str  # unique in the comparison
    folder: str
    split: str  # that was evaluated
    images: int  # of that split
    classes: int  # that the classifier knows
    use: Use
    fitted_images: int  # of the compared images, those that the classifier was fitted to
    figures: Figures
    model: str | None = None
    train: str | None = None
    training_images: int | None = None
    parameters: int | None = None
    trainable_parameters: int | None = None
    classifier_bytes: int | None = None  # of the folder on the disk
    seconds: float | None = None  # of the fit
    seconds_by_stage: dict[str, float] = field(default_factory=dict)
    images_per_second: float | None = None  # of the evaluation, with decoding

    @property
    def fair(self) -> bool:
        """Whether its figures may be set beside those of others."""
        return self.use != "fitted"


@dataclass(frozen=True)
class ChangedImage:
    """An image that one of two runs classifies correctly and the other does not."""

    uri: str
    label: str
    predicted: str  # by the run
    confidence: float
    baseline_predicted: str
    baseline_confidence: float


@dataclass(frozen=True)
class ComparedPair:
    """A run beside the baseline; the images have the most confident error first."""

    run: str
    differences: Differences
    gained: tuple[ChangedImage, ...]  # right in the run, wrong in the baseline
    lost: tuple[ChangedImage, ...]  # wrong in the run, right in the baseline


@dataclass(frozen=True)
class DifferingSetting:
    """A setting that is not the same in all runs."""

    name: str
    values: tuple[Any, ...]  # in the order of the runs; None where a run does not have it


@dataclass(frozen=True)
class Comparison:
    """Runs on the images that all of them were evaluated on."""

    baseline: str
    on: str | None  # the evaluation, or None: each run's own split
    images: int
    classes: int  # that the compared images belong to
    matched_by: Literal["content", "path"]
    label_conflicts: int  # shared images that are left out because the runs disagree on their label
    runs: tuple[ComparedRun, ...]
    pairs: tuple[ComparedPair, ...]  # of the runs that can be compared with the baseline
    settings: tuple[DifferingSetting, ...]
    warnings: tuple[str, ...]  # that change what the figures mean
    notes: tuple[str, ...]
    arguments: tuple[str, ...]  # as typed
    headstart: str  # version
    created: str  # ISO 8601, with the offset from UTC

    def has(self, figure: str) -> bool:
        """Whether every run has this figure, by its name in :class:`~headstart.evaluate.paired.Figures`."""
        return all(getattr(run.figures, figure) is not None for run in self.runs)
