from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from headstart.errors import SettingsError
from headstart.train.balance import Balance, balance, image_weights

TARGETS = torch.tensor([0] * 12 + [1] * 3 + [2])


def test_weights_are_those_of_scikit_learn_and_their_mean_over_the_images_is_one() -> None:
    weights = balance(TARGETS, 3, "loss").weights
    assert weights is not None
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS.numpy())
    assert np.allclose(weights, theirs)
    assert float(weights[TARGETS].mean()) == pytest.approx(1)


def test_the_weighted_loss_is_a_mean_over_images_whatever_the_batch() -> None:
    told, logits = balance(TARGETS, 3, "loss"), torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    assert told.weights is not None
    by_hand = sum(
        float(told.weights[target] * F.cross_entropy(row[None], target[None]))
        for row, target in zip(logits, TARGETS, strict=True)
    )
    assert float(told.loss(logits, TARGETS)) == pytest.approx(by_hand / 16)
    halves = [float(told.loss(logits[part], TARGETS[part])) for part in (slice(8), slice(8, 16))]
    assert np.mean(halves) == pytest.approx(by_hand / 16)  # cross_entropy's own weight would not add up


def test_the_offset_is_the_logarithm_of_the_shares_and_counts_in_the_loss_alone() -> None:
    told = balance(TARGETS, 3, "logits")
    assert told.offset is not None
    assert torch.allclose(told.offset.exp(), torch.tensor([12, 3, 1]) / 16)
    # Logits that say nothing are, with the offset, the shares; their log-loss is their entropy.
    entropy = float(-(told.offset.exp() * told.offset).sum())
    assert float(told.loss(torch.zeros(16, 3), TARGETS)) == pytest.approx(entropy)


def test_without_a_mode_it_is_the_plain_loss() -> None:
    told, logits = balance(TARGETS, 3, "none"), torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    assert told == Balance()
    assert not told
    assert balance(TARGETS, 3, "loss")
    assert balance(TARGETS, 3, "logits")
    for smoothing in (0.0, 0.1):
        ours = told.loss(logits, TARGETS, label_smoothing=smoothing)
        assert torch.equal(ours, F.cross_entropy(logits, TARGETS, label_smoothing=smoothing))


@pytest.mark.parametrize("mode", ["loss", "logits"])
def test_a_class_without_images_leaves_the_loss_finite(mode: str) -> None:
    told = balance(TARGETS, 5, mode)
    assert torch.isfinite(told.loss(torch.zeros(16, 5), TARGETS, label_smoothing=0.1))
    if told.weights is not None:
        assert float(told.weights[TARGETS].mean()) == pytest.approx(1)


def test_image_weights_let_classes_count_alike() -> None:
    weights = image_weights(TARGETS)
    sums = [float(weights[target == TARGETS].sum()) for target in range(3)]
    assert sums == pytest.approx([16 / 3] * 3)


def test_an_unknown_mode_is_told() -> None:
    with pytest.raises(SettingsError) as caught:
        balance(TARGETS, 3, "weights")
    assert str(caught.value) == "balance must be one of none, loss, logits, got 'weights'"
