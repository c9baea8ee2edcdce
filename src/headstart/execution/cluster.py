"""A cluster of machines, by Ray: which one, and the connection to it. Ray is an extra, and imported here alone."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from headstart.errors import ClusterError
from headstart.execution.cluster_watch import head_answers
from headstart.extras import require_extra

__all__ = ["Cluster", "parse_cluster"]

_SECONDS = 10  # within which a cluster must answer


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs."""

    address: str  # "auto", "local", "ray://HOST:PORT" or "HOST:PORT"
    workers: int | None = None  # of a cluster on this machine: one-core workers

    def cores(self) -> int:
        """The number of cores, and so of one-core workers; a cluster elsewhere is asked.

        :raises SettingsError: Ray is not installed.
        :raises ClusterError: there is no cluster at the address.
        """
        if self.workers is not None:
            return self.workers
        with self.connected() as ray:
            return max(1, int(ray.cluster_resources().get("CPU", 1)))

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """Connect to the cluster, and yield the module ``ray``. An open connection of this process is used.

        :raises SettingsError: Ray is not installed.
        :raises ClusterError: there is no cluster at the address, or it failed within the block.
        """
        require_extra("ray", ("ray",), what="--cluster")
        import ray
        import ray.util

        opened = not ray.is_initialized()
        if opened:
            self._connect(ray)
        try:
            yield ray
        except ray.exceptions.RayError as failure:
            reason = str(failure).strip().split("\n")[-1]
            raise ClusterError(
                f"the cluster failed ({reason}); what was finished is kept: the same command goes on from there"
            ) from failure
        finally:
            if opened and head_answers(ray):  # else that waits until Ray ends this process
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        advice = "start one with: ray start --head; or use --cluster local:N for workers on this machine"
        host, _, port = self.address.removeprefix("ray://").rpartition(":")
        if host:  # Ray itself tries for half a minute
            try:
                socket.create_connection((host, int(port)), timeout=_SECONDS).close()
            except OSError as failure:
                raise ClusterError(f"--cluster {self.address}: cannot connect ({failure}); {advice}") from failure
        local = {"num_cpus": self.workers, "include_dashboard": False} if self.address == "local" else {}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Lance about forks: Ray starts other programs at once
                ray.init(address=self.address, logging_level="ERROR", log_to_driver=False, **local)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as failure:
            reason = str(failure).strip().split("\n")[0]
            if "AuthToken" in f"{failure} {failure.__cause__}":
                reason, advice = "it asks for a token", "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to its token"
            raise ClusterError(f"--cluster {self.address}: cannot connect ({reason}); {advice}") from failure


def parse_cluster(text: str) -> Cluster:
    """Read a value of the setting ``cluster``.

    >>> parse_cluster("local:2"), parse_cluster("ray://head:10001")
    (Cluster(address='local', workers=2), Cluster(address='ray://head:10001', workers=None))
    """
    kind, _, number = text.partition(":")
    return Cluster("local", int(number)) if kind == "local" else Cluster(text)
