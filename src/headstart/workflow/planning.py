"""What a fit will take, told after a look at some of its images: time, disk and memory of each rung."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from headstart.data.views import read_views
from headstart.models.engine import choose_batch
from headstart.settings import FitSettings
from headstart.train.forecast import solve_seconds, step_seconds
from headstart.workflow.rungs import KEEP_IN_MEMORY, Place, Rungs

__all__ = ["Forecast", "forecast", "lines"]

_LOOK_AT = 100  # images


@dataclass(frozen=True)
class Forecast:
    """Of one rung, beside what the rungs before it take."""

    train: str
    features: int  # rows that the store does not have yet
    extraction: float  # seconds for them
    training: float  # seconds
    disk: int  # bytes that the store grows by
    memory: int  # bytes of features at a time

    @property
    def seconds(self) -> float:
        """In all."""
        return self.extraction + self.training


def forecast(rungs: Rungs, place: Place) -> Forecast:
    """Time some images in the frozen part and a step of training, and count what is to be done.

    The store is not written to, and the network not changed.
    """
    settings, head = rungs.settings, place.train == "head"
    usable = rungs.data.usable
    train, judges = usable.part("train"), usable.part(rungs.judges)
    views = () if head else tuple(range(1, settings.views + 1))
    parts = [usable] if head else [train] if rungs.folds else [train, judges]
    hashes = [str(each) for part in parts for each in part.hashes]
    missing = sum(len(place.space.missing(hashes, view=view)) for view in rungs.seen)
    missing += sum(len(place.space.missing([str(each) for each in train.hashes], view=view)) for view in views)
    extraction = missing * _seconds_an_image(rungs, place, settings) if missing else 0.0
    rows = len(train) * (1 + len(views)) + (0 if rungs.folds else len(judges))
    return Forecast(
        place.train,
        missing,
        extraction,
        _training(rungs, place, len(train), len(judges)),
        missing * place.parts.bytes_per_image,
        min(rows * place.parts.bytes_per_image, KEEP_IN_MEMORY),
    )


def _training(rungs: Rungs, place: Place, train: int, judges: int) -> float:
    settings, loop = rungs.settings, rungs.loop()
    if place.train == "head":
        values = int(np.prod(place.parts.feature_shape))
        walks = 5 if rungs.folds else 1
        return walks * solve_seconds(train, values, len(rungs.classes), device=rungs.device)
    rungs.train_only(place)
    spec, at_image = place.backbone.spec, place.parts.at_image
    shape = (spec.height, spec.width, 3) if at_image else place.parts.feature_shape
    one = step_seconds(place.tail, shape, loop, device=rungs.device, uint8=at_image)
    # To look at an image takes about a third of what it takes to learn from it.
    return settings.epochs * (train + judges / 3) / settings.batch * one


def _seconds_an_image(rungs: Rungs, place: Place, settings: FitSettings) -> float:
    """Decoding and the frozen part together, as they run in an extraction."""
    images = rungs.data.usable
    rows = range(min(len(images), _LOOK_AT))
    run = place.run
    views = read_views(
        images,
        rows,
        rungs.backbone.spec,
        batch=min(choose_batch(settings.extract_batch, rungs.device), len(rows)),
        max_pixels=settings.max_pixels,
        workers=settings.workers,
    )
    start, count = 0.0, 0
    for some in views:
        if not some.rows:
            continue
        run(np.stack(some.images))
        if not start:  # the first batch starts threads and the engine
            start = time.monotonic()
        else:
            count += len(some.rows)
    if count:
        return (time.monotonic() - start) / count
    batch = np.zeros((len(rows), rungs.backbone.spec.height, rungs.backbone.spec.width, 3), np.uint8)
    start = time.monotonic()
    run(batch)
    return (time.monotonic() - start) / len(rows)


def lines(rungs: Rungs, forecasts: list[Forecast], notes: list[str]) -> list[str]:
    """For a terminal."""
    parts = {part: len(rungs.data.usable.part(part)) for part in ("train", "validation", "test")}
    told = [
        ", ".join(f"{count:,} to {_DOES[part]}" for part, count in parts.items() if count),
        f"{'train':12}{'features':>10}{'extraction':>12}{'training':>10}{'disk':>10}{'memory':>10}",
    ]
    told += [
        f"{each.train:12}{each.features:>10,}{each.extraction:>10.0f} s{each.training:>8.0f} s"
        f"{each.disk / 1e6:>7.0f} MB{each.memory / 1e6:>7.0f} MB"
        for each in forecasts
    ]
    return told + notes


_DOES = {"train": "train on", "validation": "validate on", "test": "test on"}
