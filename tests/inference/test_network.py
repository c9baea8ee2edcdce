from __future__ import annotations

import numpy as np
import torch
from torch import nn

from headstart.features.sources import InMemoryFeatures
from headstart.inference.network import NetworkOutputs, mean_outputs, network_outputs

INPUTS = InMemoryFeatures(np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32))  # more than a batch


def test_embeddings_are_the_input_of_the_head() -> None:
    tail = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    outputs = network_outputs(tail, tail[2], INPUTS)
    assert outputs.embeddings is not None
    with torch.no_grad():
        assert np.allclose(outputs.logits, tail[2](torch.from_numpy(outputs.embeddings)).numpy(), atol=1e-6)
    assert outputs.embeddings.shape == (600, 5)
    assert not tail[2]._forward_pre_hooks  # the hook is removed


def test_no_embeddings_without_a_single_head_on_vectors() -> None:
    tail = nn.Sequential(nn.Linear(3, 2))
    assert network_outputs(tail, (tail[0], tail[0]), INPUTS).embeddings is None
    maps = nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 2, 1), nn.Flatten())
    assert network_outputs(maps, maps[1], INPUTS).embeddings is None


def test_no_embeddings_of_a_head_that_is_given_other_than_one_vector_per_image() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) + self.head(x)  # type: ignore[no-any-return]

    class OfPairs(Twice):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x[::2]).repeat(2, 1)  # type: ignore[no-any-return]

    for tail in (Twice(), OfPairs()):
        outputs = network_outputs(tail, tail.head, INPUTS)
        assert outputs.logits.shape == (600, 2)
        assert outputs.embeddings is None


def test_mean_over_views() -> None:
    one, other = NetworkOutputs(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32)), None
    other = NetworkOutputs(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    outputs = mean_outputs([one, other])
    assert outputs.embeddings is not None
    assert (outputs.logits.mean(), outputs.embeddings.mean()) == (0.5, 0.5)
    assert mean_outputs([one, NetworkOutputs(other.logits, None)]).embeddings is None


def test_embeddings_of_every_seventh_image() -> None:
    tail = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    whole, some = network_outputs(tail, tail[2], INPUTS), network_outputs(tail, tail[2], INPUTS, step=7)
    assert whole.embeddings is not None
    assert some.embeddings is not None
    assert np.array_equal(some.logits, whole.logits)
    assert np.array_equal(some.embeddings, whole.embeddings[::7])
    assert mean_outputs([some, some]).step == 7
