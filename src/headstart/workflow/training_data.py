"""What a training reads: stored features and pixels, or images that are decoded anew in each epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.features.images import ImageViews
from headstart.features.sources import FeatureDataset
from headstart.workflow.extraction import MAX_IN_MEMORY, FeatureExtractor

__all__ = ["training_data"]


def training_data(
    extractor: FeatureExtractor,
    images: Manifest,
    targets: NDArray[np.int64],
    views: tuple[int, ...],
    *,
    in_memory: bool,
) -> FeatureDataset:
    """The training images with their augmented views; with ``--live-augmentation``, a new view of each in every epoch.

    :param targets: (N,) of the images.
    :param views: the numbers of the stored views.
    :param in_memory: whether features are read here and now, if they are small.
    """
    settings = extractor.settings
    if settings.live_augmentation:
        spec, workers = extractor.backbone.spec, settings.workers
        numbers = range(settings.epochs + 1)
        live = [ImageViews(images, spec, number, settings.max_pixels, workers) for number in numbers]
        return FeatureDataset(live[0], targets, tuple(live[1:]), view_per_epoch=True)
    memory = MAX_IN_MEMORY if in_memory else 0
    sources = [extractor.source(images, view, max_bytes=memory) for view in (0, *views)]
    return FeatureDataset(sources[0], targets, tuple(sources[1:]))
