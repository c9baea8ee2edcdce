"""Work that the workers of a cluster do: each is an actor of Ray, which opens a task once and is given shard by shard.

Plain actors of Ray do this, not Ray Data: that needs pandas, which pyarrow then imports in every command.

A shard whose worker was lost is done again by the next free one, and another worker is started. Ray itself would wait
with the shard until the same worker can start again, which may be never, as others take its place in the cluster.
"""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from headstart.errors import ClusterError, HeadstartError
from headstart.execution.base import limit_cores
from headstart.execution.cluster import Cluster
from headstart.execution.cluster_watch import SECONDS_PER_LOOK, ClusterWatch
from headstart.execution.lost_workers import MAX_TRIES, lost_errors, stop_actors, tried_too_often

__all__ = ["Workers", "choose_workers", "find_workers", "run_shards"]

S = TypeVar("S")
R = TypeVar("R")


@dataclass(frozen=True)
class Workers:
    """How many workers there are, and what Ray reserves for each of them on its machine."""

    count: int
    cpus: int = 1  # 0 on a machine that offers fewer cores than GPUs
    gpus: float = 0.0

    @property
    def cores(self) -> int:
        """The cores that each uses."""
        return max(1, self.cpus)

    def at_most(self, count: int) -> Workers:
        """The same, but not more workers than there are shards."""
        return replace(self, count=min(self.count, count))


def choose_workers(
    machines: Sequence[Mapping[str, float]], device: str = "cpu", *, cores: int = 1, local: bool = False
) -> Workers:
    """Choose the workers for the machines of a cluster.

    Where there are GPUs, one for each of them, with its share of the cores of its machine; all get the smallest share,
    so that a lost worker can start again on any machine with a GPU. Else one for each core.

    :param machines: what each offers by Ray's names, such as ``{"CPU": 8.0, "GPU": 1.0}``.
    :param device: of the settings: GPUs are used with "auto" and "cuda".
    :param cores: of each worker without a GPU.
    :param local: the cluster is ``local:N``, of one-core workers, who share the GPUs of this machine.
    :raises ClusterError: the machines offer no core and no GPU.

    >>> choose_workers([{"CPU": 8}, {"CPU": 16}])
    Workers(count=24, cpus=1, gpus=0.0)
    >>> choose_workers([{"CPU": 4}, {"CPU": 16, "GPU": 2}, {"CPU": 32, "GPU": 4}], "auto")
    Workers(count=6, cpus=8, gpus=1.0)
    """
    with_gpu = [each for each in machines if each.get("GPU", 0) >= 1] if device in ("auto", "cuda") else []
    count = sum(int(each.get("CPU", 0)) // cores for each in machines)
    if with_gpu and not local:
        share = min(int(each.get("CPU", 0)) // int(each["GPU"]) for each in with_gpu)
        return Workers(sum(int(each["GPU"]) for each in with_gpu), share, 1.0)
    if not count:
        raise ClusterError(
            f"the machines of the cluster offer no worker of {cores} core{'s' * (cores != 1)}; start some with: "
            "ray start --address HOST:PORT --num-cpus N"
        )
    gpus = sum(each["GPU"] for each in with_gpu)
    return Workers(count, cores, min(1.0, math.floor(gpus / count * 1e4) / 1e4))  # Ray counts ten-thousandths


def find_workers(ray: Any, cluster: Cluster, device: str, *, cores: int = 1) -> Workers:
    """:func:`choose_workers` for the machines that a connected cluster has now."""
    machines = [each["Resources"] for each in ray.nodes() if each["Alive"]]
    return choose_workers(machines, device, cores=cores, local=cluster.address == "local")


def run_shards(
    ray: Any, task: Callable[[S], R], shards: Iterable[S], workers: Workers, *, in_order: bool = False
) -> Generator[R, None, None]:
    """Yield what the task returns of each shard; close the generator to stop the workers early.

    Each worker has one shard at a time, and shards are drawn as workers are free. In order, at most twice as many as
    there are workers are begun from the awaited one on, so that few results wait for their turn.

    :param task: is pickled once, and unpickled by each worker before its first shard.
    :param in_order: of the shards; else as they are ready.
    :raises HeadstartError: the one that the task raised.
    :raises ClusterError: the cluster is lost, or a shard has lost its worker ten times.
    """
    task_reference, watch = ray.put(ray.cloudpickle.dumps(task)), ClusterWatch(ray, workers.cpus)
    ahead = 2 * workers.count if in_order else None
    run: _Run[S, R] = _Run(ray, watch, task_reference, enumerate(shards), workers, ahead)
    try:
        yield from run.results()
    finally:
        run.stop()


@dataclass
class _Run(Generic[S, R]):
    """Which worker does which shard. A worker that is not started, as others use the cluster, is given none."""

    ray: Any
    watch: ClusterWatch
    task: Any  # reference to it
    shards: Iterator[tuple[int, S]]
    workers: Workers
    ahead: int | None  # shards that may be begun, from the awaited one on; None: results in any order
    awaited: int = 0
    begun: int = 0
    exhausted: bool = False
    idle: list[Any] = field(default_factory=list)
    busy: dict[Any, tuple[Any, tuple[int, S] | None]] = field(default_factory=dict)  # by what will be returned
    again: list[tuple[int, S]] = field(default_factory=list)  # shards whose worker was lost
    losses: Counter[int | None] = field(default_factory=Counter)  # by shard; None: workers that did not start
    finished: dict[int, R] = field(default_factory=dict)

    def results(self) -> Iterator[R]:
        """What is returned of the shards."""
        for _ in range(self.workers.count):
            self._start()
        while True:
            self._begin()
            if self.exhausted and not self.again and all(work is None for _, work in self.busy.values()):
                return
            ready, _ = self.ray.wait(list(self.busy), num_returns=1, timeout=SECONDS_PER_LOOK)
            if not ready:
                self.watch.look()
                continue
            self._receive(ready[0])
            self._begin()  # what is yielded may take a while to handle, as a commit does
            while self.finished and (self.ahead is None or self.awaited in self.finished):
                yield self.finished.pop(next(iter(self.finished)) if self.ahead is None else self.awaited)
                self.awaited += 1

    def stop(self) -> None:
        """End the workers."""
        stop_actors(self.ray, [*self.idle, *(worker for worker, _ in self.busy.values())])

    def _start(self) -> None:
        actor = self.ray.remote(num_cpus=self.workers.cpus, num_gpus=self.workers.gpus)(_Worker)
        worker = actor.remote(self.workers.cores)
        self.busy[worker.is_ready.remote()] = (worker, None)

    def _begin(self) -> None:
        while self.idle:
            if self.again:
                work = self.again.pop()
            elif self.exhausted or (self.ahead is not None and self.begun >= self.awaited + self.ahead):
                return
            elif (drawn := next(self.shards, None)) is None:
                self.exhausted = True
                return
            else:
                work, self.begun = drawn, self.begun + 1
            worker = self.idle.pop()
            self.busy[worker.run.remote([self.task], work[1])] = (worker, work)

    def _receive(self, reference: Any) -> None:
        worker, work = self.busy.pop(reference)
        try:
            found = self.ray.get(reference)
        except lost_errors(self.ray) as failure:
            self._replace(worker, work, failure)
            return
        self.idle.append(worker)
        if isinstance(found, _Failed):
            raise pickle.loads(found.error)
        if work is None:
            self.losses.pop(None, None)
        else:
            self.finished[work[0]] = found

    def _replace(self, worker: Any, work: tuple[int, S] | None, failure: Exception) -> None:
        self.ray.kill(worker)  # one that only cannot be reached would go on for nothing
        number = None if work is None else work[0]
        self.losses[number] += 1
        if self.losses[number] >= MAX_TRIES:
            what = "no worker can be started" if work is None else f"shard {number} has lost its worker"
            raise tried_too_often(what, failure) from failure
        if work is not None:
            self.again.append(work)
        self._start()


@dataclass(frozen=True)
class _Failed:
    """An error of ours: Ray would wrap it."""

    error: bytes  # pickled


class _Worker:
    """A process that does shard after shard."""

    def __init__(self, cores: int) -> None:
        import torch

        limit_cores(cores)
        torch.set_num_threads(cores)
        self._task: Callable[[Any], Any] | None = None

    def is_ready(self) -> bool:
        """Answer, as soon as the process runs."""
        return True

    def run(self, pickled: Sequence[Any], shard: Any) -> Any:
        """Do the task for a shard.

        :param pickled: reference to the task, in a list, so that Ray does not fetch it for each shard.
        """
        try:
            if self._task is None:
                import ray

                self._task = cast(Callable[[Any], Any], pickle.loads(ray.get(pickled[0])))
            return self._task(shard)
        except HeadstartError as error:
            return _Failed(pickle.dumps(error))
