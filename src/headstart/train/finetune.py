"""Fine-tuning: a module and batches in, the trained module and its history out.

It cannot tell features from images: both are inputs of the module.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import OutputError, SettingsError
from headstart.evaluate.schema import EpochRecord
from headstart.execution.cluster import Cluster
from headstart.features.sources import FeatureDataset
from headstart.files import reason_of
from headstart.inference.memory_format import channels_last_gradients
from headstart.inference.network import logits
from headstart.models.seeding import seeded
from headstart.train.checkpoint import Checkpoint
from headstart.train.class_balance import Balance
from headstart.train.config import TrainConfig
from headstart.train.distributed import cluster_trainer
from headstart.train.metrics import EpochMetrics, epoch_metrics
from headstart.train.trainer import LocalTrainer, Trainer, trainable_state

__all__ = ["TrainConfig", "finetune", "trainable_state"]

_SECONDS_PER_CHECKPOINT = 30.0  # shorter trainings write none


def finetune(  # noqa: PLR0913 - independent values, all but four of them keyword-only
    tail: nn.Module,
    train: FeatureDataset,
    validation: FeatureDataset,
    config: TrainConfig,
    *,
    device: str = "cpu",
    balance: Balance | None = None,
    deadline: float | None = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
    is_hopeless: Callable[[NDArray[np.float32]], bool] | None = None,
    cluster: Cluster | None = None,
    checkpoint: Path | None = None,
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
    :param on_epoch: called after each epoch, and first for each epoch before the checkpoint that is there.
    :param is_hopeless: asked after each epoch, with the validation logits (V, C); no more epochs follow if it says so.
    :param cluster: its workers train, each on its share of every batch, if there are at least two; ``train`` is then
        read by them, and validation stays here. ``tail`` and ``train`` must be picklable.
    :param checkpoint: a file of this training alone, written from time to time. If it is there, training goes on after
        its last epoch. It is removed at the end.
    :returns: one record per epoch, the kept one marked. ``loss`` is the training loss as it was minimized, with mixup,
        label smoothing and balance; ``accuracy`` with mixup counts the label with the larger weight.
    :raises SettingsError: the loss is no longer finite.
    :raises ClusterError: the cluster cannot be reached, or failed again and again.
    :raises OutputError: the checkpoint cannot be written.
    """
    balance = (balance or Balance()).to(device)
    tail.to(device)
    progress = _Progress(tail, config, on_epoch, checkpoint)
    with (
        seeded(config.seed),
        _trainer(tail, train, config, device, balance, cluster) as trainer,
        channels_last_gradients(tail),
    ):
        progress.resume(trainer)
        for epoch in range(len(progress.history) + 1, config.epochs + 1):
            start = time.monotonic()
            metrics, lr = trainer.epoch(epoch)
            outputs = logits(tail, validation.inputs, device=device, precision=config.precision)
            checked = epoch_metrics(
                torch.from_numpy(outputs), torch.from_numpy(validation.targets), balanced=bool(balance)
            )
            seconds = time.monotonic() - start
            progress.add(_record(epoch, metrics, checked, lr, seconds, config), trainer)
            if deadline is not None and time.monotonic() + seconds > deadline:
                break
            if is_hopeless is not None and is_hopeless(outputs):
                break
    return progress.finish()


@contextmanager
def _trainer(
    tail: nn.Module, train: FeatureDataset, config: TrainConfig, device: str, balance: Balance, cluster: Cluster | None
) -> Iterator[Trainer]:
    """What trains: this process, or the workers of a cluster."""
    if cluster is None:
        yield LocalTrainer(tail, train, config, device, balance)
        return
    with cluster_trainer(tail, train, config, device, balance, cluster) as trainer:
        yield trainer


class _Progress:
    """The epochs that are finished and the weights of the best one, with their checkpoint."""

    def __init__(
        self,
        tail: nn.Module,
        config: TrainConfig,
        on_epoch: Callable[[EpochRecord], object] | None,
        path: Path | None,
    ) -> None:
        self._tail, self._config, self._path = tail, config, path
        self._on_epoch = on_epoch or (lambda _: None)
        self._saved = time.monotonic()
        self.history: list[EpochRecord] = []
        self.best: dict[str, Tensor] = {}  # empty if the weights of the last epoch are kept

    def resume(self, trainer: Trainer) -> None:
        """Go on from the checkpoint, if there is one."""
        found = None if self._path is None else Checkpoint.load(self._path)
        if found is None:
            return
        trainer.load_state(found.trainer)
        self.history, self.best = list(found.history), dict(found.best)
        for record in self.history:
            self._on_epoch(record)

    def add(self, record: EpochRecord, trainer: Trainer) -> None:
        """Add a finished epoch; write a checkpoint if the last one is old."""
        if self._config.restore_best and all(_criterion(record) < _criterion(each) for each in self.history):
            self.best = trainable_state(self._tail)
        self.history.append(record)
        if self._path is not None and time.monotonic() - self._saved > _SECONDS_PER_CHECKPOINT:
            self._save(Checkpoint(trainer.state(), tuple(self.history), self.best), self._path)
        self._on_epoch(record)

    def finish(self) -> tuple[EpochRecord, ...]:
        """Put in the weights that are kept, remove the checkpoint, and return the history."""
        self._tail.load_state_dict(self.best, strict=False)
        self._tail.eval()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        kept = min(self.history, key=_criterion) if self._config.restore_best else self.history[-1]
        return tuple(replace(record, chosen=record is kept) for record in self.history)

    def _save(self, checkpoint: Checkpoint, path: Path) -> None:
        try:
            checkpoint.save(path)
        except OSError as failure:
            raise OutputError(
                f"{path}: cannot write the checkpoint ({reason_of(failure)}); free some space, or choose another disk "
                "with --cache-dir"
            ) from failure
        self._saved = time.monotonic()


def _criterion(record: EpochRecord) -> float:
    """What the best epoch has the least of."""
    return record.val_loss if record.val_balanced_loss is None else record.val_balanced_loss


def _record(
    epoch: int, train: EpochMetrics, validation: EpochMetrics, lr: float, seconds: float, config: TrainConfig
) -> EpochRecord:
    """The record of an epoch.

    :raises SettingsError: a loss is not finite.
    """
    if not (math.isfinite(train.loss) and math.isfinite(validation.loss)):
        raise SettingsError(f"the loss is not finite in epoch {epoch}: use a smaller --lr, it is {config.base_lr:g}")
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
