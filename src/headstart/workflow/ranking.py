"""Which network to start from: each is tried on a sample of the images, which grows while the hopeless are dropped."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart import __version__
from headstart.data.manifest import Manifest
from headstart.data.split import VALIDATION, assign_split
from headstart.errors import DataError, ModelError, StoreError
from headstart.files import write_json
from headstart.progress import Progress
from headstart.report import rank_plot
from headstart.settings import FitSettings
from headstart.train.rank import Probe, difference, hopeless, logme, probe
from headstart.workflow.candidates import Candidate, named, open_candidate
from headstart.workflow.checking import inspected

__all__ = ["Ranking", "Row", "lines", "rank", "save"]

FIRST = 25  # images a class to train on, at first
LEAST = 400  # images to train on in all, at first: with two classes, 25 of each tell nothing


@dataclass
class Row:
    """What a network showed on the largest sample that it was tried on."""

    model: str
    probe: Probe
    logme: float
    milliseconds: float  # an image, in the engine alone
    engine: str
    parameters: int
    images: tuple[int, int]  # trained on, validated on
    round: int  # of the sample, from 1
    dropped: bool = False  # as hopeless, before the last round


@dataclass
class Ranking:
    """The networks, the likeliest choice first, and how they came to be ranked."""

    rows: list[Row]
    skipped: dict[str, str]  # model -> why it was not tried
    classes: tuple[str, ...]
    stopped: str  # why no larger sample was tried
    seconds: float

    @property
    def as_good(self) -> list[Row]:
        """The first, and those of the same round that cannot be told from it: their difference may be chance."""
        best, *others = self.rows
        apart = [(row, difference(row.probe, best.probe)) for row in others if row.round == best.round]
        return [best, *(row for row, (mean, error) in apart if mean <= error)]

    @property
    def fastest(self) -> Row:
        """Of those as good as the first."""
        return min(self.as_good, key=lambda row: row.milliseconds)


def rank(
    manifest: Manifest,
    models: Sequence[str],
    settings: FitSettings | None = None,
    *,
    budget: float | None = None,
    progress: Progress | None = None,
) -> Ranking:
    """Try networks on labelled images, without training more than a head.

    :param models: names, patterns, or "embedded"; see :func:`headstart.workflow.candidates.named`.
    :param settings: as for a fit, which then finds the features that were computed; ``model`` and ``train`` are not
        looked at.
    :param budget: seconds; when the next sample would take longer, this one is the last.
    :raises DataError: the images or labels cannot be used as they are.
    :raises ModelError: none of the models can be had.
    """
    settings = settings or FitSettings()
    settings.check()
    work = _Ranking(named(models), settings, budget, progress or Progress())
    work.read(manifest)
    return work.go()


@dataclass
class _Ranking:
    """A ranking under way."""

    names: list[str]
    settings: FitSettings
    budget: float | None
    progress: Progress
    start: float = field(default_factory=time.monotonic)
    skipped: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    probing: dict[str, float] = field(default_factory=dict)  # seconds of the last probe

    data: Manifest = field(init=False)
    classes: tuple[str, ...] = field(init=False)

    def read(self, manifest: Manifest) -> None:
        """Inspect, and split as ``fit`` does with the same seed; what it would test on is not looked at."""
        labelled = manifest.select(np.array([label is not None for label in manifest.labels], bool))
        if not len(labelled):
            raise DataError("no image has a label: give a folder a class, or a table of labels (--labels TABLE)")
        settings = self.settings
        seen = inspected(labelled, settings, progress=self.progress)
        validation = VALIDATION if settings.validation is None else settings.validation
        data = assign_split(seen, validation=validation, test=settings.test or 0.0, seed=settings.seed).usable
        self.classes = data.part("train").classes
        checks = data.part("validation")
        if len(self.classes) < 2 or not len(checks):
            raise DataError(
                "models are ranked on at least 2 classes with images to train on and some to validate on; got "
                f"{len(self.classes)} with {len(checks)} images to validate on"
            )
        strange = sorted(set(checks.classes) - set(self.classes))
        if strange:
            raise DataError(f"validation has images of {strange[0]}, of which there are none to train on")
        self.data = data

    def go(self) -> Ranking:
        """Round after round."""
        counts = _counts(self.data, len(self.classes))
        alive: list[Candidate] = []
        stopped = "all images were used"
        for number, count in enumerate(counts, 1):
            parts = _sample(self.data, count, self.settings.seed)
            if number == 1:
                alive = self.open_all(parts)
            else:
                for candidate in alive:
                    self.measure(candidate, parts, number)
            if number == len(counts):
                break
            alive = self.drop(alive)
            if len(alive) == 1:
                stopped = f"no other than {alive[0].backbone.name} is left"
                break
            if self.budget is not None and (needed := self.forecast(alive, counts[number])) > self.left:
                stopped = f"{counts[number]:,} images a class would take about {needed:.0f} s, beyond the budget"
                break
        rows = sorted(self.rows.values(), key=lambda row: (-row.round, row.probe.log_loss["value"]))
        return Ranking(rows, self.skipped, self.classes, stopped, round(time.monotonic() - self.start, 2))

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return math.inf if self.budget is None else self.budget - (time.monotonic() - self.start)

    def open_all(self, parts: tuple[Manifest, Manifest]) -> list[Candidate]:
        """The first round: load each and measure it; say of those that cannot be had why.

        :raises ModelError: none is left.
        """
        found: list[Candidate] = []
        for name in self.names:
            if found and self.left <= 0:
                self.skip(name, "not reached within the budget")
                continue
            try:
                candidate = open_candidate(name, self.settings, classes=len(self.classes), progress=self.progress)
                self.measure(candidate, parts, 1)
            except (ModelError, StoreError) as failure:
                self.skip(name, str(failure))
            else:
                found.append(candidate)
        if not found:
            raise ModelError(
                f"none of {len(self.names)} models can be ranked: "
                + "; ".join(f"{name}: {reason}" for name, reason in self.skipped.items())
            )
        return found

    def skip(self, name: str, reason: str) -> None:
        """Leave a model out, and say why."""
        self.skipped[name] = reason.removeprefix(f"{name}: ")
        self.progress.say(f"{name} is left out: {self.skipped[name]}")

    def measure(self, candidate: Candidate, parts: tuple[Manifest, Manifest], number: int) -> None:
        """Features from the store or computed, a head solved on them, and the row."""
        name = candidate.backbone.name
        values = [candidate.features(part, progress=self.progress) for part in parts]
        start = time.monotonic()
        targets = [part.targets(self.classes) for part in parts]
        train, validation = (
            (torch.from_numpy(x).float().to(candidate.device), torch.from_numpy(y).to(candidate.device))
            for x, y in zip(values, targets, strict=True)
        )
        found = probe(
            train,
            validation,
            classes=len(self.classes),
            pretrained=candidate.pretrained(self.classes, *train),
        )
        evidence = logme(values[0], targets[0], classes=len(self.classes))
        self.probing[name] = time.monotonic() - start
        self.rows[name] = Row(
            model=name,
            probe=found,
            logme=evidence,
            milliseconds=candidate.milliseconds(parts[0]),
            engine=f"{candidate.engine.name}, {candidate.engine.precision}",
            parameters=candidate.parameters,
            images=(len(parts[0]), len(parts[1])),
            round=number,
        )
        told = found.accuracy
        self.progress.say(
            f"round {number}: {name} {told['value']:.1%} ({told['low']:.1%} to {told['high']:.1%}), "
            f"log-loss {found.log_loss['value']:.3f}, {len(parts[0]):,} images"
        )

    def drop(self, alive: list[Candidate]) -> list[Candidate]:
        """Successive halving."""
        gone = hopeless({each.backbone.name: self.rows[each.backbone.name].probe for each in alive})
        for name in gone:
            self.rows[name].dropped = True
        if gone:
            self.progress.say(f"dropped: {', '.join(gone)}")
        return [each for each in alive if each.backbone.name not in gone]

    def forecast(self, alive: Sequence[Candidate], count: int) -> float:
        """Seconds that the next round will take, from what the last one took."""
        parts = _sample(self.data, count, self.settings.seed)
        total = 0.0
        for each in alive:
            row = self.rows[each.backbone.name]
            rate = max(each.seconds_an_image, row.milliseconds / 1000)
            total += rate * sum(each.missing(part) for part in parts)
            total += self.probing[row.model] * len(parts[0]) / row.images[0]
        return total


def _counts(data: Manifest, classes: int) -> list[int]:
    """Images a class to train on, round by round: each time twice as many, until all are in.

    >>> photos = Manifest.from_rows([f"/{n}.jpg" for n in range(240)], labels=["cat", "dog"] * 120)
    >>> _counts(photos.with_column("split", ["train"] * 240), 2)
    [120]
    >>> photos = Manifest.from_rows([f"/{n}.jpg" for n in range(2000)], labels=["cat", "dog"] * 1000)
    >>> _counts(photos.with_column("split", ["train"] * 2000), 2)
    [200, 400, 800, 1000]
    """
    largest = max(Counter(data.part("train").labels).values())
    count, counts = max(FIRST, -(-LEAST // classes)), []
    while count < largest:
        counts.append(count)
        count *= 2
    return [*counts, largest]


def _sample(data: Manifest, count: int, seed: int) -> tuple[Manifest, Manifest]:
    """Up to ``count`` images a class to train on, and half as many to validate on.

    The same images come first for every size, drawn by content and seed: a larger sample holds the smaller.
    """
    labels, splits, hashes = data.labels, data.splits, data.hashes
    drawn = [hashlib.blake2b(f"{seed}:{each}".encode(), digest_size=8).digest() for each in hashes]
    order = sorted(range(len(data)), key=drawn.__getitem__)
    most = {"train": count, "validation": -(-count // 2)}
    taken: Counter[tuple[str | None, str | None]] = Counter()
    chosen: dict[str, list[int]] = {part: [] for part in most}
    for row in order:
        part, place = splits[row], (splits[row], labels[row])
        if part in most and taken[place] < most[part]:
            taken[place] += 1
            chosen[part].append(row)
    train, validation = (data.select(np.array(sorted(rows), np.int64)) for rows in chosen.values())
    return train, validation


# -- what is told and kept --------------------------------------------------------------------------------------------


def lines(found: Ranking) -> list[str]:
    """A table for a terminal, and what it says."""
    width = max(len(row.model) for row in found.rows)
    told = [f"{'model':{width}}  log-loss  accuracy (95 % interval)    LogME  ms/image  params  train images"]
    for row in found.rows:
        share = row.probe.accuracy
        interval = f"{share['value']:6.1%} ({share['low']:.1%} to {share['high']:.1%})"
        told.append(
            f"{row.model:{width}}  {row.probe.log_loss['value']:8.3f}  {interval:24}  {row.logme:7.3f}  "
            f"{row.milliseconds:8.2f}  {row.parameters / 1e6:5.1f}M  {row.images[0]:6,}{'  dropped' * row.dropped}"
        )
    told += [f"{name:{width}}  left out: {reason}" for name, reason in found.skipped.items()]
    told.append(f"{found.rows[0].images[1]:,} images to validate on; ended, since {found.stopped}")
    told.append(f"by LogME, which solves nothing: {max(_last(found), key=lambda row: row.logme).model}")
    best, others = found.rows[0].model, [row.model for row in found.as_good[1:]]
    if others:
        told.append(
            f"best: {best}; as good, as far as can be told: {', '.join(others)}; "
            f"the fastest of them: {found.fastest.model}"
        )
    else:
        told.append(f"best: {best}")
    return told


def _last(found: Ranking) -> list[Row]:
    """Those of the last round, which alone have seen the same images."""
    return [row for row in found.rows if row.round == found.rows[0].round]


def save(found: Ranking, folder: Path, *, command: dict[str, Any]) -> Path:
    """Write ``rank.json`` and ``rank.png``; returns the picture's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "rank.json",
        {
            "headstart": __version__,
            "command": command,
            "classes": list(found.classes),
            "seconds": found.seconds,
            "stopped": found.stopped,
            "as_good": [row.model for row in found.as_good],
            "fastest": found.fastest.model,
            "models": [_plain(row) for row in found.rows],
            "skipped": found.skipped,
        },
    )
    return rank_plot(
        [row.model for row in found.rows],
        [row.milliseconds for row in found.rows],
        [row.probe.accuracy for row in found.rows],
        folder / "rank.png",
        dropped=[row.dropped for row in found.rows],
    )


def _plain(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "log_loss": row.probe.log_loss,
        "accuracy": row.probe.accuracy,
        "logme": row.logme,
        "ms_an_image": round(row.milliseconds, 3),
        "engine": row.engine,
        "parameters": row.parameters,
        "l2": row.probe.l2,
        "train_images": row.images[0],
        "validation_images": row.images[1],
        "round": row.round,
        "dropped": row.dropped,
    }
