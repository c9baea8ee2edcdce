"""How long training will take, from a look at a step of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from headstart.train.layout import laid_out, same_for_gradients, suits
from headstart.train.tail import Loop

__all__ = ["solve_seconds", "step_seconds"]

_LOOKS = 3
_ROWS = 2048  # of the head's features, that a look is taken with
_EVALUATIONS = 300  # of the objective, by L-BFGS over a path of penalties: about ten of them, thirty steps each


def step_seconds(
    tail: nn.Module, shape: Sequence[int], loop: Loop, *, device: str = "cpu", uint8: bool = False
) -> float:
    """Seconds of a step of ``train_tail`` on a batch of inputs of this shape, but for the optimizer's part.

    Nothing of the tail is changed: its gradients are thrown away, and it is in evaluation mode.
    """
    tail.to(device).eval()
    noise = torch.rand(loop.batch, *shape, device=device)
    batch = (noise * 255).to(torch.uint8) if uint8 else laid_out(noise, last=suits(tail, loop.precision))
    targets = torch.zeros(loop.batch, dtype=torch.int64, device=device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=loop.precision == "bfloat16"):
            loss = F.cross_entropy(tail(batch), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        tail.zero_grad()

    with same_for_gradients(tail):
        return _least(step, device)


def solve_seconds(images: int, values: int, classes: int, *, device: str = "cpu") -> float:
    """Seconds to solve a head of (classes, values) on so many images, about.

    >>> solve_seconds(10, 8, 3) < solve_seconds(100_000_000, 8, 3)
    True
    """
    rows = min(images, _ROWS)
    x, weight = torch.rand(rows, values, device=device), torch.zeros(classes, values, device=device, requires_grad=True)
    targets = torch.zeros(rows, dtype=torch.int64, device=device)

    def step() -> None:
        F.cross_entropy(x @ weight.T, targets).backward()  # type: ignore[no-untyped-call]

    return _least(step, device) * images / rows * _EVALUATIONS


def _least(step: Callable[[], None], device: str) -> float:
    taken = []
    for _ in range(1 + _LOOKS):
        start = time.monotonic()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.monotonic() - start)
    return min(taken[1:])
