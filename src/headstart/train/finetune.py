"""Fine-tuning: a module and batches in, the trained module and its history out.

It cannot tell features from images: both are inputs of the module.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from headstart.errors import SettingsError
from headstart.evaluate.schema import EpochRecord
from headstart.features.sources import FeatureDataset
from headstart.inference.memory_format import channels_last_gradients, choose_memory_format, to_channels_last
from headstart.inference.network import autocast, logits
from headstart.models.seeding import seeded
from headstart.train.batches import Batch, add_noise, draw_views, gather, mixup, split_batches
from headstart.train.class_balance import Balance
from headstart.train.metrics import EpochMetrics, epoch_metrics
from headstart.train.schedule import learning_rate, lr_scales

__all__ = ["TrainConfig", "finetune", "trainable_state"]

_DEFAULT_LR = {"adamw": 1e-3, "sgd": 1e-2}


@dataclass(frozen=True)
class TrainConfig:
    """Hyperparameters of fine-tuning.

    :raises SettingsError: the precision is neither "float32" nor "bfloat16".
    """

    epochs: int
    batch_size: int
    optimizer: str = "adamw"  # or "sgd"
    lr: float | None = None  # None: 1e-3 for adamw, 1e-2 for sgd
    weight_decay: float = 0.01
    momentum: float = 0.9  # of sgd
    schedule: str = "cosine"  # or "constant"
    batchnorm: str = "frozen"  # or "train": whether its statistics are updated
    restore_best: bool = True  # keep the weights of the epoch that validated best, not those of the last
    seed: int = 0
    mixup: float = 0.0  # alpha of the Beta distribution of the mixing weights; 0: no mixup
    label_smoothing: float = 0.0  # share of the target that is spread over all classes
    feature_noise: float = 0.0  # standard deviation of Gaussian noise, relative to that of the batch's inputs
    layer_decay: float = 1.0  # factor of the learning rate per block of distance from the head
    precision: str = "float32"  # of forward pass, loss and validation, or "bfloat16"; weights stay float32

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise SettingsError(f"the precision of training must be float32 or bfloat16, got {self.precision!r}")

    @property
    def base_lr(self) -> float:
        """The learning rate at the start; by default that of the optimizer."""
        return _DEFAULT_LR[self.optimizer] if self.lr is None else self.lr


def finetune(
    tail: nn.Module,
    train: FeatureDataset,
    validation: FeatureDataset,
    config: TrainConfig,
    *,
    device: str = "cpu",
    balance: Balance | None = None,
    deadline: float | None = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
) -> tuple[EpochRecord, ...]:
    """Train in place the parameters that require a gradient; keep the weights of the best epoch, or of the last.

    Everything else stays bitwise identical: frozen parameters, and the statistics of frozen BatchNorm layers.

    :param tail: inputs (B, ...) -> logits (B, C).
    :param train: each image shows a random one of its views in each epoch.
    :param validation: its views are ignored.
    :param balance: correction of the loss for imbalanced classes. The best epoch is then the one with the lowest
        ``val_balanced_loss``, in which all classes count alike, else the one with the lowest ``val_loss``.
    :param deadline: in :func:`time.monotonic`. An epoch that would end later, judged by the duration of the one before,
        is not begun; the first always is. The schedule of learning rates is then cut off.
    :param on_epoch: called after each epoch.
    :returns: one record per epoch, the kept one marked. ``loss`` is the training loss as it was minimized, with mixup,
        label smoothing and balance; ``accuracy`` with mixup counts the label with the larger weight.
    :raises SettingsError: the loss is no longer finite.
    """
    tail.to(device)
    trainer = _Trainer(tail, train, config, device, (balance or Balance()).to(device))
    history: list[EpochRecord] = []
    best: dict[str, Tensor] = {}

    def criterion(record: EpochRecord) -> float:
        return record.val_loss if record.val_balanced_loss is None else record.val_balanced_loss

    with seeded(config.seed), channels_last_gradients(tail):
        for epoch in range(1, config.epochs + 1):
            start = time.monotonic()
            metrics, lr = trainer.epoch(epoch)
            outputs = torch.from_numpy(logits(tail, validation.inputs, device=device, precision=config.precision))
            checked = epoch_metrics(outputs, torch.from_numpy(validation.targets), balanced=bool(balance))
            seconds = time.monotonic() - start
            record = _record(epoch, metrics, checked, lr, seconds)
            if not (math.isfinite(record.loss) and math.isfinite(record.val_loss)):
                raise SettingsError(
                    f"the loss is not finite in epoch {epoch}: use a smaller --lr, it is {config.base_lr:g}"
                )
            if config.restore_best and all(criterion(record) < criterion(each) for each in history):
                best = trainable_state(tail)
            history.append(record)
            if on_epoch is not None:
                on_epoch(record)
            if deadline is not None and time.monotonic() + seconds > deadline:
                break
    tail.load_state_dict(best, strict=False)
    tail.eval()
    kept = min(history, key=criterion) if config.restore_best else history[-1]
    return tuple(replace(record, chosen=record is kept) for record in history)


def _record(epoch: int, train: EpochMetrics, validation: EpochMetrics, lr: float, seconds: float) -> EpochRecord:
    return EpochRecord(
        stage="finetune",
        epoch=epoch,
        loss=train.loss,
        accuracy=train.accuracy,
        val_loss=validation.loss,
        val_accuracy=validation.accuracy,
        val_balanced_loss=validation.balanced_loss,
        seconds=round(seconds, 3),
        lr=lr,
    )


class _Trainer:
    """The state that lasts from epoch to epoch."""

    def __init__(
        self, tail: nn.Module, train: FeatureDataset, config: TrainConfig, device: str, balance: Balance
    ) -> None:
        self.tail, self.train, self.config, self.device, self.balance = tail, train, config, device, balance
        self.optimizer = _optimizer(tail, config)
        self.channels_last = choose_memory_format(tail, config.precision)
        self.shuffle_rng = np.random.default_rng(config.seed)
        # A second stream, so that views and mixup leave the order of the images as it is without them.
        self.augment_rng = np.random.default_rng([config.seed, 1])

    def epoch(self, epoch: int) -> tuple[EpochMetrics, float]:
        """Train for one epoch; return the metrics of each batch before its step, and the first learning rate."""
        config = self.config
        _set_mode(self.tail, config)
        batches = split_batches(self.shuffle_rng.permutation(len(self.train)), config.batch_size)
        views = draw_views(self.train, self.augment_rng)
        total = config.epochs * len(batches)
        rates = [
            learning_rate(step, steps=total, base_lr=config.base_lr, schedule=config.schedule)
            for step in range((epoch - 1) * len(batches), epoch * len(batches))
        ]
        loss_sum, correct = 0.0, 0
        for lr, rows in zip(rates, batches, strict=True):
            for group in self.optimizer.param_groups:
                group["lr"] = lr * group["lr_scale"]
            loss, hits = self._step(self._augment(gather(self.train, rows, views, self.device)))
            loss_sum += loss * len(rows)
            correct += hits
        return EpochMetrics(loss_sum / len(self.train), correct / len(self.train)), rates[0]

    def _augment(self, batch: Batch) -> Batch:
        if self.config.mixup:
            batch = mixup(batch, self.config.mixup, self.augment_rng)
        if self.config.feature_noise:
            batch = replace(batch, inputs=add_noise(batch.inputs, self.config.feature_noise))
        return batch

    def _step(self, batch: Batch) -> tuple[float, int]:
        """Take one step; return the mean loss and the number of correct images."""
        with autocast(self.device, self.config.precision):
            outputs = self.tail(to_channels_last(batch.inputs, last=self.channels_last))
            loss = self._loss(outputs, batch.targets)
            if batch.mixed_targets is not None:
                loss = batch.lam * loss + (1 - batch.lam) * self._loss(outputs, batch.mixed_targets)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach()), int((outputs.detach().argmax(1) == batch.dominant_targets).sum())

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.balance.loss(outputs, targets, label_smoothing=self.config.label_smoothing)


def _optimizer(tail: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    named = dict(tail.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, scale in zip(named.values(), lr_scales(list(named), config.layer_decay), strict=True):
        if parameter.requires_grad:
            # Weight decay is for matrices: on biases and norms it only harms (He et al. 2019, "Bag of tricks").
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    each = [{"params": found, "lr_scale": scale, "weight_decay": decay} for (scale, decay), found in groups.items()]
    if config.optimizer == "sgd":
        return torch.optim.SGD(each, config.base_lr, momentum=config.momentum)
    return torch.optim.AdamW(each, config.base_lr)


def _set_mode(tail: nn.Module, config: TrainConfig) -> None:
    """Set training mode, except for layers whose running statistics are frozen (BatchNorm, EvoNorm)."""
    tail.train()
    for module in tail.modules():
        if getattr(module, "running_var", None) is not None:
            trained = any(parameter.requires_grad for parameter in module.parameters())
            module.train(trained and config.batchnorm == "train")


def trainable_state(tail: nn.Module) -> dict[str, Tensor]:
    """Copy what training changes: parameters that require a gradient, and the running statistics beside them.

    >>> sorted(trainable_state(nn.Linear(2, 2)))
    ['bias', 'weight']
    """
    trained = {name for name, parameter in tail.named_parameters() if parameter.requires_grad}
    owners = {name.rpartition(".")[0] for name in trained}
    return {
        name: value.detach().clone()
        for name, value in tail.state_dict().items()
        if name in trained or name.rpartition(".")[0] in owners
    }
