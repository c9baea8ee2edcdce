"""The seam of tracking: what a tracker is, the registry, and the listener that feeds one with the events of a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from headstart.errors import SettingsError, did_you_mean
from headstart.evaluate.schema import Evaluation, Interval
from headstart.events import EpochEnded, Event, TrialEnded
from headstart.files import reason_of

__all__ = ["Tracker", "TrackerRun", "Tracking", "final_metrics", "register_tracker", "tracker_named", "trackers"]

_FIGURES = ("top1", "top5", "balanced_accuracy", "macro_f1", "log_loss", "brier", "ece")


class TrackerRun(Protocol):
    """One fit in a tracker."""

    where: str  # a folder or an address, for the user

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log values of a step, which is an epoch or 0."""

    def log_documents(self, run: Path) -> None:
        """Log the model card and the report of a run folder, or what of them the tool can keep. The fit is done."""

    def close(self) -> None:
        """Write what is not written yet; nothing is logged after it."""


class Tracker(Protocol):
    """A tool that keeps the settings and metrics of fits."""

    name: str  # as --track takes it

    def check(self) -> None:
        """Check before any work that its packages are installed, without importing them.

        :raises SettingsError: one is missing; the message has the command that installs it.
        """

    def open(self, folder: Path, settings: Mapping[str, object]) -> TrackerRun:
        """Begin to track a fit.

        :param folder: of the run.
        :param settings: by name, as plain JSON values.
        """


_TRACKERS: dict[str, Tracker] = {}


def register_tracker(tracker: Tracker) -> None:
    """Make a tracker known to ``--track``; one of the same name is replaced."""
    _TRACKERS[tracker.name] = tracker


def trackers() -> tuple[str, ...]:
    """The names of all trackers."""
    return tuple(_TRACKERS)


def tracker_named(name: str) -> Tracker:
    """Look up a tracker.

    :raises SettingsError: there is none of that name.

    >>> tracker_named("mlflo")
    Traceback (most recent call last):
    headstart.errors.SettingsError: track must be one of mlflow, tensorboard, trackio, got 'mlflo'; did you mean mlflow?
    """
    if name not in _TRACKERS:
        hint = did_you_mean(name, _TRACKERS)
        raise SettingsError(f"track must be one of {', '.join(_TRACKERS)}, got {name!r}{hint}")
    return _TRACKERS[name]


class Tracking:
    """A listener of events that logs epochs and trials. A tracker that fails is left, with a warning; the fit goes on.

    Nothing is opened before the first metric, so that a fit that is refused leaves nothing.
    """

    def __init__(
        self, tracker: Tracker, folder: Path, settings: Mapping[str, object], *, warn: Callable[[str], object]
    ) -> None:
        self._tracker, self._folder, self._settings, self._warn = tracker, folder, settings, warn
        self._run: TrackerRun | None = None
        self._failed = False

    @property
    def where(self) -> str | None:
        """Where the fit is tracked; None if it is not, or not completely."""
        return None if self._run is None or self._failed else self._run.where

    def __call__(self, event: Event) -> None:
        """Log the metrics of an epoch, or of a trial."""
        if isinstance(event, EpochEnded):
            names = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")
            self._log({f"{event.trial}/{name}": getattr(event, name) for name in names}, event.epoch)
        elif isinstance(event, TrialEnded):
            names = ("accuracy", "low", "high", "log_loss", "seconds")
            self._log({f"trials/{event.trial}/{name}": getattr(event, name) for name in names}, 0)

    def finish(self, evaluation: Evaluation, run: Path) -> str | None:
        """Log the final metrics with their intervals, and the documents; return where the fit is tracked."""
        self._log(final_metrics(evaluation), 0)
        self._try(lambda tracked: tracked.log_documents(run))
        return self.where

    def close(self) -> None:
        """End the tracking, also of a fit that failed."""
        if self._run is not None:
            self._try(lambda run: run.close())

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._try(lambda run: run.log_metrics(finite, step))

    def _try(self, work: Callable[[TrackerRun], object]) -> None:
        if self._failed:
            return
        try:
            if self._run is None:
                self._run = self._tracker.open(self._folder, self._settings)
            work(self._run)
        except Exception as failure:
            self._failed = True
            self._warn(
                f"--track {self._tracker.name}: {reason_of(failure)}; the fit goes on, and is tracked no further"
            )


def final_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The figures of an evaluation by split and name, each with its interval as ``low`` and ``high``."""
    found: dict[str, float] = {}
    for name in _FIGURES:
        interval: Interval | None = getattr(evaluation, name)
        if interval is not None:
            shown = f"{evaluation.split}/{'accuracy' if name == 'top1' else name}"
            found |= {shown: interval.value, f"{shown}/low": interval.low, f"{shown}/high": interval.high}
    return found
