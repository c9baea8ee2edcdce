from __future__ import annotations

import torch
from torch import nn

from headstart.train.forecast import solve_seconds, step_seconds
from headstart.train.tail import Loop


def test_a_look_at_a_step_changes_nothing() -> None:
    tail = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))
    before = {name: value.clone() for name, value in tail.state_dict().items()}
    assert step_seconds(tail, (3, 8, 8), Loop(epochs=1, batch=4)) > 0
    assert all(torch.equal(value, before[name]) for name, value in tail.state_dict().items())
    assert all(parameter.grad is None for parameter in tail.parameters())


def test_more_images_take_longer() -> None:
    assert 0 < solve_seconds(2048, 64, 4) < solve_seconds(20_480_000, 64, 4)
