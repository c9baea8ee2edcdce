from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.metrics import accuracy_score, log_loss

from headstart.train.metrics import epoch_metrics, paired_difference


def test_epoch_metrics_equal_those_of_scikit_learn() -> None:
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(50) % 3 * (torch.arange(50) % 2)  # imbalanced
    metrics = epoch_metrics(logits, targets, balanced=True)
    probabilities = logits.double().softmax(1).numpy()
    assert metrics.loss == pytest.approx(log_loss(targets, probabilities), rel=1e-5)
    assert metrics.accuracy == pytest.approx(accuracy_score(targets, logits.argmax(1)))
    by_class = [-np.log(probabilities[targets == target, target]).mean() for target in range(3)]
    assert metrics.balanced_loss == pytest.approx(np.mean(by_class), rel=1e-5)
    assert epoch_metrics(logits, targets).balanced_loss is None


def test_paired_difference_is_that_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    one = rng.random(30)
    other = one + rng.normal(0.1, 0.2, 30)
    mean, error = paired_difference(one, other)
    assert mean == pytest.approx((one - other).mean())
    assert mean / (error / 1.96) == pytest.approx(ttest_rel(one, other).statistic)
    assert paired_difference(one[:1], other[:1])[1] == math.inf
