"""Which network to start from: each solves a head on a sample of the images, which grows while losers are dropped."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.data.splitting import DEFAULT_VALIDATION_SHARE, assign_split
from headstart.errors import DataError, ModelError, StoreError
from headstart.events import Events
from headstart.train.heads import HeadProblem, head_solver
from headstart.train.probe import halving_eliminations, logme, probe
from headstart.workflow.candidates import Candidate, expand_models, open_candidate
from headstart.workflow.dataset import Dataset
from headstart.workflow.ranking import Ranking, Row
from headstart.workflow.reading import inspect_images, require_labels
from headstart.workflow.value_ranges import tell

__all__ = ["rank"]

FIRST_IMAGES_PER_CLASS = 25  # to train on in the first round
FIRST_IMAGES = 400  # at least, of all classes: with two classes, 25 images of each tell nothing


@dataclass(frozen=True)
class _Entry:
    """A network with its latest result."""

    candidate: Candidate
    row: Row
    probe_seconds: float
    extract_seconds: float  # per image, decoding included; 0 if all features were in the store


def rank(
    manifest: Manifest,
    models: Sequence[str],
    settings: FitSettings | None = None,
    *,
    budget: float | None = None,
    events: Events | None = None,
) -> Ranking:
    """Rank pretrained networks on labeled images by a solved head, without fine-tuning.

    The sample doubles from round to round, by successive halving; the features are those that a fit reads.

    :param models: names, patterns, or "embedded"; see :func:`headstart.workflow.candidates.expand_models`.
    :param settings: as for a fit, which then finds the features in the store; ``model`` and ``train`` are ignored.
    :param budget: seconds; a larger sample that is expected to exceed it is not tried.
    :raises DataError: the images or labels cannot be used as they are.
    :raises ModelError: none of the models is available.
    """
    settings, events, start = settings or FitSettings(), events or Events(), time.monotonic()
    settings.check()
    head_solver(settings.head_solver)  # exists
    deadline = math.inf if budget is None else start + budget
    names = expand_models(models)
    dataset = _prepare(manifest, settings, events)
    first, *larger = _sample_sizes(dataset)
    remaining, skipped = _first_round(names, _sample(dataset, first, settings.seed), settings, deadline, events)
    rows = {entry.row.model: entry.row for entry in remaining}
    stop_reason = ""
    for number, count in enumerate(larger, 2):
        remaining, dropped = _eliminate(remaining, events)
        rows |= {entry.row.model: replace(entry.row, dropped=True) for entry in dropped}
        sample = _sample(dataset, count, settings.seed)
        stop_reason = _reason_to_stop(remaining, sample, count, deadline)
        if stop_reason:
            break
        remaining = [_measure(entry.candidate, sample, number, events, before=entry) for entry in remaining]
        rows |= {entry.row.model: entry.row for entry in remaining}
    ordered = sorted(rows.values(), key=lambda row: (-row.round, row.probe.log_loss.value))
    seconds = round(time.monotonic() - start, 2)
    return Ranking(tuple(ordered), skipped, dataset.classes, stop_reason or "all images were used", seconds)


def _prepare(manifest: Manifest, settings: FitSettings, events: Events) -> Dataset:
    """Inspect the images, and split them as a fit does with the same seed. A test split is not used.

    :raises DataError: the images or labels cannot be used as they are.
    """
    images = inspect_images(require_labels(manifest), settings, events=events)
    validation = DEFAULT_VALIDATION_SHARE if settings.validation_share is None else settings.validation_share
    test = settings.test_share or 0.0
    assigned = assign_split(images, validation_share=validation, test_share=test, seed=settings.seed).usable
    ranges = tell(images, settings, events=events)
    dataset = Dataset(assigned, assigned.in_split("train").classes, cross_validated=False, value_ranges=ranges)
    checks = dataset.split("validation")
    if len(dataset.classes) < 2 or not len(checks):
        raise DataError(
            "ranking needs training images of at least 2 classes, and validation images; "
            f"got {len(dataset.classes)} classes and {len(checks)} validation images"
        )
    unknown = sorted(set(checks.classes) - set(dataset.classes))
    if unknown:
        raise DataError(f"the validation split has images of {unknown[0]}, which has no training images; add some")
    return dataset


def _sample_sizes(dataset: Dataset) -> list[int]:
    """Training images per class of each round: twice as many each time, until all images are used.

    >>> uris, splits = [f"/{n}.jpg" for n in range(2000)], ["train"] * 2000
    >>> photos = Manifest.from_rows(uris, labels=["cat", "dog"] * 1000, splits=splits)
    >>> _sample_sizes(Dataset(photos, ("cat", "dog"), cross_validated=False))
    [200, 400, 800, 1000]
    >>> _sample_sizes(Dataset(photos.select(np.arange(240)), ("cat", "dog"), cross_validated=False))
    [120]
    """
    largest = max(Counter(dataset.split("train").labels).values())
    count, counts = max(FIRST_IMAGES_PER_CLASS, -(-FIRST_IMAGES // len(dataset.classes))), []
    while count < largest:
        counts.append(count)
        count *= 2
    return [*counts, largest]


def _sample(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Up to ``count`` training images per class, and half as many for validation.

    Images are drawn by content and seed in the same order for every size: a larger sample contains the smaller.
    """
    manifest = dataset.manifest
    labels, splits = manifest.labels, manifest.splits
    keys = [hashlib.blake2b(f"{seed}:{each}".encode(), digest_size=8).digest() for each in manifest.hashes]
    limits = {"train": count, "validation": -(-count // 2)}
    taken: Counter[tuple[str | None, str | None]] = Counter()
    chosen = []
    for row in sorted(range(len(manifest)), key=keys.__getitem__):
        group = splits[row], labels[row]
        if taken[group] < limits.get(str(splits[row]), 0):
            taken[group] += 1
            chosen.append(row)
    return replace(dataset, manifest=manifest.select(np.array(sorted(chosen), np.int64)))


def _first_round(
    names: Sequence[str], sample: Dataset, settings: FitSettings, deadline: float, events: Events
) -> tuple[list[_Entry], dict[str, str]]:
    """Load and measure each network; return those that worked, and why the others did not.

    :raises ModelError: none worked.
    """
    entries: list[_Entry] = []
    skipped: dict[str, str] = {}
    for name in names:
        if entries and time.monotonic() >= deadline:
            skipped[name] = "not reached within the budget"
        else:
            try:
                candidate = open_candidate(
                    name, settings, classes=len(sample.classes), value_ranges=sample.value_ranges, events=events
                )
                entries.append(_measure(candidate, sample, 1, events))
            except (ModelError, StoreError) as error:
                skipped[name] = str(error).removeprefix(f"{name}: ")
        if name in skipped:
            events.notice(f"{name} is skipped: {skipped[name]}")
    if not entries:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise ModelError(f"none of {len(names)} models can be ranked: {reasons}")
    return entries, skipped


def _measure(
    candidate: Candidate, sample: Dataset, number: int, events: Events, *, before: _Entry | None = None
) -> _Entry:
    """Get the features of the sample and solve a head on them.

    :param number: of the round, from 1.
    :param before: the result of the round before, whose timings stay valid.
    """
    extract_seconds = 0.0 if before is None else before.extract_seconds
    features, targets = [], []
    for split in ("train", "validation"):
        images = sample.split(split)
        new, start = candidate.extractor.missing(images), time.monotonic()
        features.append(candidate.features(images, events=events))
        targets.append(sample.targets(split))
        if new:
            extract_seconds = (time.monotonic() - start) / new
    start, extractor, classes = time.monotonic(), candidate.extractor, len(sample.classes)
    train, validation = (
        (torch.from_numpy(x).float().to(extractor.device), torch.from_numpy(y).to(extractor.device))
        for x, y in zip(features, targets, strict=True)
    )
    problem = HeadProblem(classes, pretrained=candidate.extractor.pretrained_prior(sample.classes, *train))
    found = probe(train, validation, problem, solver=head_solver(extractor.settings.head_solver))
    evidence = logme(features[0], targets[0], classes=classes)
    probe_seconds = time.monotonic() - start
    row = Row(
        model=candidate.name,
        probe=found,
        logme=evidence,
        ms_per_image=candidate.ms_per_image(sample.split("train")) if before is None else before.row.ms_per_image,
        engine=f"{candidate.engine.name}, {candidate.engine.precision}",
        parameters=candidate.parameters,
        train_images=len(targets[0]),
        validation_images=len(targets[1]),
        round=number,
    )
    events.notice(
        f"round {number}: {row.model} {found.accuracy:.1%}, log-loss {found.log_loss.value:.3f}, "
        f"{row.train_images:,} images"
    )
    return _Entry(candidate, row, probe_seconds, extract_seconds)


def _eliminate(entries: Sequence[_Entry], events: Events) -> tuple[list[_Entry], list[_Entry]]:
    """Successive halving: the networks that stay, and those that are dropped."""
    losers = halving_eliminations({entry.row.model: entry.row.probe for entry in entries})
    if losers:
        events.notice(f"dropped: {', '.join(losers)}")
    kept = [entry for entry in entries if entry.row.model not in losers]
    return kept, [entry for entry in entries if entry.row.model in losers]


def _reason_to_stop(entries: Sequence[_Entry], sample: Dataset, count: int, deadline: float) -> str:
    """Why the next, larger sample is not tried; empty if it is."""
    if len(entries) == 1:
        return f"only {entries[0].row.model} is left"
    if deadline < math.inf:
        needed = _forecast(entries, sample)
        if time.monotonic() + needed > deadline:
            return f"{count:,} images per class would take about {needed:.0f} s, more than is left of the budget"
    return ""


def _forecast(entries: Sequence[_Entry], sample: Dataset) -> float:
    """Seconds that a round on this sample will take, by what the last one took."""
    total = 0.0
    for entry in entries:
        rate = max(entry.extract_seconds, entry.row.ms_per_image / 1000)
        total += rate * sum(entry.candidate.extractor.missing(sample.split(split)) for split in ("train", "validation"))
        total += entry.probe_seconds * len(sample.split("train")) / entry.row.train_images
    return total
