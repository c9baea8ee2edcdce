"""Training by the workers of a cluster with data parallelism: torch's DistributedDataParallel in actors of Ray.

Each worker is a process with the whole tail. It computes its share of every batch, and the workers average their
gradients, so that the steps are those of one process with the same batches. This process starts them epoch by epoch,
validates, and holds the state after each epoch. When a worker is lost the others cannot go on: a new group is formed
of as many workers as there are then, and the epoch begins again from that state.

Plain actors do this, not Ray Train: that needs pandas, which pyarrow then imports in every command.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from headstart.errors import ClusterError, HeadstartError
from headstart.execution.base import limit_cores
from headstart.execution.cluster import Cluster
from headstart.features.sources import FeatureDataset, FeatureSource, InMemoryFeatures
from headstart.features.table import FeatureRows
from headstart.inference.memory_format import channels_last_gradients
from headstart.train.class_balance import Balance
from headstart.train.config import TrainConfig
from headstart.train.metrics import EpochMetrics
from headstart.train.trainer import LocalTrainer, Trainer, TrainerState

__all__ = ["cluster_trainer"]

_MAX_FAILURES = 3  # of one epoch: then something else is wrong
_SECONDS_TO_START = 120.0  # after which the group is formed without the workers that have no place
_STEP_TIMEOUT = timedelta(minutes=5)  # for the slowest worker in a step
_MAX_IN_MEMORY = 1 << 30  # bytes of training features of all workers together


@dataclass(frozen=True)
class Place:
    """Where a worker runs, and with what."""

    node: str
    cores: int
    gpus: int = 0


@dataclass(frozen=True)
class _Job:
    """What the workers train; it is pickled."""

    tail: nn.Module
    train: FeatureDataset
    config: TrainConfig
    balance: Balance


@dataclass(frozen=True)
class _Done:
    """What a worker returns of an epoch; the state is that of rank 0 alone."""

    metrics: EpochMetrics
    lr: float
    state: TrainerState | None


@contextmanager
def cluster_trainer(
    tail: nn.Module, train: FeatureDataset, config: TrainConfig, device: str, balance: Balance, cluster: Cluster
) -> Iterator[Trainer]:
    """Yield what trains ``tail`` on the cluster, or in this process if the cluster has a place for one worker only.

    A batch has at least two images for each worker.

    :raises ClusterError: the cluster cannot be reached, or failed within the block.
    """
    with cluster.connected() as ray:
        if min(len(worker_places(ray, cluster, device)), config.batch_size // 2) < 2:
            yield LocalTrainer(tail, _in_memory(train, 1), config, device, balance)
            return
        trainer = ClusterTrainer(ray, cluster, device, _Job(tail, train, config, balance.to("cpu")))
        try:
            yield trainer
        finally:
            trainer.close()


def worker_places(ray: Any, cluster: Cluster, device: str) -> list[Place]:
    """One worker per GPU where training is on GPUs; else one per machine, or per core of a cluster on this machine."""
    places = []
    for node in ray.nodes():
        resources = node["Resources"]
        cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0)) if device == "cuda" else 0
        count = gpus or (cores if cluster.address == "local" else min(cores, 1))
        if node["Alive"] and count:
            places += [Place(node["NodeID"], cores // count, min(gpus, 1))] * count
    return places


class ClusterTrainer:
    """Trains on the workers of a cluster; the tail of this process has their weights after each epoch."""

    def __init__(self, ray: Any, cluster: Cluster, device: str, job: _Job) -> None:
        self._ray, self._cluster, self._device, self._tail, self._config = ray, cluster, device, job.tail, job.config
        job.tail.to("cpu")  # as it is pickled: a worker may have no GPU
        self._job = ray.put(job)
        job.tail.to(device)
        self._state: TrainerState | None = None
        self._workers: list[Any] = []

    def epoch(self, epoch: int) -> tuple[EpochMetrics, float]:
        """As :meth:`headstart.train.trainer.Trainer.epoch`.

        :raises HeadstartError: of a worker, for example that features cannot be read.
        :raises ray.exceptions.RayError: the workers failed three times.
        """
        for failures in range(1, _MAX_FAILURES + 1):
            try:
                if not self._workers:
                    self._workers = self._form_group()
                done = self._all([worker.epoch.remote(epoch) for worker in self._workers])[0]
                break
            except self._ray.exceptions.RayError:  # a lost worker, or another one that waited for it
                self.close()
                if failures == _MAX_FAILURES:
                    raise
        self.load_state(done.state)
        return done.metrics, done.lr

    def state(self) -> TrainerState:
        """As :meth:`headstart.train.trainer.Trainer.state`; running statistics are those of rank 0."""
        assert self._state is not None
        return self._state

    def load_state(self, state: TrainerState) -> None:
        """As :meth:`headstart.train.trainer.Trainer.load_state`."""
        self._state = state
        self._tail.load_state_dict(dict(state.tail), strict=False)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers = []

    def _form_group(self) -> list[Any]:
        """Start as many workers as there are places for, and let them form a process group.

        :raises ClusterError: none of them could be started.
        """
        places = worker_places(self._ray, self._cluster, self._device)[: self._config.batch_size // 2]
        started = {worker.ready.remote(): worker for worker in map(self._start, places)}
        ready, waiting = self._ray.wait(list(started), num_returns=len(started), timeout=_SECONDS_TO_START)
        for each in waiting:
            self._ray.kill(started[each])
        self._workers = workers = [started[each] for each in ready]
        if not workers:
            raise ClusterError(
                f"no worker could be started within {_SECONDS_TO_START:.0f} s: wait until the cluster has free cores; "
                "the same command goes on from the last checkpoint"
            )
        address = self._ray.get(workers[0].address.remote())
        self._all(
            [
                worker.join.remote(address, rank, len(workers), self._job, self._state)
                for rank, worker in enumerate(workers)
            ]
        )
        return workers

    def _start(self, place: Place) -> Any:
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(place.node, soft=False)
        actor = self._ray.remote(num_cpus=place.cores, num_gpus=place.gpus, scheduling_strategy=strategy)(_Worker)
        return actor.remote(place.cores, "cuda" if place.gpus else "cpu")

    def _all(self, pending: Sequence[Any]) -> list[Any]:
        """What the workers return, in their order. The first failure is raised, without waiting for the others."""
        waiting, results = list(pending), {}
        while waiting:
            (done, *_), waiting = self._ray.wait(waiting)
            results[done] = self._ray.get(done)
            if isinstance(results[done], bytes):
                raise pickle.loads(results[done])
        return [results[each] for each in pending]


class _Worker:
    """One rank of the process group. An error of ours is returned pickled, since Ray would wrap it."""

    def __init__(self, cores: int, device: str) -> None:
        threads = max(cores, 1)  # a machine may have more GPUs than cores
        limit_cores(threads)
        torch.set_num_threads(threads)
        self._device = device
        self._stack = ExitStack()

    def ready(self) -> None:
        """Return once the worker runs."""

    def address(self) -> str:
        """Where the workers find each other if this one is rank 0."""
        import ray.util

        host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        with socket.create_server((host, 0)) as free:
            return f"tcp://{host}:{free.getsockname()[1]}"

    def join(self, address: str, rank: int, world_size: int, job: _Job, state: TrainerState | None) -> bytes | None:
        """Join the process group, and be ready to train from a state; by default from the weights of the job."""
        try:
            backend = "nccl" if self._device == "cuda" else "gloo"
            distributed.init_process_group(
                backend, init_method=address, rank=rank, world_size=world_size, timeout=_STEP_TIMEOUT
            )
            torch.manual_seed(job.config.seed)
            tail = job.tail.to(self._device)
            self._stack.enter_context(channels_last_gradients(tail))
            train = _in_memory(job.train, world_size)
            self._trainer = LocalTrainer(tail, train, job.config, self._device, job.balance)
            if state is not None:
                self._trainer.load_state(state)
        except HeadstartError as error:
            return pickle.dumps(error)
        return None

    def epoch(self, epoch: int) -> _Done | bytes:
        """Train for one epoch."""
        try:
            metrics, lr = self._trainer.epoch(epoch)
        except HeadstartError as error:
            return pickle.dumps(error)
        return _Done(metrics, lr, None if self._trainer.rank else self._trainer.state())


def _in_memory(dataset: FeatureDataset, world_size: int) -> FeatureDataset:
    """The same with stored features read into memory, if those of all workers fit."""
    sources = (dataset.inputs, *dataset.views)
    size = sum(each.nbytes for each in sources if isinstance(each, FeatureRows))
    if size * world_size > _MAX_IN_MEMORY:
        return dataset

    def read(source: FeatureSource) -> FeatureSource:
        return InMemoryFeatures(source.take(np.arange(len(source)))) if isinstance(source, FeatureRows) else source

    return replace(dataset, inputs=read(dataset.inputs), views=tuple(map(read, dataset.views)))
