from __future__ import annotations

import numpy as np
import torch
from torch import nn

from headstart.train.outputs import Outputs, mean_outputs, outputs
from headstart.train.part import Kept

INPUTS = Kept(np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32))  # more than a batch


def test_what_the_head_is_given_comes_with_what_it_says() -> None:
    tail = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    found = outputs(tail, tail[2], INPUTS)
    assert found.features is not None
    with torch.no_grad():
        assert np.allclose(found.logits, tail[2](torch.from_numpy(found.features)).numpy(), atol=1e-6)
    assert found.features.shape == (600, 5)
    assert not tail[2]._forward_pre_hooks  # the network is left as it was


def test_a_head_that_is_none_or_sees_maps_gives_no_features() -> None:
    tail = nn.Sequential(nn.Linear(3, 2))
    assert outputs(tail, (tail[0], tail[0]), INPUTS).features is None
    maps = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 2, 1), nn.Flatten())
    assert outputs(maps, maps[1], INPUTS).features is None


def test_views_count_alike() -> None:
    one, other = Outputs(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)), None
    other = Outputs(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    found = mean_outputs([one, other])
    assert found.features is not None
    assert (found.logits.mean(), found.features.mean()) == (0.5, 0.5)
    assert mean_outputs([one, Outputs(other.logits, None)]).features is None


def test_features_of_every_seventh_image() -> None:
    tail = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    whole, some = outputs(tail, tail[2], INPUTS), outputs(tail, tail[2], INPUTS, step=7)
    assert whole.features is not None
    assert some.features is not None
    assert np.array_equal(some.logits, whole.logits)
    assert np.array_equal(some.features, whole.features[::7])
    assert mean_outputs([some, some]).step == 7
