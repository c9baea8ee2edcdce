"""What the pretrained network scores by itself, with its own head, where it knows the classes by name."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.evaluate.intervals import wilson
from headstart.evaluate.schema import PretrainedScore
from headstart.models.class_names import match
from headstart.train.heads.vectors import batches
from headstart.workflow.dataset import Dataset
from headstart.workflow.extraction import FeatureExtractor

__all__ = ["pretrained_score"]


def pretrained_score(
    extractor: FeatureExtractor, dataset: Dataset, split: str, predicted: NDArray[np.int64]
) -> PretrainedScore | None:
    """The accuracy of the pretrained head on the evaluated images of the classes that it knows, choosing among these.

    It is computed from features that are stored: those of the network as it was pretrained.

    :param extractor: of the first trial.
    :param predicted: classes by the fitted classifier, (N,) of the split.
    :returns: None with fewer than two such classes, where the head is not one linear layer, or where the features
        before it are not stored, since more than the head was trained from the start.
    """
    backbone = extractor.backbone
    old = backbone.pretrained_head
    if extractor.train != "head" or len(extractor.cut.feature_shape) != 1 or not isinstance(old, nn.Linear):
        return None
    matched = match(dataset.classes, backbone.classes or ())
    targets = dataset.targets(split)
    known = np.isin(targets, list(matched))
    if len(matched) < 2 or not known.any():
        return None
    images = dataset.split(split).select(known)
    classes = list(matched)
    old = old.to(extractor.device)
    chosen: list[int] = []
    with torch.inference_mode():
        for vectors in batches(extractor.vectors(images), torch.device(extractor.device)):
            logits = old(vectors[:, : old.in_features])
            # Of several old classes with one new name, the most probable counts.
            best = torch.stack([logits[:, matched[each]].amax(1) for each in classes], 1)
            chosen += best.argmax(1).tolist()
    right = np.array(classes)[chosen] == targets[known]
    return PretrainedScore(
        classes=len(classes),
        images=int(known.sum()),
        top1=wilson(int(right.sum()), len(right)),
        fitted=wilson(int((predicted[known] == targets[known]).sum()), len(right)),
    )
