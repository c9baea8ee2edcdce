"""What a pretrained network says of images before anything is fitted: their features, and of their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.config import FitSettings
from headstart.data.groups import group_numbers
from headstart.data.issues import OutOfFold
from headstart.data.manifest import Manifest
from headstart.data.value_range import ValueRange
from headstart.errors import DataError
from headstart.events import Events
from headstart.train.heads import HeadFit, HeadProblem, LinearHead, head_solver, matched_head
from headstart.train.heads.cross_validation import fold_masks
from headstart.workflow.candidates import Candidate, open_candidate

__all__ = ["CHECK_L2", "open_network", "predict_out_of_fold"]

CHECK_L2 = 0.1
"""The L2 penalty of the head by which labels are checked: ten times the usual one, since labels may be wrong."""

_FOLDS = 5


def open_network(
    images: Manifest, settings: FitSettings, *, value_ranges: tuple[ValueRange, ...] = (), events: Events
) -> Candidate:
    """Open the network of the settings as a fit does, so that a fit uses the features that are computed here.

    :param images: usable ones, whose labels give the number of classes.
    """
    classes = max(len(images.classes), 2)
    return open_candidate(settings.model, settings, classes=classes, value_ranges=value_ranges, events=events)


def predict_out_of_fold(
    images: Manifest,
    vectors: NDArray[np.floating],
    network: Candidate,
    settings: FitSettings,
    *,
    alike: NDArray[np.int64] | None = None,
    events: Events,
) -> OutOfFold | None:
    """Class probabilities of labeled images, each by a head that was solved on the other folds of five.

    The head is drawn to the pretrained one where the names of classes match and that is better for the first fold. No
    fold divides a group: a head that saw a near-duplicate with the same wrong label would confirm it.

    :param images: usable ones; those without a label are left out.
    :param vectors: their features, (N, D).
    :param alike: numbers of sets of near-duplicates, (N,), which no fold divides either.
    :returns: None with fewer than two classes, or if no class has two images.
    """
    rows = np.flatnonzero([label is not None for label in images.labels])
    labeled = images.select(rows)
    classes = labeled.classes
    if len(classes) < 2:
        return None
    events.notice(f"cross-validating a head to check the labels of {len(rows):,} images")
    targets = labeled.targets(classes)
    mine = vectors if len(rows) == len(vectors) else vectors[rows]
    features, labels = torch.from_numpy(np.asarray(mine, np.float32)), torch.from_numpy(targets)
    backbone = network.extractor.backbone
    pretrained = None
    if settings.pretrained_head and backbone.pretrained_head is not None:
        pretrained = matched_head(backbone.pretrained_head, backbone.classes, classes, features, labels)
    groups = group_numbers(labeled, None if alike is None else alike[rows])
    try:
        masks = fold_masks(targets, _FOLDS, settings.seed, groups=groups)
    except DataError:  # no class has two images
        return None
    problem = HeadProblem(
        len(classes), l2=CHECK_L2, kernel="none", pretrained=pretrained, discriminant=False, seed=settings.seed
    )
    solver, probabilities = head_solver("lbfgs"), np.empty((len(rows), len(classes)), np.float32)
    chosen: HeadFit | None = None
    # One after the other, since each fold's features are a copy: as cross-validation, they would all be in memory.
    for mask in masks:
        held_out, others = torch.from_numpy(mask), torch.from_numpy(~mask)
        train = features[others], labels[others]
        if chosen is None:
            seen = replace(problem, groups=groups[mask])
            chosen = solver.fit(train, (features[held_out], labels[held_out]), seen)
            logits = chosen.validation_logits
            # The other folds are not started from its head, which knows most of their images.
            chosen = replace(
                chosen, head=_start(problem, features, pretrained if chosen.prior == "pretrained" else None)
            )
        else:
            logits = solver.refit(chosen, train, problem=problem).logits(features[held_out])
        probabilities[mask] = torch.softmax(logits.float(), 1).cpu().numpy()
    return OutOfFold(rows, classes, targets, probabilities)


def _start(problem: HeadProblem, features: Tensor, pretrained: LinearHead | None) -> LinearHead:
    """A head that has seen no label."""
    if pretrained is not None:
        return pretrained
    return LinearHead(features.new_zeros(problem.classes, features.shape[1]), features.new_zeros(problem.classes))
