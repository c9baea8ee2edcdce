from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from headstart.errors import SettingsError
from headstart.train.class_balance import Balance, class_balance, image_weights

TARGETS = torch.tensor([0] * 12 + [1] * 3 + [2])


def test_weights_equal_those_of_scikit_learn_and_have_a_mean_of_one() -> None:
    weights = class_balance(TARGETS, 3, "weights").weights
    assert weights is not None
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=TARGETS.numpy())
    assert np.allclose(weights, theirs)
    assert float(weights[TARGETS].mean()) == pytest.approx(1)


def test_the_weighted_loss_is_a_mean_over_images_for_any_batches() -> None:
    correction, logits = (
        class_balance(TARGETS, 3, "weights"),
        torch.randn(16, 3, generator=torch.Generator().manual_seed(0)),
    )
    assert correction.weights is not None
    by_hand = sum(
        float(correction.weights[target] * F.cross_entropy(row[None], target[None]))
        for row, target in zip(logits, TARGETS, strict=True)
    )
    assert float(correction.loss(logits, TARGETS)) == pytest.approx(by_hand / 16)
    halves = [float(correction.loss(logits[rows], TARGETS[rows])) for rows in (slice(8), slice(8, 16))]
    assert np.mean(halves) == pytest.approx(by_hand / 16)  # the weight argument of cross_entropy would not add up


def test_the_offset_is_the_logarithm_of_the_class_frequencies() -> None:
    correction = class_balance(TARGETS, 3, "logit-adjust")
    assert correction.offset is not None
    assert torch.allclose(correction.offset.exp(), torch.tensor([12, 3, 1]) / 16)
    # With the offset, zero logits predict the class frequencies, whose log-loss is their entropy.
    entropy = float(-(correction.offset.exp() * correction.offset).sum())
    assert float(correction.loss(torch.zeros(16, 3), TARGETS)) == pytest.approx(entropy)


def test_without_correction_the_loss_is_cross_entropy() -> None:
    correction, logits = (
        class_balance(TARGETS, 3, "none"),
        torch.randn(16, 3, generator=torch.Generator().manual_seed(0)),
    )
    assert correction == Balance()
    assert not correction
    assert class_balance(TARGETS, 3, "weights")
    assert class_balance(TARGETS, 3, "logit-adjust")
    for smoothing in (0.0, 0.1):
        ours = correction.loss(logits, TARGETS, label_smoothing=smoothing)
        assert torch.equal(ours, F.cross_entropy(logits, TARGETS, label_smoothing=smoothing))


@pytest.mark.parametrize("mode", ["weights", "logit-adjust"])
def test_a_class_without_images_leaves_the_loss_finite(mode: str) -> None:
    correction = class_balance(TARGETS, 5, mode)
    assert torch.isfinite(correction.loss(torch.zeros(16, 5), TARGETS, label_smoothing=0.1))
    if correction.weights is not None:
        assert float(correction.weights[TARGETS].mean()) == pytest.approx(1)


def test_image_weights_make_classes_count_alike() -> None:
    weights = image_weights(TARGETS)
    sums = [float(weights[target == TARGETS].sum()) for target in range(3)]
    assert sums == pytest.approx([16 / 3] * 3)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        class_balance(TARGETS, 3, "sqrt")
    assert str(caught.value) == "class_balance must be one of none, weights, logit-adjust, got 'sqrt'"
