"""Data in shards that the workers of a cluster hold, and functions that they compute of them.

Shard ``i`` belongs to worker ``i % workers``. A worker keeps the shards that fit into its memory, and loads the others
each time. The shards of one that is lost, or has not started yet, go to the next one meanwhile. Results arrive in the
order of the shards, whatever the number of workers: what is added up of them has the same bits with any number.
"""

from __future__ import annotations

import itertools
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from headstart.errors import HeadstartError
from headstart.execution.base import limit_cores
from headstart.execution.cluster import Cluster
from headstart.execution.cluster_watch import SECONDS_PER_LOOK, ClusterWatch
from headstart.execution.lost_workers import MAX_TRIES, lost_errors, stop_actors, tried_too_often

__all__ = ["MAX_KEPT", "Shard", "Shards", "open_shards"]

MAX_KEPT = 1 << 30  # bytes of shards that a worker keeps in memory
_AHEAD = 2  # calls per worker that are under way, so that none is idle while this process adds up
_SECONDS_TO_START = 20.0  # until the shards of workers that have not started go to those that have

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

    def __init__(self, workers: _Workers, shards: Sequence[tuple[int, Any]]) -> None:
        self._workers = workers
        self._shards = shards  # each with its number among all of these workers, as an object of Ray

    def __len__(self) -> int:
        return len(self._shards)

    def map(self, function: Callable[[T], R]) -> Iterator[R]:
        """Yield ``function(data)`` of each shard's data, in the order of the shards.

        :param function: picklable, and without side effects: it is called again where a worker was lost.
        :raises HeadstartError: as the function or a shard has raised it.
        :raises ClusterError: the cluster is lost, or a shard has lost its worker ten times.
        """
        reference = self._workers.ray.put(function)  # travels once to each machine
        pending: deque[_Call] = deque()
        for number, shard in self._shards:
            if len(pending) == _AHEAD * len(self._workers):
                yield self._workers.result(pending.popleft())
            pending.append(self._workers.call(number, shard, reference))
        while pending:
            yield self._workers.result(pending.popleft())


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
        workers = _Workers(ray, max(1, min(cores, cluster.workers or cores, count)))
        # Kept by this process, which gives them to any worker.
        held = list(enumerate(ray.put(shard) for shard in itertools.chain.from_iterable(data)))
        try:
            workers.wait_for_start()
            yield [Shards(workers, held[start:end]) for start, end in itertools.pairwise(ends)]
        finally:
            workers.stop()


@dataclass
class _Call:
    """What a worker was asked for."""

    number: int  # of the shard
    shard: Any  # objects of Ray
    function: Any
    actor: Any
    result: Any
    tries: int


class _Workers:
    """A number of workers, each of which is replaced when it is lost."""

    def __init__(self, ray: Any, count: int) -> None:
        self.ray = ray
        self._watch = ClusterWatch(ray, 1)
        self._actor = ray.remote(num_cpus=1)(_Worker)
        self._actors = [self._actor.remote() for _ in range(count)]
        self._starting = {actor.is_ready.remote(): number for number, actor in enumerate(self._actors)}

    def __len__(self) -> int:
        return len(self._actors)

    def wait_for_start(self) -> None:
        """Wait for all, but not for long: others may use the cluster."""
        self._hear(len(self._starting), _SECONDS_TO_START)

    def call(self, number: int, shard: Any, function: Any, *, tries: int = 1) -> _Call:
        """Ask the worker of a shard, or the next one that has started."""
        self._hear(1, 0.0)
        while len(self._starting) == len(self):
            self._watch.look()
            self._hear(1, SECONDS_PER_LOOK)
        starting = set(self._starting.values())
        turns = ((number + offset) % len(self) for offset in range(len(self)))
        actor = self._actors[next(each for each in turns if each not in starting)]
        # In a list, so that Ray fetches the shard only where the worker asks for it: where it has just been started.
        return _Call(number, shard, function, actor, actor.compute.remote(number, [shard], function), tries)

    def result(self, call: _Call) -> Any:
        """What was asked for, of another worker if that one is lost."""
        while True:
            while not self.ray.wait([call.result], timeout=SECONDS_PER_LOOK)[0]:
                self._watch.look()
            try:
                result, error = self.ray.get(call.result)
            except lost_errors(self.ray) as failure:
                if call.tries == MAX_TRIES:
                    raise tried_too_often(f"shard {call.number} has lost its worker", failure) from failure
                self._replace(call.actor)
                call = self.call(call.number, call.shard, call.function, tries=call.tries + 1)
                continue
            if error:
                raise pickle.loads(error)
            return result

    def stop(self) -> None:
        """End all."""
        stop_actors(self.ray, self._actors)

    def _hear(self, count: int, seconds: float) -> None:
        """Note which workers have started, for so many of them or so long."""
        if self._starting:
            started, _ = self.ray.wait(list(self._starting), num_returns=count, timeout=seconds)
            for each in started:  # or have failed to: the first call tells
                del self._starting[each]

    def _replace(self, lost: Any) -> None:
        """Start another worker for a lost one; the first of its calls that fails does that."""
        if lost in self._actors:
            number = self._actors.index(lost)
            self.ray.kill(lost)  # one that only cannot be reached would go on for nothing
            self._actors[number] = self._actor.remote()
            self._starting[self._actors[number].is_ready.remote()] = number


class _Worker:
    """Holds shards, and computes of them."""

    def __init__(self) -> None:
        import torch

        limit_cores(1)
        torch.set_num_threads(1)
        self._shards: dict[int, Shard[Any]] = {}
        self._kept: dict[int, Any] = {}
        self._bytes = 0

    def is_ready(self) -> bool:
        """Answer, as soon as the process runs."""
        return True

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
