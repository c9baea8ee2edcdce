"""What a trial will take: time, disk and memory, measured on some of its images and one training step."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from headstart.data.manifest import Manifest
from headstart.data.readers import view_reader
from headstart.execution.base import available_cores
from headstart.train.forecast import step_seconds
from headstart.train.heads import head_solver
from headstart.train.heads.sharded import shard_size
from headstart.workflow.dataset import Dataset
from headstart.workflow.extraction import MAX_IN_MEMORY, FeatureExtractor
from headstart.workflow.glimpse import EPOCHS, glimpse_images
from headstart.workflow.trials import train_config

__all__ = ["Forecast", "forecast"]

_TIMED_IMAGES = 100


@dataclass(frozen=True)
class Forecast:
    """The cost of one trial, in addition to what the trials before it take."""

    train: str
    features: int  # rows that the table lacks
    extraction: float  # seconds to compute them
    training: float  # seconds
    disk: int  # bytes by which the feature store grows
    memory: int  # bytes of features held at a time
    glimpse: float = 0.0  # seconds until a glimpse has shown whether the rest is spent; 0 without one

    @property
    def seconds(self) -> float:
        """Extraction and training."""
        return self.extraction + self.training


def forecast(
    extractor: FeatureExtractor, dataset: Dataset, *, glimpse: bool = False, workers: int | None = None
) -> Forecast:
    """Time some images in the frozen part and one training step, and count what is to be done.

    Nothing is written to the store, and the network is not changed.

    :param glimpse: whether a glimpse comes before the whole training.
    :param workers: one-core workers of a cluster that compute the features. It is taken that a core of theirs does what
        one of this process does; where two of these are threads of one core, workers on whole cores are faster.
    """
    settings, head = extractor.settings, extractor.train == "head"
    usable = dataset.manifest.usable
    train, selection = dataset.split("train"), dataset.split(dataset.selection_split)
    live = settings.live_augmentation  # no training image is stored
    augmented = () if head or live else tuple(range(1, settings.augmentations + 1))
    looked_at = [usable] if head else [train] if dataset.cross_validated else [*([] if live else [train]), selection]
    missing = sum(extractor.missing(images, view) for images in looked_at for view in extractor.views)
    missing += sum(extractor.missing(train, view) for view in augmented)
    seconds_per_image = _seconds_per_image(extractor, usable) / _speedup(workers) if missing or live else 0.0
    step = 0.0 if head else _step_seconds(extractor)
    steps = 0 if head else settings.epochs * _steps(extractor, train, selection)
    training = _solving(extractor, dataset, workers) if head else steps * step
    training += settings.epochs * seconds_per_image * len(train) if live else 0.0  # they are decoded in each epoch
    until_glimpse = 0.0
    if glimpse:
        some, checked = glimpse_images(dataset)
        careful = EPOCHS * step * _steps(extractor, some, checked)
        training += careful
        needed = extractor.missing(some) + extractor.missing(checked)
        until_glimpse = careful + seconds_per_image * needed
    rows = (0 if live else len(train) * (1 + len(augmented))) + (0 if dataset.cross_validated else len(selection))
    return Forecast(
        extractor.train,
        missing,
        missing * seconds_per_image,
        training,
        missing * extractor.cut.bytes_per_image,
        min(rows * extractor.cut.bytes_per_image, MAX_IN_MEMORY),
        until_glimpse,
    )


def _speedup(workers: int | None) -> float:
    """How many times the cores of this process workers are."""
    return 1.0 if workers is None else workers / available_cores()


def _solving(extractor: FeatureExtractor, dataset: Dataset, workers: int | None) -> float:
    images = len(dataset.split("train"))
    large = images * extractor.cut.bytes_per_image > MAX_IN_MEMORY
    speedup = _speedup(min(workers, -(-images // shard_size(images)))) if workers is not None and large else 1.0
    seconds = head_solver(extractor.settings.head_solver).forecast(
        images,
        int(np.prod(extractor.cut.row_shape)),
        len(dataset.classes),
        device=extractor.device,
        cross_validated=dataset.cross_validated,
    )
    return seconds / speedup


def _step_seconds(extractor: FeatureExtractor) -> float:
    extractor.train_only()
    spec, at_image = extractor.backbone.spec, extractor.cut.at_image
    shape = (spec.height, spec.width, 3) if at_image else extractor.cut.row_shape
    return step_seconds(extractor.tail, shape, train_config(extractor), device=extractor.device, uint8=at_image)


def _steps(extractor: FeatureExtractor, train: Manifest, selection: Manifest) -> float:
    """Steps of an epoch: to validate on an image takes about a third of the time of training on it."""
    return (len(train) + len(selection) / 3) / extractor.settings.batch_size


def _seconds_per_image(extractor: FeatureExtractor, images: Manifest) -> float:
    """Decoding and the frozen part together, as they run in an extraction."""
    settings, spec = extractor.settings, extractor.backbone.spec
    rows = range(min(len(images), _TIMED_IMAGES))
    run = extractor.run
    views = view_reader(extractor.table.space.decoder)(
        images,
        rows,
        spec,
        batch_size=min(extractor.batch_size, len(rows)),
        max_pixels=settings.max_pixels,
        workers=settings.workers,
    )
    start, count = 0.0, 0
    for some in views:
        if not some.rows:
            continue
        run(some.stacked())
        if not start:  # the first batch starts threads and the engine
            start = time.monotonic()
        else:
            count += len(some.rows)
    if count:
        return (time.monotonic() - start) / count
    batch = np.zeros((len(rows), spec.height, spec.width, 3), np.uint8)
    start = time.monotonic()
    run(batch)
    return (time.monotonic() - start) / len(rows)
