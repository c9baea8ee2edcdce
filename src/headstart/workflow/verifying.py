"""Which reading of the pictures a network was trained with: the usual ones are tried on labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headstart.classifier import Classifier
from headstart.data.manifest import Manifest
from headstart.evaluate.intervals import Interval, wilson
from headstart.evaluate.metrics import log_losses
from headstart.progress import Progress
from headstart.settings import EngineSettings
from headstart.workflow.predicting import labelled_for

__all__ = ["Reading", "Verdict", "verify_input"]

_RANGES = ("imagenet", "-1:1", "0:1", "0:255")
_NAMES = {"imagenet": "ImageNet's mean and deviation", "-1:1": "[-1, 1]", "0:1": "[0, 1]", "0:255": "[0, 255]"}
_GEOMETRIES: dict[str, dict[str, Any]] = {
    "shorter side to the input, centre crop": {"crop": 1.0, "crop_mode": "center"},
    "whole picture, shape given up": {"framing": "whole"},
    "shorter side to 8/7 of the input, centre crop": {"crop": 0.875, "crop_mode": "center"},
}


@dataclass(frozen=True)
class Reading:
    """One way to show pictures to the network, and what it made of them."""

    name: str
    changes: dict[str, Any]  # to the classifier's own InputSpec
    top1: Interval
    log_loss: float


@dataclass(frozen=True)
class Verdict:
    """The readings that were tried, the classifier's own first."""

    readings: tuple[Reading, ...]
    images: int

    @property
    def best(self) -> Reading:
        """The most images right; among equals, the lowest log-loss."""
        return max(self.readings, key=lambda reading: (reading.top1["value"], -reading.log_loss))

    @property
    def own_fits(self) -> bool:
        """Whether none is better than the classifier's own by more than its 95 % interval."""
        own = self.readings[0]
        return self.best is own or self.best.top1["value"] <= own.top1["high"]

    def lines(self) -> list[str]:
        """For a terminal, best first."""
        order = sorted(self.readings, key=lambda reading: (-reading.top1["value"], reading.log_loss))
        told = [f"{'top-1':>6}  {'95 % interval':>15}  {'log-loss':>8}  reading ({self.images} images)"]
        for reading in order:
            top1 = reading.top1
            between = f"{top1['low']:.1%} to {top1['high']:.1%}"
            told.append(f"{top1['value']:6.1%}  {between:>15}  {reading.log_loss:8.3f}  {reading.name}")
        if self.own_fits:
            return [*told, "its own reading fits: no other is better by more than chance"]
        options = " ".join(f"--{name} {value}" for name, value in self.best.changes.items() if name != "crop_mode")
        return [*told, f"its own reading does not fit; use {options}"]


def verify_input(
    classifier: Classifier,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    sample: int = 500,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """Try orders of colours and ranges of values, then with the best of them what part of the picture is shown.

    :param manifest: images with labels; ``sample`` of them are drawn.
    :raises DataError: no image has a label, or a label is none of the classifier's classes.
    """
    settings, progress = settings or EngineSettings(), progress or Progress()
    settings.check()
    labelled = labelled_for(classifier, manifest)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(labelled))[:sample])
    chosen = labelled.select(drawn)
    own = _measured(classifier, chosen, "its own", {}, settings, progress)
    readings = [own]
    for name, changes in _colours(classifier):
        readings.append(_measured(classifier, chosen, name, changes, settings, progress))
    best = max(readings, key=lambda reading: (reading.top1["value"], -reading.log_loss))
    for geometry, changes in _GEOMETRIES.items():
        both = {**best.changes, **changes}
        if classifier.spec.changed(**both) not in (classifier.spec.changed(**each.changes) for each in readings):
            name = geometry if best is own else f"{best.name}; {geometry}"
            readings.append(_measured(classifier, chosen, name, both, settings, progress))
    return Verdict(tuple(readings), len(chosen))


def _colours(classifier: Classifier) -> Iterator[tuple[str, dict[str, Any]]]:
    for channels in ("RGB", "BGR"):
        for values in _RANGES:
            changes: dict[str, Any] = {"channels": channels, "range": values}
            if classifier.spec.changed(**changes) != classifier.spec:
                yield f"{channels}, {_NAMES[values]}", changes


def _measured(
    classifier: Classifier,
    manifest: Manifest,
    name: str,
    changes: dict[str, Any],
    settings: EngineSettings,
    progress: Progress,
) -> Reading:
    shown = replace(classifier, spec=classifier.spec.changed(**changes))
    probabilities, problems = shown.probabilities(manifest, settings=settings, progress=progress)
    readable = np.ones(len(manifest), bool)
    readable[[row for row, _ in problems]] = False
    targets = manifest.select(readable).targets(classifier.classes)
    right = int((probabilities.argmax(1) == targets).sum())
    losses = log_losses(targets, probabilities.astype(np.float64))
    return Reading(name, changes, wilson(right, len(targets)), float(losses.mean()))
