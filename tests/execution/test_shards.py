"""What becomes of shards whose worker cannot start, or is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import ClusterError
from headstart.execution import lost_workers, shards
from headstart.execution.cluster import Cluster
from headstart.execution.shards import open_shards


@dataclass(frozen=True)
class Number:
    """A shard."""

    value: int
    nbytes: int = 8

    def load(self) -> int:
        return self.value


@dataclass(frozen=True)
class Doubled:
    """Twice a number, and who has computed it. A number kills its worker, at the first try or at each."""

    folder: Path
    kills: int
    always: bool = False

    def __call__(self, number: int) -> tuple[int, int]:
        mark = self.folder / str(number)
        if number == self.kills and (self.always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * number, os.getpid()


class Guest:
    """Holds a core."""

    def is_ready(self) -> bool:
        return True


@pytest.fixture
def ray() -> Iterator[Any]:
    """Two cores on this machine, one of which is held by others."""
    pytest.importorskip("ray", reason="Ray has no wheels for this Python")
    with Cluster("local", 2).connected() as connected:
        guest = connected.remote(num_cpus=1)(Guest).remote()
        connected.get(guest.is_ready.remote())
        yield connected


def test_shards_of_a_worker_that_cannot_start_go_to_another_one(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_SECONDS_TO_START", 1.0)
    monkeypatch.setattr(lost_workers, "MAX_TRIES", 2)
    monkeypatch.setattr(shards, "MAX_TRIES", 2)
    numbers = [Number(value) for value in range(6)]
    with open_shards(Cluster("auto"), numbers[:4], numbers[4:]) as (first, second):
        found = [*first.map(Doubled(tmp_path, kills=2)), *second.map(Doubled(tmp_path, kills=-1))]
        assert [value for value, _ in found] == [0, 2, 4, 6, 8, 10]
        assert len({process for _, process in found}) == 2  # the one that was killed, and the one in its place
        with pytest.raises(
            ClusterError, match=r"shard 4 has lost its worker, in 2 tries .*; what was finished is kept"
        ):
            list(second.map(Doubled(tmp_path, kills=4, always=True)))
