"""The epochs of fine-tuning, as one process runs them: alone, or as one of several workers.

Several workers form a process group of torch.distributed, and each computes its share of every batch. Their gradients
are averaged, so that all take the same step, from the mean loss of the whole batch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from headstart.execution import open_executor
from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.inference.memory_format import choose_memory_format, to_channels_last
from headstart.inference.network import autocast
from headstart.train.batches import (
    Batch,
    Mixture,
    add_noise,
    draw_mixture,
    draw_views,
    gather_part,
    micro_batches,
    order_by_view,
    split_batches,
)
from headstart.train.class_balance import Balance
from headstart.train.config import TrainConfig
from headstart.train.metrics import EpochMetrics
from headstart.train.schedule import learning_rate, lr_scales

__all__ = ["LocalTrainer", "Trainer", "TrainerState", "trainable_state"]

_READ_AHEAD = 2  # parts of a batch, beside the one that is computed


@dataclass(frozen=True)
class TrainerState:
    """All that the next epoch depends on: training goes on from it as if nothing had happened."""

    tail: Mapping[str, Tensor]  # what training changes, on the CPU
    optimizer: Mapping[str, Any]  # its state_dict, on the CPU
    generators: tuple[Mapping[str, Any], Mapping[str, Any]]  # of the order of the images, and of views and mixup
    torch_generator: Tensor


class Trainer(Protocol):
    """Trains a tail epoch by epoch."""

    def epoch(self, epoch: int) -> tuple[EpochMetrics, float]:
        """Train for one epoch, counted from 1; the tail then has the new weights.

        :returns: the metrics of each batch before its step, and the first learning rate.
        """

    def state(self) -> TrainerState:
        """The state after the last epoch."""

    def load_state(self, state: TrainerState) -> None:
        """Go on from a state."""


@dataclass(frozen=True)
class _Part:
    """A part of a batch that is computed at a time."""

    rows: NDArray[np.int64]  # (B,) of the whole batch
    positions: slice  # in the batch
    mixture: Mixture | None
    weight: float  # 0 for a part of another worker, whose gradients do not count
    last: bool  # of the batch


class LocalTrainer:
    """Trains in this process; as a worker of a process group, on its share of each batch.

    The optimizer and the generators of random numbers are the same in all workers.
    """

    def __init__(
        self, tail: nn.Module, train: FeatureDataset, config: TrainConfig, device: str, balance: Balance
    ) -> None:
        self.tail, self.train, self.config, self.device, self.balance = tail, train, config, device, balance.to(device)
        self.optimizer = _optimizer(tail, config)
        self.channels_last = choose_memory_format(tail, config.precision)
        self.shuffle_rng = np.random.default_rng(config.seed)
        # A second stream, so that views and mixup leave the order of the images as it is without them.
        self.augment_rng = np.random.default_rng([config.seed, 1])
        self.rank, self.world_size, self.network = 0, 1, tail
        if distributed.is_initialized():
            self.rank, self.world_size = distributed.get_rank(), distributed.get_world_size()
            # BatchNorm uses and keeps the statistics of each worker's own images (Goyal et al. 2017, section 3).
            self.network = DistributedDataParallel(tail, broadcast_buffers=False, find_unused_parameters=True)

    def epoch(self, epoch: int) -> tuple[EpochMetrics, float]:
        """As :meth:`Trainer.epoch`; the metrics are those of all workers."""
        config = self.config
        _set_mode(self.network, config)
        if self.rank:  # dropout and noise differ between workers, also in an epoch that is begun again
            torch.manual_seed(int(np.random.SeedSequence([config.seed, self.rank, epoch]).generate_state(1)[0]))
        batches = split_batches(self.shuffle_rng.permutation(len(self.train)), config.batch_size)
        views = draw_views(self.train, self.augment_rng, epoch)
        total = config.epochs * len(batches)
        warmup = config.warmup(len(batches))
        rates = [
            learning_rate(step, steps=total, base_lr=config.base_lr, schedule=config.schedule, warmup=warmup)
            for step in range((epoch - 1) * len(batches), epoch * len(batches))
        ]
        sums = np.zeros(2)  # of the losses, and of the correct images
        with closing(self._read(batches, views)) as parts:
            for lr in rates:
                sums += self._step(lr, parts)
        loss, correct = self._sum_of_workers(sums).tolist()
        return EpochMetrics(loss / len(self.train), correct / len(self.train)), rates[0]

    def _read(
        self, batches: Sequence[NDArray[np.int64]], views: NDArray[np.int64] | None
    ) -> Generator[tuple[_Part, Batch], None, None]:
        """Yield the parts of all batches; what is not in memory is read while earlier parts are computed."""

        def gather(part: _Part) -> tuple[_Part, Batch]:
            return part, gather_part(self.train, part.rows, views, part.positions, part.mixture, self.device)

        parts = (part for rows in batches for part in self._parts_of(order_by_view(rows, views)))
        if isinstance(self.train.inputs, InMemoryFeatures):
            yield from map(gather, parts)
            return
        with open_executor(1, workers=1, kind="threads") as executor:
            yield from executor.map(gather, parts, ahead=1 + _READ_AHEAD)

    def _parts_of(self, rows: NDArray[np.int64]) -> Iterator[_Part]:
        """What this worker computes of a batch."""
        config = self.config
        mixture = draw_mixture(len(rows), config.mixup, self.augment_rng) if config.mixup else None
        parts = micro_batches(len(rows), size=config.micro_batch_size, rank=self.rank, world_size=self.world_size)
        # The others wait for the gradients of a worker without images: it computes those of another, with weight 0.
        weight = 1.0 if parts else 0.0
        parts = parts or micro_batches(len(rows), size=config.micro_batch_size)[:1]
        for part in parts:
            yield _Part(rows, part, mixture, weight, last=part is parts[-1])

    def _step(self, lr: float, parts: Iterator[tuple[_Part, Batch]]) -> tuple[float, int]:
        """Take one step on the next batch; return the sum of the losses and the number of correct images."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
        self.optimizer.zero_grad()
        loss_sum, correct = 0.0, 0
        for part, batch in parts:
            share = part.weight * len(batch.targets) / len(part.rows)
            loss, hits = self._accumulate(batch, share, synchronize=part.last)
            loss_sum += part.weight * loss * len(batch.targets)
            correct += int(part.weight) * hits
            if part.last:
                break
        self.optimizer.step()
        return loss_sum, correct

    def _accumulate(self, batch: Batch, share: float, *, synchronize: bool) -> tuple[float, int]:
        """Add to the gradients; return the mean loss of these images and the number of correct ones.

        :param share: of these images in the batch of all workers.
        :param synchronize: whether to average the gradients of all workers.
        """
        if self.config.feature_noise:
            batch = replace(batch, inputs=add_noise(batch.inputs, self.config.feature_noise))
        network = self.network
        local = isinstance(network, DistributedDataParallel) and not synchronize
        with network.no_sync() if local else nullcontext():  # type: ignore[operator]
            with autocast(self.device, self.config.precision):
                outputs = network(to_channels_last(batch.inputs, last=self.channels_last))
                loss = self._loss(outputs, batch.targets)
                if batch.mixed_targets is not None:
                    loss = batch.lam * loss + (1 - batch.lam) * self._loss(outputs, batch.mixed_targets)
            # DistributedDataParallel divides the sum of the workers' gradients by their number.
            (loss * (share * self.world_size)).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), int((outputs.detach().argmax(1) == batch.dominant_targets).sum())

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.balance.loss(outputs, targets, label_smoothing=self.config.label_smoothing)

    def _sum_of_workers(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.world_size == 1:
            return values
        total = torch.from_numpy(values).to(self.device)
        distributed.all_reduce(total)
        return total.cpu().numpy()

    def state(self) -> TrainerState:
        """As :meth:`Trainer.state`; running statistics are those of this worker."""
        return TrainerState(
            _on_cpu(trainable_state(self.tail)),
            _on_cpu(self.optimizer.state_dict()),
            (dict(self.shuffle_rng.bit_generator.state), dict(self.augment_rng.bit_generator.state)),
            torch.get_rng_state(),
        )

    def load_state(self, state: TrainerState) -> None:
        """As :meth:`Trainer.load_state`."""
        self.tail.load_state_dict(dict(state.tail), strict=False)
        self.optimizer.load_state_dict(dict(state.optimizer))
        self.shuffle_rng.bit_generator.state, self.augment_rng.bit_generator.state = state.generators
        torch.set_rng_state(state.torch_generator)


def _optimizer(tail: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    named = dict(tail.named_parameters())
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, scale in zip(named.values(), lr_scales(list(named), config.layer_decay), strict=True):
        if parameter.requires_grad:
            # Weight decay is for matrices: on biases and norms it only harms (He et al. 2019, "Bag of tricks"; of
            # BatchNorm also Goyal et al. 2017, section 5.1).
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    each = [{"params": found, "lr_scale": scale, "weight_decay": decay} for (scale, decay), found in groups.items()]
    if config.optimizer == "sgd":
        return torch.optim.SGD(each, config.base_lr, momentum=config.momentum, nesterov=config.nesterov)
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


def _on_cpu(value: Any) -> Any:
    """A copy in which all tensors are on the CPU and are shared with nothing."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Mapping):
        return {key: _on_cpu(each) for key, each in value.items()}
    return [_on_cpu(each) for each in value] if isinstance(value, list) else value
