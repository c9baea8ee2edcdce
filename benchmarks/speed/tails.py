"""Tails with random features to train on, for the benchmarks of a fine-tuning step."""

from __future__ import annotations

import numpy as np
from benchmarks.harness import WEIGHTS
from torch import nn

from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.models.backbone import load_backbone
from headstart.models.cut import cut

CUTS = (
    (str(WEIGHTS), "layers:20"),
    ("tf_efficientnet_lite0", "last:1"),
    ("tf_efficientnet_lite0", "last:3"),
    ("resnet18", "last:1"),
    ("mobilenetv3_small_100", "last:1"),
)
CLASSES, BATCH = 120, 32


def title(model: str) -> str:
    """The model's name in a table."""
    return "tutorial's MobileNetV2" if model == str(WEIGHTS) else model


def random_features(model: str, train: str, steps: int) -> tuple[nn.Module, FeatureDataset, FeatureDataset]:
    """The tail of a network, random features for ``steps`` batches of 32, and one image for validation."""
    has_weights = model == str(WEIGHTS) or "lite0" in model
    network = load_backbone(model, weights_file=None if has_weights else "random").module
    network.reset_classifier(CLASSES)  # type: ignore[operator]
    parts = cut(network, train, input_shape=(3, 224, 224))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in parts.trainable)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((BATCH * steps, *parts.feature_shape), np.float32)
    features = np.maximum(noise, 0).astype(np.float16)
    dataset = FeatureDataset(InMemoryFeatures(features), rng.integers(0, CLASSES, BATCH * steps))
    return parts.tail, dataset, FeatureDataset(InMemoryFeatures(features[:1]), dataset.targets[:1])
