"""The search over what to train: the head, then deeper blocks while validation shows that they help."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.config import FitSettings, parse_duration
from headstart.errors import CutError
from headstart.evaluate.schema import EpochRecord, TrialRecord
from headstart.events import Events, TrialEnded
from headstart.execution.memory import trim_heap
from headstart.train.cross_fitting import cross_fitted_choice, random_folds
from headstart.train.metrics import paired_difference
from headstart.train.unfreezing import DEEPER, improves, select_best
from headstart.workflow.dataset import MIN_IMAGES_PER_CLASS, Dataset
from headstart.workflow.extraction import FeatureExtractor, open_extractor
from headstart.workflow.forecast import forecast
from headstart.workflow.glimpse import MIN_CHECKED, Glimpse, look
from headstart.workflow.trials import Trial, fine_tune, head_trials, starting_head

__all__ = ["Search", "search_trials"]


@dataclass(frozen=True)
class Search:
    """The trials, the one that is kept, and why no deeper one was tried."""

    trials: tuple[Trial, ...]
    chosen: Trial
    solved: int  # how many of the trials, the first ones, are solved heads
    stop_reason: str = ""
    glimpse: Trial | None = None  # at a deeper trial that was not promising

    @property
    def dataset(self) -> Dataset:
        """As it is after the last trial: images may have vanished."""
        return self.trials[-1].dataset

    def cross_fitted_logits(self, dataset: Dataset) -> NDArray[np.float32]:
        """Logits (V, C) of the selection split: of each image, those of the trial that the other images choose.

        Its figures do not owe anything to the choice between the trials, as those of the chosen trial do. The logits of
        other trials are scaled to the temperature of the chosen one.

        :param dataset: of which images may have vanished since the last trial.
        """
        trials = [trial.on(dataset) for trial in self.trials]
        losses = [trial.image_log_losses for trial in trials]

        def choose(seen: NDArray[np.bool_]) -> int:
            return select_best([each[seen] for each in losses], solved=self.solved)

        seed, groups = self.chosen.extractor.settings.seed, dataset.fold_groups(dataset.selection_split)
        folds = random_folds(len(losses[0]), seed, groups=groups)
        chosen = cross_fitted_choice(folds, choose)
        logits = self.chosen.on(dataset).logits.copy()
        for number in np.unique(chosen):
            if trials[number].name != self.chosen.name:
                rows, scale = chosen == number, self.chosen.temperature / trials[number].temperature
                logits[rows] = trials[number].logits[rows] * scale
        return logits

    def history(self) -> tuple[EpochRecord, ...]:
        """The records of all trials."""
        return tuple(record for trial in self._shown for record in trial.history)

    def records(self) -> tuple[TrialRecord, ...]:
        """The trials as they are reported."""
        return tuple(self._record(trial) for trial in self._shown)

    @property
    def _shown(self) -> tuple[Trial, ...]:
        return (*self.trials, *([] if self.glimpse is None else [self.glimpse]))

    def _record(self, trial: Trial) -> TrialRecord:
        chosen, notes = self.chosen.name, []
        if trial is not self.glimpse and trial.image_log_losses.mean() < self.chosen.image_log_losses.mean():
            notes.append(f"lower than {chosen} by less than one standard error: {chosen} is kept")
        if trial is self._shown[-1] and self.stop_reason:
            notes.append(self.stop_reason)
        return trial.record(chosen=trial is self.chosen, note="; ".join(notes))


def search_trials(extractor: FeatureExtractor, dataset: Dataset, *, start: float, events: Events) -> Search:
    """Train what ``--train`` says; with "auto" the head first, then deeper blocks while that improves validation.

    :param extractor: cut for the first trial, whose features have been extracted.
    :param start: of the fit, in ``time.monotonic()``; ``--budget`` counts from it.
    """
    settings, stop_reason = extractor.settings, ""
    deadline = start + parse_duration(settings.budget)
    if extractor.train == "head":
        trials = head_trials(extractor, dataset, events)
    else:
        trials = [fine_tune(extractor, dataset, events)]
    for trial in trials:
        _announce(trial, events)
    trim_heap()  # of the vectors and of what was solved on them
    heads, head, glimpse = len(trials), trials[-1], None
    for train in DEEPER if settings.train == "auto" else ():
        deeper = _cut_deeper(extractor, train, trials, deadline, events)
        if isinstance(deeper, str):
            stop_reason = deeper
            events.notice(stop_reason)
            break
        begin = starting_head(head, trials[-1].dataset)
        seen = look(deeper, trials[-1].dataset, events, head=begin)
        trials = [each.on(seen.dataset) for each in trials]
        if not seen.promising:
            glimpse = seen.trial
            _announce(glimpse, events)
            stop_reason = _after_glimpse(train, seen)
            break
        trial = fine_tune(deeper, seen.dataset, events, head=begin, deadline=deadline)
        trials = [each.on(trial.dataset) for each in [*trials, trial]]
        _announce(trial, events)
    chosen = trials[select_best([trial.image_log_losses for trial in trials], solved=heads)]
    return Search(tuple(trials), chosen, heads, stop_reason, glimpse)


def _after_glimpse(train: str, seen: Glimpse) -> str:
    """What is not tried since a glimpse was not promising; empty for the last trial."""
    deeper = DEEPER[DEEPER.index(train) + 1 :]
    change, margin = seen.change
    reason = f"{train} changed the log-loss of the head that it began with by {change:+.3f} ± {margin:.3f}"
    return f"{reason}: {deeper[0]} is not tried" if deeper else ""


def _cut_deeper(
    extractor: FeatureExtractor, train: str, trials: list[Trial], deadline: float, events: Events
) -> FeatureExtractor | str:
    """The backbone cut for the next trial, or the reason why it is not tried."""
    settings = extractor.settings
    if reason := _reason_to_stop(trials, train, deadline, settings):
        return reason
    try:
        deeper = open_extractor(
            extractor.backbone, train, settings, device=extractor.device, calibration=extractor.calibration
        )
    except CutError as error:
        return f"no more of this network can be trained: {error}"
    cost = forecast(deeper, trials[-1].dataset, glimpse=True)
    if time.monotonic() + cost.seconds > deadline:
        deeper.release()
        return (
            f"{train} would take about {cost.seconds:.0f} s, more than is left of --budget {settings.budget}: not tried"
        )
    events.notice(f"{train}: about {cost.seconds:.0f} s, or {cost.glimpse:.0f} s if a glimpse shows no gain")
    return deeper


def _reason_to_stop(trials: list[Trial], train: str, deadline: float, settings: FitSettings) -> str:
    """Why ``train`` is not tried after these trials; empty if it is."""
    last = trials[-1]
    if last.dataset.cross_validated:
        return f"fewer than {MIN_IMAGES_PER_CLASS} images per class: only the head is trained"
    if len(last.image_log_losses) < MIN_CHECKED:
        return (
            f"fewer than {MIN_CHECKED} validation images: they cannot show whether {train} helps; "
            "only the head is trained"
        )
    if len(trials) > 1 and not improves(trials[-2].image_log_losses, last.image_log_losses):
        mean, error = paired_difference(trials[-2].image_log_losses, last.image_log_losses)
        return (
            f"{last.name} changed the log-loss of {trials[-2].name} by {-mean:+.3f} ± {error:.3f}: {train} is not tried"
        )
    if time.monotonic() > deadline:
        return f"the time is used up (--budget {settings.budget}): {train} is not tried"
    return ""


def _announce(trial: Trial, events: Events) -> None:
    record = trial.record()
    accuracy = record.accuracy
    events.emit(TrialEnded(trial.name, accuracy.value, accuracy.low, accuracy.high, record.log_loss, trial.seconds))
