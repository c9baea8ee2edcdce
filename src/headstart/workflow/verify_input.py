"""Verification of a network's preprocessing: the usual alternatives are compared on labeled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.manifest import Manifest
from headstart.evaluate.intervals import wilson
from headstart.evaluate.metrics import log_losses
from headstart.evaluate.schema import Interval
from headstart.events import Events
from headstart.workflow.evaluate import select_labeled

__all__ = ["InputVerdict", "Preprocessing", "verify_input"]

_RANGES = {
    "imagenet": "mean and standard deviation of ImageNet",
    "-1:1": "[-1, 1]",
    "0:1": "[0, 1]",
    "0:255": "[0, 255]",
}
_GEOMETRIES: dict[str, dict[str, Any]] = {
    "shorter side resized to the input, center crop": {"crop": 1.0, "crop_mode": "center"},
    "whole image, aspect ratio not kept": {"framing": "whole"},
    "shorter side resized to 8/7 of the input, center crop": {"crop": 0.875, "crop_mode": "center"},
}


@dataclass(frozen=True)
class Preprocessing:
    """One way to present images to the network, and its result."""

    name: str
    changes: dict[str, Any]  # to the classifier's own InputSpec
    top1: Interval
    log_loss: float


@dataclass(frozen=True)
class InputVerdict:
    """All kinds of preprocessing that were tried, the classifier's own first."""

    candidates: tuple[Preprocessing, ...]
    images: int

    @property
    def best(self) -> Preprocessing:
        """The one with the highest accuracy; in a tie, with the lowest log-loss."""
        return _best(self.candidates)

    @property
    def own_fits(self) -> bool:
        """Whether no other accuracy is above the 95 % interval of the classifier's own."""
        own = self.candidates[0]
        return self.best is own or self.best.top1.value <= own.top1.high

    def lines(self) -> list[str]:
        """Text for a terminal, best first."""
        order = sorted(self.candidates, key=lambda each: (-each.top1.value, each.log_loss))
        lines = [f"{'top-1':>6}  {'95 % interval':>15}  {'log-loss':>8}  preprocessing ({self.images} images)"]
        for each in order:
            interval = f"{each.top1.low:.1%} to {each.top1.high:.1%}"
            lines.append(f"{each.top1.value:6.1%}  {interval:>15}  {each.log_loss:8.3f}  {each.name}")
        if self.own_fits:
            return [*lines, "the preprocessing of the network fits: no other is significantly better"]
        options = " ".join(f"--{name} {value}" for name, value in self.best.changes.items() if name != "crop_mode")
        return [*lines, f"the preprocessing of the network does not fit; use {options}"]


def verify_input(
    classifier: Classifier,
    manifest: Manifest,
    settings: EngineSettings | None = None,
    *,
    sample: int = 500,
    seed: int = 0,
    events: Events | None = None,
) -> InputVerdict:
    """Compare channel orders and pixel ranges, and then, with the best of these, resizing and cropping.

    :param manifest: images with labels, of which ``sample`` are drawn.
    :raises DataError: no image has a label, or a label is none of the classifier's classes.
    :raises SettingsError: a setting is invalid, or the device or engine is not available.
    """
    settings, events = settings or EngineSettings(), events or Events()
    settings.check()
    labeled = select_labeled(manifest, classifier.classes)
    drawn = np.sort(np.random.default_rng(seed).permutation(len(labeled))[:sample])
    images = labeled.select(drawn)

    def tried(name: str, changes: dict[str, Any]) -> Preprocessing:
        return _try(classifier, images, name, changes, settings, events)

    own = tried("its own", {})
    candidates = [own, *(tried(name, changes) for name, changes in _pixel_formats(classifier))]
    best = _best(candidates)
    for geometry, changes in _GEOMETRIES.items():
        combined = {**best.changes, **changes}
        if classifier.spec.changed(**combined) not in (classifier.spec.changed(**each.changes) for each in candidates):
            candidates.append(tried(geometry if best is own else f"{best.name}; {geometry}", combined))
    return InputVerdict(tuple(candidates), len(images))


def _best(candidates: tuple[Preprocessing, ...] | list[Preprocessing]) -> Preprocessing:
    return max(candidates, key=lambda each: (each.top1.value, -each.log_loss))


def _pixel_formats(classifier: Classifier) -> Iterator[tuple[str, dict[str, Any]]]:
    for channels in ("RGB", "BGR"):
        for values, description in _RANGES.items():
            changes: dict[str, Any] = {"channels": channels, "range": values}
            if classifier.spec.changed(**changes) != classifier.spec:
                yield f"{channels}, {description}", changes


def _try(
    classifier: Classifier,
    manifest: Manifest,
    name: str,
    changes: dict[str, Any],
    settings: EngineSettings,
    events: Events,
) -> Preprocessing:
    changed = replace(classifier, spec=classifier.spec.changed(**changes))
    result = changed.infer(manifest, settings=settings, events=events)
    readable = np.ones(len(manifest), bool)
    readable[[row for row, _ in result.problems]] = False
    targets = manifest.select(readable).targets(classifier.classes)
    correct = int((result.probabilities.argmax(1) == targets).sum())
    losses = log_losses(targets, result.probabilities.astype(np.float64))
    return Preprocessing(name, changes, wilson(correct, len(targets)), float(losses.mean()))
