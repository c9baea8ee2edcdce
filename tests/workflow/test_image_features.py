"""Probabilities of labels by heads that have not seen them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from headstart.config import FitSettings
from headstart.data.issues import OutOfFold
from headstart.data.manifest import Manifest
from headstart.events import Events
from headstart.train.heads import HeadProblem, head_solver
from headstart.train.heads.cross_validation import fold_masks
from headstart.workflow.candidates import Candidate, open_candidate
from headstart.workflow.image_features import CHECK_L2, predict_out_of_fold

CLASSES, EACH, FEATURES = 4, 25, 12


@pytest.fixture
def network(tmp_path: Path) -> Candidate:
    """Whose features are never computed: the test makes them up."""
    settings = FitSettings(model="test_resnet", weights="random", cache_dir=str(tmp_path / "store"))
    return open_candidate("test_resnet", settings, classes=CLASSES, events=Events())


def clouds(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) around a center for each class, and the targets (N,)."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.arange(CLASSES), EACH)
    centers = rng.normal(size=(CLASSES, FEATURES))
    return (centers[targets] + rng.normal(size=(len(targets), FEATURES))).astype(np.float32), targets


def predicted(network: Candidate, features: np.ndarray, targets: np.ndarray) -> OutOfFold:
    images = Manifest.from_rows(
        [f"/{number}.jpg" for number in range(len(targets))], labels=[f"class {target}" for target in targets]
    )
    found = predict_out_of_fold(images, features, network, FitSettings(), events=Events())
    assert found is not None
    return found


def test_each_fold_is_predicted_as_by_a_head_of_its_own(network: Candidate) -> None:
    features, targets = clouds(0)
    found = predicted(network, features, targets)
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    problem = HeadProblem(CLASSES, l2=CHECK_L2, kernel="none", discriminant=False)
    for mask in fold_masks(targets, 5, seed=0):
        held_out = torch.from_numpy(mask)
        fit = head_solver("lbfgs").fit((x[~held_out], y[~held_out]), (x[held_out], y[held_out]), problem)
        np.testing.assert_allclose(found.probabilities[mask], fit.validation_logits.softmax(1), atol=2e-3)


def test_no_fold_knows_its_labels(network: Candidate) -> None:
    """Features without any meaning: a head that had seen the labels would know them."""
    _, targets = clouds(0)
    features = np.random.default_rng(1).normal(size=(len(targets), 4 * len(targets))).astype(np.float32)
    found = predicted(network, features, targets)
    assert np.mean(found.probabilities.argmax(1) == targets) < 0.45


def test_every_fold_is_drawn_to_the_pretrained_head_where_it_is_better(network: Candidate) -> None:
    features, targets = clouds(2)
    features = 0.1 * features  # so that a solution from zero stays far from the centers
    backbone = network.extractor.backbone
    old = nn.Linear(FEATURES, CLASSES)
    with torch.no_grad():
        centers = torch.from_numpy(np.stack([features[targets == each].mean(0) for each in range(CLASSES)]))
        old.weight.copy_(200 * centers)
        old.bias.copy_(-100 * centers.square().sum(1))
    known = replace(backbone, pretrained_head=old, classes=tuple(f"class {each}" for each in range(CLASSES)))
    drawn = predicted(replace(network, extractor=replace(network.extractor, backbone=known)), features, targets)
    plain = predicted(network, features, targets)
    own = np.arange(len(targets)), targets
    gain = np.log(drawn.probabilities[own]) - np.log(plain.probabilities[own])
    assert all(gain[mask].mean() > 0.01 for mask in fold_masks(targets, 5, seed=0))
