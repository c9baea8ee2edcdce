"""The loop: a module and batches in, the trained module and its history out. It cannot tell features from images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import SettingsError
from headstart.train.balance import Balance
from headstart.train.batches import Batch, draw_views, gather, mix, noisy, split, tensor
from headstart.train.figures import figures
from headstart.train.layout import laid_out, same_for_gradients, suits
from headstart.train.part import Inputs, Part
from headstart.train.schedule import rate, shares

__all__ = ["Loop", "changing", "logits", "train_tail"]

_RATES = {"adamw": 1e-3, "sgd": 1e-2}
_EVALUATION_BATCH = 64  # maps of many channels: with 256 they take hundreds of megabytes


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
    mixup: float = 0.0  # alpha of the Beta distribution that the shares are drawn from; 0 mixes nothing
    label_smoothing: float = 0.0  # share of the target that is spread over all classes
    noise: float = 0.0  # deviation of Gaussian noise, as a share of the deviation of the batch's inputs
    layer_decay: float = 1.0  # times the learning rate for each block farther from the head
    precision: str = "float32"  # of forward pass, loss and validation, or "bfloat16"; weights stay float32

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise SettingsError(f"precision of the training must be float32 or bfloat16, got {self.precision!r}")

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
    balance: Balance | None = None,
    deadline: float | None = None,
) -> list[dict[str, Any]]:
    """Train in place the parameters that require a gradient; keep the epoch with the lowest validation log-loss, or
    the last.

    What does not require a gradient stays the same to the byte: parameters, and the statistics of BatchNorm layers.
    Where training ends early, its schedule of learning rates is cut off, and what was best so far is kept.

    :param tail: inputs (B, ...) -> logits (B, C).
    :param train: its views take turns by chance, an image and epoch at a time; of ``validation``, inputs alone count.
    :param balance: how the loss makes up for rare classes. The kept epoch is then the one with the lowest
        "val_balanced_loss", in which all classes count alike.
    :param deadline: of :func:`time.monotonic`. An epoch that would end later, taking as long as the one before, is not
        begun; the first always is.
    :returns: a line of history an epoch, the kept one marked. "loss" is what was minimised, with what ``loop`` and
        ``balance`` make of it, and "accuracy" of mixed inputs is by the label that dominates; "lr" is the head's.
    :raises SettingsError: the loss is no longer finite.
    """
    tail.to(device)
    training = _Training(tail, train, loop, device, (balance or Balance()).to(device))
    chooses = "val_balanced_loss" if balance else "val_loss"
    history: list[dict[str, Any]] = []
    best: dict[str, Tensor] = {}
    with torch.random.fork_rng(devices=[]), same_for_gradients(tail):
        torch.manual_seed(loop.seed)
        for epoch in range(1, loop.epochs + 1):
            start = time.monotonic()
            told = training.epoch(epoch)
            given = torch.from_numpy(logits(tail, validation.inputs, device=device, precision=loop.precision))
            targets = torch.from_numpy(validation.targets)
            told |= figures(given, targets, prefix="val_", balanced=bool(balance))
            _refuse_what_is_not_finite(told, epoch, loop)
            seconds = time.monotonic() - start
            line = {"stage": "tail", "epoch": epoch, **told, "seconds": round(seconds, 3), "chosen": False}
            better = not history or line[chooses] < min(each[chooses] for each in history)
            if better and loop.keep == "best":
                best = changing(tail)
            history.append(line)
            if on_epoch is not None:
                on_epoch(line)
            if deadline is not None and time.monotonic() + seconds > deadline:
                break
    tail.load_state_dict(best, strict=False)
    tail.eval()
    kept = min(history, key=lambda line: float(line[chooses])) if loop.keep == "best" else history[-1]
    kept["chosen"] = True
    return history


def _refuse_what_is_not_finite(told: dict[str, float], epoch: int, loop: Loop) -> None:
    if not (math.isfinite(told["loss"]) and math.isfinite(told["val_loss"])):
        raise SettingsError(f"the loss is not finite in epoch {epoch}: use a smaller --lr, it is {loop.highest_rate:g}")


@torch.inference_mode()
def logits(tail: nn.Module, inputs: Inputs, *, device: str = "cpu", precision: str = "float32") -> NDArray[np.float32]:
    """What the tail gives in evaluation mode, (N, C), some inputs at a time."""
    tail.to(device).eval()
    parts, last = [], suits(tail, precision)
    with _autocast(device, precision):
        for start in range(0, len(inputs), _EVALUATION_BATCH):
            rows = np.arange(start, min(start + _EVALUATION_BATCH, len(inputs)))
            parts.append(tail(laid_out(tensor(inputs, rows, device), last=last)).float().cpu().numpy())
    return np.concatenate(parts)


class _Training:
    """What stays from epoch to epoch."""

    def __init__(self, tail: nn.Module, train: Part, loop: Loop, device: str, balance: Balance) -> None:
        self.tail, self.train, self.loop, self.device, self.balance = tail, train, loop, device, balance
        self.optimizer = _optimizer(tail, loop)
        self.channels_last = suits(tail, loop.precision)
        self.shuffle = np.random.default_rng(loop.seed)
        # Another stream, so that views and mixing leave the order of the images as it is without them.
        self.chance = np.random.default_rng([loop.seed, 1])

    def epoch(self, epoch: int) -> dict[str, float]:
        """Pass over the images once; what they gave before each step, and the learning rate of the first."""
        loop = self.loop
        _mode(self.tail, loop)
        batches = split(self.shuffle.permutation(len(self.train)), loop.batch)
        views = draw_views(self.train, self.chance)
        steps = range((epoch - 1) * len(batches), epoch * len(batches))
        rates = [
            rate(step, steps=loop.epochs * len(batches), highest=loop.highest_rate, schedule=loop.schedule)
            for step in steps
        ]
        loss_sum, right = 0.0, 0
        for lr, rows in zip(rates, batches, strict=True):
            for group in self.optimizer.param_groups:
                group["lr"] = lr * group["share"]
            loss, hits = self._step(self._changed(gather(self.train, rows, views, self.device)))
            loss_sum += loss * len(rows)
            right += hits
        return {"loss": loss_sum / len(self.train), "accuracy": right / len(self.train), "lr": rates[0]}

    def _changed(self, batch: Batch) -> Batch:
        if self.loop.mixup:
            batch = mix(batch, self.loop.mixup, self.chance)
        return replace(batch, inputs=noisy(batch.inputs, self.loop.noise)) if self.loop.noise else batch

    def _step(self, batch: Batch) -> tuple[float, int]:
        """The mean loss, and how many were right."""
        with _autocast(self.device, self.loop.precision):
            given = self.tail(laid_out(batch.inputs, last=self.channels_last))
            loss = self._loss(given, batch.targets)
            if batch.others is not None:
                loss = batch.share * loss + (1 - batch.share) * self._loss(given, batch.others)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach()), int((given.detach().argmax(1) == batch.dominating).sum())

    def _loss(self, given: Tensor, targets: Tensor) -> Tensor:
        return self.balance.loss(given, targets, label_smoothing=self.loop.label_smoothing)


def _autocast(device: str, precision: str) -> torch.autocast:
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")


def _optimizer(tail: nn.Module, loop: Loop) -> torch.optim.Optimizer:
    named = dict(tail.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, share in zip(named.values(), shares(list(named), loop.layer_decay), strict=True):
        if parameter.requires_grad:
            # Weight decay is for matrices: a pull on biases and norms only harms (He et al. 2019, "Bag of tricks").
            decay = loop.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((share, decay), []).append(parameter)
    each = [{"params": found, "share": share, "weight_decay": decay} for (share, decay), found in groups.items()]
    if loop.optimizer == "sgd":
        return torch.optim.SGD(each, loop.highest_rate, momentum=loop.momentum)
    return torch.optim.AdamW(each, loop.highest_rate)


def _mode(tail: nn.Module, loop: Loop) -> None:
    """Training mode, but for layers with running statistics (BatchNorm, and EvoNorm's) that shall stay."""
    tail.train()
    for module in tail.modules():
        if getattr(module, "running_var", None) is not None:
            trained = any(parameter.requires_grad for parameter in module.parameters())
            module.train(trained and loop.batchnorm == "train")


def changing(tail: nn.Module) -> dict[str, Tensor]:
    """A copy of what training changes: what needs a gradient, and what else its modules keep (running statistics)."""
    trained = {name for name, parameter in tail.named_parameters() if parameter.requires_grad}
    owners = {name.rpartition(".")[0] for name in trained}
    return {
        name: value.detach().clone()
        for name, value in tail.state_dict().items()
        if name in trained or name.rpartition(".")[0] in owners
    }
