"""What is not in memory is read while earlier batches are computed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.errors import ImageProblem
from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.train.finetune import TrainConfig, finetune

COUNT = 30
TARGETS = np.arange(COUNT, dtype=np.int64) % 3
CONFIG = TrainConfig(epochs=2, batch_size=8, lr=0.05, mixup=0.3, micro_batch_size=3)


def numbers(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(COUNT, 6)).astype(np.float32)


@dataclass(frozen=True)
class Elsewhere:
    """Features that are not in memory, as those on disk."""

    values: NDArray[np.float32]
    reads: list[str] = field(default_factory=list)
    fail_at: int = -1
    third: threading.Event = field(default_factory=threading.Event)  # the third batch is being read

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: NDArray[np.int64]) -> Elsewhere:
        return Elsewhere(self.values[rows])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        self.reads.append(threading.current_thread().name)
        if len(self.reads) == 3:
            self.third.set()
        if len(self.reads) == self.fail_at:
            raise ImageProblem("a.jpg", "no such file")
        return self.values[np.asarray(rows)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Linear(8, 3))


def data(kind: Any) -> tuple[FeatureDataset, FeatureDataset]:
    views = tuple(kind(numbers(seed)) for seed in (1, 2))
    return FeatureDataset(kind(numbers(0)), TARGETS, views), FeatureDataset(InMemoryFeatures(numbers(3)), TARGETS)


def test_the_steps_are_those_of_features_in_memory() -> None:
    found = []
    for kind in (InMemoryFeatures, Elsewhere):
        tail = network()
        torch.manual_seed(1)  # of dropout
        history = finetune(tail, *data(kind), CONFIG)
        found.append(([(each.loss, each.val_loss) for each in history], tail.state_dict()))
    (first, one), (second, other) = found
    assert first == second
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_next_parts_are_read_while_one_is_computed() -> None:
    source = Elsewhere(numbers(0))
    waited: list[bool] = []

    class Waiting(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and not waited:  # the first part
                waited.append(source.third.wait(30))
            return super().forward(x)

    train = FeatureDataset(source, TARGETS)
    finetune(Waiting(6, 3), train, train, TrainConfig(epochs=1, batch_size=5))
    assert waited == [True]
    assert any(name != threading.main_thread().name for name in source.reads)


def test_what_cannot_be_read_ends_the_training() -> None:
    train = FeatureDataset(Elsewhere(numbers(0), fail_at=4), TARGETS)
    before = threading.active_count()
    with pytest.raises(ImageProblem, match="no such file"):
        finetune(network(), train, train, TrainConfig(epochs=1, batch_size=5))
    assert threading.active_count() <= before
