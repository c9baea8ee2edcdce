"""The loop: a module and batches in, the trained module and its history out. It cannot tell features from images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.errors import SettingsError
from headstart.train.part import Inputs, Part
from headstart.train.schedule import rate

__all__ = ["Loop", "logits", "train_tail"]

_RATES = {"adamw": 1e-3, "sgd": 1e-2}
_EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Loop:
    """How to train."""

    epochs: int
    batch: int
    optimizer: str = "adamw"
    lr: float | None = None
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: str = "cosine"
    batchnorm: str = "frozen"
    keep: str = "best"  # epoch whose weights stay, or "last"
    seed: int = 0

    @property
    def highest_rate(self) -> float:
        """The learning rate, the optimizer's usual one where none was given."""
        return _RATES[self.optimizer] if self.lr is None else self.lr


def train_tail(
    tail: nn.Module,
    train: Part,
    validation: Part,
    loop: Loop,
    *,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, Any]], object] | None = None,
) -> list[dict[str, Any]]:
    """Train in place the parameters that require a gradient; keep the epoch with the lowest validation log-loss, or
    the last.

    What does not require a gradient stays the same to the byte: parameters, and the statistics of BatchNorm layers.

    :param tail: inputs (B, ...) -> logits (B, C).
    :returns: a line of history an epoch, the kept one marked.
    :raises SettingsError: the loss is no longer finite.
    """
    tail.to(device)
    optimizer = _optimizer(tail, loop)
    shuffle = np.random.default_rng(loop.seed)
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(loop.seed)
        for epoch in range(1, loop.epochs + 1):
            start = time.monotonic()
            _mode(tail, loop)
            told = _epoch(tail, train, shuffle.permutation(len(train)), optimizer, loop, epoch)
            told |= _evaluated(tail, validation, device)
            _refuse_what_is_not_finite(told, epoch, loop)
            seconds = round(time.monotonic() - start, 3)
            line = {"stage": "tail", "epoch": epoch, **told, "seconds": seconds, "chosen": False}
            better = not history or line["val_loss"] < min(each["val_loss"] for each in history)
            if better and loop.keep == "best":
                best = _changing(tail)
            history.append(line)
            if on_epoch is not None:
                on_epoch(line)
    tail.load_state_dict(best, strict=False)
    tail.eval()
    kept = min(history, key=lambda line: float(line["val_loss"])) if loop.keep == "best" else history[-1]
    kept["chosen"] = True
    return history


def _refuse_what_is_not_finite(told: dict[str, float], epoch: int, loop: Loop) -> None:
    if not (math.isfinite(told["loss"]) and math.isfinite(told["val_loss"])):
        raise SettingsError(f"the loss is not finite in epoch {epoch}: use a smaller --lr, it is {loop.highest_rate:g}")


@torch.inference_mode()
def logits(tail: nn.Module, inputs: Inputs, *, device: str = "cpu") -> NDArray[np.float32]:
    """What the tail gives in evaluation mode, (N, C), some hundreds of inputs at a time."""
    tail.to(device).eval()
    parts = []
    for start in range(0, len(inputs), _EVALUATION_BATCH):
        rows = np.arange(start, min(start + _EVALUATION_BATCH, len(inputs)))
        parts.append(tail(_tensor(inputs.take(rows), device)).float().cpu().numpy())
    return np.concatenate(parts)


def _tensor(values: NDArray[Any], device: str) -> Tensor:
    batch = torch.from_numpy(values).to(device)
    return batch if batch.dtype == torch.uint8 else batch.float()


def _optimizer(tail: nn.Module, loop: Loop) -> torch.optim.Optimizer:
    trained = [each for each in tail.parameters() if each.requires_grad]
    # Weight decay is for matrices: a pull on biases and norms only harms (He et al. 2019, "Bag of tricks").
    groups = [
        {"params": [each for each in trained if each.ndim > 1], "weight_decay": loop.weight_decay},
        {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
    ]
    if loop.optimizer == "sgd":
        return torch.optim.SGD(groups, loop.highest_rate, momentum=loop.momentum)
    return torch.optim.AdamW(groups, loop.highest_rate)


def _mode(tail: nn.Module, loop: Loop) -> None:
    """Training mode, but for layers with running statistics (BatchNorm, and EvoNorm's) that shall stay."""
    tail.train()
    for module in tail.modules():
        if getattr(module, "running_var", None) is not None:
            trained = any(parameter.requires_grad for parameter in module.parameters())
            module.train(trained and loop.batchnorm == "train")


def _epoch(
    tail: nn.Module, train: Part, order: NDArray[np.int64], optimizer: torch.optim.Optimizer, loop: Loop, epoch: int
) -> dict[str, float]:
    """Pass over the images once; what they gave before each step, and the learning rate of the first."""
    device = str(next(tail.parameters()).device)
    loss_sum, right = 0.0, 0
    batches = _batches(order, loop.batch)
    steps = range((epoch - 1) * len(batches), epoch * len(batches))
    rates = [
        rate(step, steps=loop.epochs * len(batches), highest=loop.highest_rate, schedule=loop.schedule)
        for step in steps
    ]
    for lr, rows in zip(rates, batches, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = lr
        targets = torch.from_numpy(train.targets[rows]).to(device)
        given = tail(_tensor(train.inputs.take(rows), device))
        loss = F.cross_entropy(given, targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss_sum += float(loss.detach()) * len(rows)
        right += int((given.detach().argmax(1) == targets).sum())
    return {"loss": loss_sum / len(order), "accuracy": right / len(order), "lr": rates[0]}


def _batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Full batches; a remainder of one image joins the batch before it, since BatchNorm cannot learn from one."""
    ends = list(range(size, len(order), size))
    if ends and size > 1 and len(order) - ends[-1] == 1:
        ends.pop()
    return np.split(order, ends)


def _evaluated(tail: nn.Module, part: Part, device: str) -> dict[str, float]:
    given = torch.from_numpy(logits(tail, part.inputs, device=device))
    targets = torch.from_numpy(part.targets)
    right = (given.argmax(1) == targets).float().mean()
    return {"val_loss": float(F.cross_entropy(given, targets)), "val_accuracy": float(right)}


def _changing(tail: nn.Module) -> dict[str, Tensor]:
    """A copy of what training changes."""
    trained = {name for name, parameter in tail.named_parameters() if parameter.requires_grad}
    owners = {name.rpartition(".")[0] for name in trained}
    return {
        name: value.detach().clone()
        for name, value in tail.state_dict().items()
        if name in trained or name.rpartition(".")[0] in owners
    }
