"""Data in shards that the workers of a cluster hold, and functions that they compute of them.

Shard ``i`` belongs to worker ``i % workers``. A worker keeps the shards that fit into its memory, and loads the others
each time. One that is lost is started again, and loads its shards again. Results arrive in the order of the shards,
whatever the number of workers: what is added up of them has the same bits with any number.
"""

from __future__ import annotations

import itertools
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from headstart.errors import HeadstartError
from headstart.execution.base import limit_cores
from headstart.execution.cluster import Cluster

__all__ = ["MAX_KEPT", "Shard", "Shards", "open_shards"]

MAX_KEPT = 1 << 30  # bytes of shards that a worker keeps in memory
_AHEAD = 2  # calls per worker that are under way, so that none is idle while this process adds up

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Shard(Protocol[T_co]):
    """Where a part of the data is; picklable."""

    @property
    def nbytes(self) -> int:
        """Memory that it needs once it is loaded."""

    def load(self) -> T_co:
        """Read it."""


class Shards(Generic[T]):
    """The shards of workers. Only functions go there, and only their results come back."""

    def __init__(self, ray: Any, workers: Sequence[Any], shards: Sequence[tuple[int, Any]]) -> None:
        self._ray, self._workers = ray, workers
        self._shards = shards  # each with its number among all of these workers, as an object of Ray

    def __len__(self) -> int:
        return len(self._shards)

    def map(self, function: Callable[[T], R]) -> Iterator[R]:
        """Yield ``function(data)`` of each shard's data, in the order of the shards.

        :param function: picklable, and without side effects: it is called again where a worker was lost.
        :raises HeadstartError: as the function or a shard has raised it.
        """
        reference = self._ray.put(function)  # travels once to each machine
        pending: deque[Any] = deque()
        for number, shard in self._shards:
            if len(pending) == _AHEAD * len(self._workers):
                yield self._result(pending.popleft())
            worker = self._workers[number % len(self._workers)]
            # In a list, so that Ray fetches the shard only where the worker asks for it: where it has been started.
            pending.append(worker.compute.remote(number, [shard], reference))
        while pending:
            yield self._result(pending.popleft())

    def _result(self, reference: Any) -> Any:
        result, error = self._ray.get(reference)
        if error:
            raise pickle.loads(error)
        return result


@contextmanager
def open_shards(cluster: Cluster, *data: Sequence[Shard[T]]) -> Iterator[list[Shards[T]]]:
    """Give shards to one-core workers of a cluster, for the length of the block.

    :param data: sequences of shards, each of which becomes one :class:`Shards`; all have the same workers.
    :raises SettingsError: Ray is not installed.
    :raises ClusterError: the cluster cannot be reached, or failed.
    """
    count = sum(map(len, data))
    ends = list(itertools.accumulate(map(len, data), initial=0))
    with cluster.connected() as ray:
        cores = int(ray.cluster_resources().get("CPU", 1))
        actor = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(_Worker)
        workers = [actor.remote() for _ in range(max(1, min(cores, cluster.workers or cores, count)))]
        # Kept by this process, which gives them to a worker that is started again, too.
        held = list(enumerate(ray.put(shard) for shard in itertools.chain.from_iterable(data)))
        try:
            yield [Shards(ray, workers, held[start:end]) for start, end in itertools.pairwise(ends)]
        finally:
            for worker in workers:
                ray.kill(worker)


class _Worker:
    """Holds shards, and computes of them."""

    def __init__(self) -> None:
        import torch

        limit_cores(1)
        torch.set_num_threads(1)
        self._shards: dict[int, Shard[Any]] = {}
        self._kept: dict[int, Any] = {}
        self._bytes = 0

    def compute(self, number: int, shard: list[Any], function: Callable[[Any], R]) -> tuple[R | None, bytes]:
        """The result for a shard, or an error of ours, pickled: Ray would wrap it.

        :param shard: an object of Ray.
        """
        if number not in self._shards:
            import ray

            self._shards[number] = ray.get(shard[0])
        try:
            return function(self._data(number)), b""
        except HeadstartError as error:
            return None, pickle.dumps(error)

    def _data(self, number: int) -> Any:
        if number in self._kept:
            return self._kept[number]
        shard = self._shards[number]
        data = shard.load()
        if self._bytes + shard.nbytes <= MAX_KEPT:
            self._kept[number] = data
            self._bytes += shard.nbytes
        return data
