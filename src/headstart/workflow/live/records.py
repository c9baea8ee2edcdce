"""What the live classifier tells, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headstart.config import FitSettings
from headstart.evaluate.schema import Interval

__all__ = ["CurvePoint", "Guess", "LearningState", "LivePrediction", "LiveSettings", "Phase"]

Phase = Literal["opening", "features", "solving", "idle", "failed"]


@dataclass(frozen=True)
class LiveSettings:
    """How the live classifier works."""

    fit: FitSettings = field(default_factory=FitSettings)  # of a later fit, which then finds the features in the store
    suggestions: str = "diverse"  # the rule of headstart.train.suggestions
    spread: int = 30  # how many suggestions are chosen to be spread: about as many as are labeled at a time
    max_vector_bytes: int = 1 << 30  # of vectors in memory; further images get no suggestions


@dataclass(frozen=True)
class CurvePoint:
    """The accuracy that there was with a number of labels."""

    labels: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningState:
    """How far the live classifier is."""

    phase: Phase
    model: str
    images_with_features: int
    images_total: int  # that can be used
    labels: int
    learned: int  # labeled images that the head was solved on last: those that have features
    revision: int  # that was solved last; 0 before the first
    suggested: int  # the revision that the suggestions are for: they follow shortly after the accuracy
    accuracy: Interval | None  # cross-fitted, with its 95 % interval
    log_loss: float | None  # nats, cross-fitted
    judged: int  # images that the accuracy is of
    seconds: float | None  # from a change of the labels to the accuracy
    curve: tuple[CurvePoint, ...]  # by number of labels
    message: str  # why there is no accuracy yet, or what went wrong; empty if all is well


@dataclass(frozen=True)
class Guess:
    """A class that an image may have."""

    class_id: int
    name: str
    probability: float


@dataclass(frozen=True)
class LivePrediction:
    """What the live head says of an image that is no part of the project, or why it says nothing."""

    name: str
    problem: str | None = None
    top: tuple[Guess, ...] = ()  # most probable first
    prediction_set: tuple[str, ...] | None = None  # contains the true class with probability 0.9; None: too few labels
    out_of_distribution: bool | None = None  # whether it looks like none of the classes; None: too few labels
