"""Which workers a cluster is given, and how shards are handed to them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import ClusterError
from headstart.execution import available_cores, lost_workers, workers
from headstart.execution.cluster import Cluster
from headstart.execution.workers import Workers, choose_workers, find_workers, run_shards

HEAD, BIG, SMALL = {"CPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("machines", "device", "expected"),
    [
        ([HEAD], "auto", Workers(4)),
        ([{"CPU": 3.0}, {"memory": 1.0}], "cpu", Workers(3)),
        ([HEAD, BIG, SMALL], "auto", Workers(6, cpus=8, gpus=1)),  # none on a machine without a GPU
        ([HEAD, BIG, {"CPU": 6.0, "GPU": 3.0}], "cuda", Workers(7, cpus=2, gpus=1)),  # can start again anywhere
        ([HEAD, BIG, SMALL], "cpu", Workers(52)),
        ([HEAD, BIG], "mps", Workers(36)),
        ([{"CPU": 0.0, "GPU": 1.0}], "auto", Workers(1, cpus=0, gpus=1)),
    ],
)
def test_a_worker_for_each_gpu_or_else_for_each_core(
    machines: list[dict[str, float]], device: str, expected: Workers
) -> None:
    assert choose_workers(machines, device) == expected
    assert expected.cores == max(1, expected.cpus)


def test_workers_of_several_cores_lie_on_one_machine_each() -> None:
    assert choose_workers([{"CPU": 3.0}, {"CPU": 3.0}], cores=2) == Workers(2, cpus=2)


def test_a_cluster_on_this_machine_has_one_core_workers_that_share_its_gpus() -> None:
    machine = [{"CPU": 3.0, "GPU": 1.0}]
    assert choose_workers(machine, "auto", local=True) == Workers(3, cpus=1, gpus=0.3333)
    assert choose_workers(machine, "cpu", local=True) == Workers(3)
    assert choose_workers([{"CPU": 2.0, "GPU": 8.0}], "cuda", local=True) == Workers(2, gpus=1)


def test_a_cluster_without_cores() -> None:
    with pytest.raises(ClusterError, match="offer no worker of 2 cores; start some with: ray start --address"):
        choose_workers([{"CPU": 1.0}], cores=2)


@dataclass
class Task:
    """Doubles a number. Some numbers are slow, kill the worker once, or always."""

    folder: Path

    def __call__(self, number: int) -> tuple[int, int, str | None]:
        mark = self.folder / str(number)
        tried = mark.exists()
        mark.touch()
        if number == 13 or (number == 3 and not tried):
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * number, available_cores(), os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.fixture
def two_gpus() -> Iterator[Any]:
    """Ray on this machine, of which it is said that it has two GPUs."""
    ray = pytest.importorskip("ray", reason="Ray has no wheels for this Python")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lance about forks, as in Cluster
        options = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
        ray.init(address="local", num_cpus=2, num_gpus=2, **options)
    yield ray
    ray.shutdown()


def test_shards_are_drawn_as_workers_are_free(two_gpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, drawn = Cluster("auto"), list[int]()

    def shards() -> Iterator[int]:
        for number in range(12):
            drawn.append(number)
            yield number

    found = find_workers(two_gpus, cluster, "auto")
    assert found == Workers(2, cpus=1, gpus=1)
    found = replace(found, count=3)  # of which one cannot start, as if others used the cluster, and holds nothing up
    with closing(run_shards(two_gpus, Task(tmp_path), shards(), found, in_order=True)) as results:
        first = next(results)
        assert first[:2] == (0, 1)
        assert first[2] in {"0", "1"}  # Ray gives each worker its own
        assert max(drawn) < 6  # twice the workers
        assert [number for number, *_ in results] == [2 * number for number in range(1, 12)]
    monkeypatch.setattr(workers, "MAX_TRIES", 2)
    monkeypatch.setattr(lost_workers, "MAX_TRIES", 2)
    with (
        pytest.raises(ClusterError, match=r"shard 0 has lost its worker, in 2 tries"),
        cluster.connected() as ray,
        closing(run_shards(ray, Task(tmp_path), [13], Workers(1))) as results,
    ):
        next(results)
