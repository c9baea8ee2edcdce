from __future__ import annotations

import torch
from torch import nn

from headstart.train.finetune import TrainConfig
from headstart.train.forecast import step_seconds


def test_timing_a_step_changes_nothing() -> None:
    tail = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    before = {name: value.clone() for name, value in tail.state_dict().items()}
    assert step_seconds(tail, (3, 8, 8), TrainConfig(epochs=1, batch_size=4)) > 0
    assert all(torch.equal(value, before[name]) for name, value in tail.state_dict().items())
    assert all(parameter.grad is None for parameter in tail.parameters())


def test_of_micro_batches_one_is_measured() -> None:
    """A whole batch might not fit into memory."""
    sizes: list[int] = []
    tail = nn.Linear(4, 2)
    tail.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    assert step_seconds(tail, (4,), TrainConfig(epochs=1, batch_size=64, micro_batch_size=8)) > 0
    assert set(sizes) == {8}
