"""What a fit will take, told after a look at some of its images: time, disk and memory of each rung."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from headstart.data.manifest import Manifest
from headstart.data.views import read_views
from headstart.models.engine import choose_batch
from headstart.settings import FitSettings
from headstart.train.forecast import solve_seconds, step_seconds
from headstart.workflow.rungs import KEEP_IN_MEMORY, LOOK_AT, LOOKS, Place, Rungs

__all__ = ["Forecast", "forecast", "lines"]

_TIMED = 100  # images


@dataclass(frozen=True)
class Forecast:
    """Of one rung, beside what the rungs before it take."""

    train: str
    features: int  # rows that the store does not have yet
    extraction: float  # seconds for them
    training: float  # seconds
    disk: int  # bytes that the store grows by
    memory: int  # bytes of features at a time
    look: float = 0.0  # of the seconds, those until a look has told whether the others are spent; 0 without one

    @property
    def seconds(self) -> float:
        """In all."""
        return self.extraction + self.training


def forecast(rungs: Rungs, place: Place, *, looks: bool = False) -> Forecast:
    """Time some images in the frozen part and a step of training, and count what is to be done.

    The store is not written to, and the network not changed.

    :param looks: whether a look is taken before all of it is done.
    """
    settings, head = rungs.settings, place.train == "head"
    usable = rungs.data.usable
    train, judges = usable.part("train"), usable.part(rungs.judges)
    views = () if head else tuple(range(1, settings.views + 1))
    parts = [usable] if head else [train] if rungs.folds else [train, judges]
    missing = sum(_missing(place, part, view) for part in parts for view in rungs.seen)
    missing += sum(_missing(place, train, view) for view in views)
    one = _seconds_an_image(rungs, place, settings) if missing else 0.0
    step = 0.0 if head else _seconds_a_step(rungs, place)
    training = _solving(rungs, place, len(train)) if head else settings.epochs * step * _steps(rungs, train, judges)
    look = 0.0
    if looks:
        some = train.select(rungs.drawn(len(train), LOOK_AT))
        careful = LOOKS * step * _steps(rungs, some, judges)
        training += careful
        look = careful + one * (_missing(place, some) + sum(_missing(place, judges, view) for view in rungs.seen))
    rows = len(train) * (1 + len(views)) + (0 if rungs.folds else len(judges))
    return Forecast(
        place.train,
        missing,
        missing * one,
        training,
        missing * place.parts.bytes_per_image,
        min(rows * place.parts.bytes_per_image, KEEP_IN_MEMORY),
        look,
    )


def _missing(place: Place, images: Manifest, view: int = 0) -> int:
    return len(place.space.missing([str(each) for each in images.hashes], view=view))


def _solving(rungs: Rungs, place: Place, train: int) -> float:
    values = int(np.prod(place.parts.feature_shape))
    walks = 5 if rungs.folds else 1
    return walks * solve_seconds(train, values, len(rungs.classes), device=rungs.device)


def _seconds_a_step(rungs: Rungs, place: Place) -> float:
    rungs.train_only(place)
    spec, at_image = place.backbone.spec, place.parts.at_image
    shape = (spec.height, spec.width, 3) if at_image else place.parts.feature_shape
    return step_seconds(place.tail, shape, rungs.loop(), device=rungs.device, uint8=at_image)


def _steps(rungs: Rungs, train: Manifest, judges: Manifest) -> float:
    """Of an epoch: to be judged by an image takes about a third of what it takes to learn from it."""
    return (len(train) + len(judges) / 3) / rungs.settings.batch


def _seconds_an_image(rungs: Rungs, place: Place, settings: FitSettings) -> float:
    """Decoding and the frozen part together, as they run in an extraction."""
    images = rungs.data.usable
    rows = range(min(len(images), _TIMED))
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
        f"{'train':12}{'features':>10}{'extraction':>12}{'training':>10}{'by a look':>11}{'disk':>10}{'memory':>10}",
    ]
    told += [
        f"{each.train:12}{each.features:>10,}{each.extraction:>10.0f} s{each.training:>8.0f} s"
        f"{f'{each.look:.0f} s' if each.look else '':>11}{each.disk / 1e6:>7.0f} MB{each.memory / 1e6:>7.0f} MB"
        for each in forecasts
    ]
    return told + notes


_DOES = {"train": "train on", "validation": "validate on", "test": "test on"}
