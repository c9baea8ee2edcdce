"""How long fine-tuning will take, from the time of one step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from headstart.inference.memory_format import channels_last_gradients, choose_memory_format, to_channels_last
from headstart.inference.network import autocast
from headstart.train.finetune import TrainConfig
from headstart.train.timing import fastest

__all__ = ["step_seconds"]


def step_seconds(
    tail: nn.Module, shape: Sequence[int], config: TrainConfig, *, device: str = "cpu", uint8: bool = False
) -> float:
    """Measure the seconds of a training step on a batch of random inputs, without the optimizer.

    Of several micro-batches one is measured. The tail is not changed: gradients are discarded, and it is left in
    evaluation mode.

    :param shape: of one input.
    :param uint8: whether the inputs are pixels.
    """
    tail.to(device).eval()
    count = min(config.batch_size, config.micro_batch_size or config.batch_size)
    noise = torch.rand(count, *shape, device=device)
    batch = (
        (noise * 255).to(torch.uint8)
        if uint8
        else to_channels_last(noise, last=choose_memory_format(tail, config.precision))
    )
    targets = torch.zeros(count, dtype=torch.int64, device=device)

    def step() -> None:
        with autocast(device, config.precision):
            loss = F.cross_entropy(tail(batch), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        tail.zero_grad()

    with channels_last_gradients(tail):
        return fastest(step, device) * config.batch_size / count
