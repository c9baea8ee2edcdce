"""Where the checkpoint of a training is kept, so that the same command finds it again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

from headstart import paths
from headstart.data.manifest import Manifest
from headstart.features.sources import FeatureDataset
from headstart.models.backbone import digest
from headstart.train.finetune import TrainConfig
from headstart.workflow.extraction import FeatureExtractor

__all__ = ["checkpoint_path"]


def checkpoint_path(
    extractor: FeatureExtractor,
    config: TrainConfig,
    images: tuple[Manifest, Manifest],
    data: tuple[FeatureDataset, FeatureDataset],
) -> Path:
    """The file of a training with these hyperparameters, from the weights as they are now, on these images.

    How the work is divided does not matter: other workers and another micro-batch size go on with it.

    :param images: for training and for validation.
    :param data: their inputs and targets.
    """
    settings = extractor.settings
    total = hashlib.blake2b(digest_size=16)
    same = asdict(replace(config, micro_batch_size=None))
    facts = [extractor.train, extractor.table.space.key, digest(extractor.tail), settings.class_balance, same]
    total.update(json.dumps(facts, sort_keys=True).encode())
    for manifest, split in zip(images, data, strict=True):
        total.update(f"{len(split)} images, {len(split.views)} views".encode())
        total.update("".join(map(str, manifest.hashes)).encode())
        total.update(split.targets.tobytes())
    return paths.checkpoints(settings.cache_dir) / f"{total.hexdigest()}.pt"
