"""A glimpse: whether training deeper is promising, told by a few careful epochs on some images.

The features that it needs are computed in the pass that computes those of the head, where that is still to be done: an
image runs through the network once. Which images these are depends on their content alone, and not on the split, which
may still change.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.errors import CutError
from headstart.events import Events
from headstart.features.missing import keys_from_hex
from headstart.models.joint_prefix import joint_prefix
from headstart.train.finetune import trainable_state
from headstart.train.metrics import paired_difference
from headstart.train.unfreezing import DEEPER, image_log_losses, improves
from headstart.workflow.dataset import SPLITS, Dataset
from headstart.workflow.extraction import FeatureExtractor, extract, open_extractor
from headstart.workflow.trials import Trial, train, train_config, trial_of

__all__ = ["EPOCHS", "MIN_CHECKED", "Glimpse", "extract_with_glimpse", "glimpse_images", "look"]

EPOCHS = 3
IMAGES, CHECKED = 2000, 1000
"""Training images, and validation images on which they are compared with the head, at most."""

MIN_CHECKED = 50
"""With fewer validation images, nothing shows whether training more than the head helps."""

_LR_FACTOR = 0.1  # the first epochs at the full rate make everything worse, also where the end is better
_FAR = 3.0  # standard errors behind the head; with 2 after an epoch, some glimpses still ended ahead of it
_SPARE = 1.1  # times the images, since some move to another split once near-duplicates are known


@dataclass(frozen=True)
class Glimpse:
    """What was seen."""

    dataset: Dataset  # without images that have vanished
    trial: Trial  # on the images that it was judged by
    change: tuple[float, float]  # of the log-loss of the head, and its margin (95 %)
    promising: bool


def glimpse_images(dataset: Dataset) -> tuple[Manifest, Manifest]:
    """The images for training and for validation: of each split, the first by their content."""
    train, checked = dataset.split("train"), dataset.split(dataset.selection_split)
    return train.select(_first(train, IMAGES)), checked.select(_first(checked, CHECKED))


def _first(images: Manifest, count: int) -> NDArray[np.int64]:
    """Rows of the images with the lowest hashes, ascending."""
    keys = np.frombuffer(keys_from_hex(images.table["hash"]).buffers()[1], ">u8").reshape(-1, 2)
    return np.sort(np.lexsort((keys[:, 1], keys[:, 0]))[:count])


def extract_with_glimpse(extractor: FeatureExtractor, dataset: Dataset, *, events: Events) -> None:
    """Compute the features of so many images for both, the head and the glimpse, that the glimpse finds what it needs.

    Nothing is done where there will be no glimpse, where the features of the head are stored already, or where both do
    not have the same views of the images. What cannot be read is left to the next extraction.
    """
    settings = extractor.settings
    splits = {split: len(dataset.split(split)) for split in ("train", dataset.selection_split)}
    if (
        settings.train != "auto"
        or dataset.cross_validated
        or settings.live_augmentation
        or settings.precision == "int8"
        or settings.cluster is not None  # whose workers are given one network
        or extractor.device != "cpu"  # not tried
        or len(extractor.views) > 1
        or not splits["train"]
        or splits[dataset.selection_split] < MIN_CHECKED
    ):
        return
    images = dataset.manifest.select(dataset.rows(SPLITS))
    share = max(IMAGES / splits["train"], CHECKED / splits[dataset.selection_split])
    images = images.select(_first(images, int(_SPARE * share * len(images)) + 1))
    if not extractor.missing(images):
        return
    try:
        deeper = open_extractor(extractor.backbone, DEEPER[0], settings, device=extractor.device)
    except CutError:  # said where it is tried
        return
    joint = None if deeper.cut.at_image else joint_prefix(extractor.cut, deeper.cut)
    if joint is not None:
        extractor.compute_with(deeper, joint, images, events=events)


def look(extractor: FeatureExtractor, dataset: Dataset, events: Events, *, head: Trial) -> Glimpse:
    """Train some careful epochs on some images without augmentation, until one is far behind the head.

    Augmented views of all images would cost more than the rest.

    :param head: from which training starts, and which it must improve.
    """
    start, backbone = time.monotonic(), extractor.backbone
    extractor.train_only()
    with backbone.applied(head.state), backbone.applied(trainable_state(backbone.module)):  # undone is what is trained
        wanted = [part.table["hash"] for part in glimpse_images(dataset)]
        looked_at = _looked_at(dataset, wanted)
        checked_rows, rows = (dataset.rows([split])[some] for split, some in reversed(looked_at.items()))
        dataset = extract(extractor, dataset, checked_rows, events=events)
        dataset = extract(extractor, dataset, rows, views=(0,), events=events)
        extractor.release()  # most end here
        # So few epochs are not enough for new statistics of BatchNorm: with them every glimpse would look worse.
        config = train_config(extractor, epochs=EPOCHS, mixup=0.0, batchnorm="frozen")
        config = replace(config, lr=_LR_FACTOR * config.base_lr, lr_base_size=None, warmup_epochs=0)
        # Not those of glimpse_images: where one has vanished, that takes another one, which has no features.
        looked_at = _looked_at(dataset, wanted)
        images, checked = (dataset.split(split).select(some) for split, some in looked_at.items())
        head, some = head.on(dataset), looked_at[dataset.selection_split]
        targets = head.targets[some]
        before = image_log_losses(head.logits[some], targets)

        def is_hopeless(logits: NDArray[np.float32]) -> bool:
            return improves(image_log_losses(logits, targets), before, z=_FAR)

        history = train(extractor, dataset, images, checked, config, Events(), is_hopeless=is_hopeless, alone=True)
        seen = replace(dataset, manifest=checked, alike=None)
        trial = trial_of(extractor, seen, start, history)
    mean, margin = paired_difference(before, trial.image_log_losses)
    promising = improves(before, trial.image_log_losses)
    note = f"no gain after {len(history)} of {EPOCHS} careful epochs without augmentation"
    if len(checked) < len(head.targets):
        note += f", on {len(checked):,} validation images"
    return Glimpse(dataset, replace(trial, note=f"{note}: not trained further"), (-mean, margin), promising)


def _looked_at(dataset: Dataset, wanted: Sequence[pa.ChunkedArray]) -> dict[str, NDArray[np.int64]]:
    """The rows, among the images of each split, of those with one of these hashes: for training, and for validation."""
    splits = ("train", dataset.selection_split)
    return {
        split: np.flatnonzero(pc.is_in(dataset.split(split).table["hash"], value_set=hashes).to_numpy())
        for split, hashes in zip(splits, wanted, strict=True)
    }
