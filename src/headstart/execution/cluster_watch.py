"""Whether the cluster that this process waits for is still there.

Ray itself waits for ever for a machine that could start a lost worker again, and a minute after the head node was lost
it ends this process, without an exception: what was finished since the last commit is then lost, and no next step told.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from headstart.errors import ClusterError

__all__ = ["SECONDS_PER_LOOK", "ClusterWatch", "head_answers"]

SECONDS_PER_LOOK = 5.0  # while nothing that is waited for is ready
_SECONDS = 5.0  # within which the head node must answer
_WITHOUT_HEAD = 40.0  # seconds; a network that fails for less is waited for
_WITHOUT_MACHINES = 300.0  # seconds; machines that were lost may be replaced
_GOES_ON = "what was finished is kept: once the cluster is there again, the same command goes on from there"


def head_answers(ray: Any) -> bool:
    """Whether the head node of the connected cluster takes connections; by Ray Client, that is not asked."""
    if ray.util.client.ray.is_connected():
        return True
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
    except OSError:
        return False
    return True


class ClusterWatch:
    """Looks at the cluster while its work is waited for.

    :param ray: the module, connected.
    :param cores: that each worker needs.
    """

    def __init__(self, ray: Any, cores: int) -> None:
        self._ray, self._cores = ray, cores
        self._head = self._machines = time.monotonic()  # when they were there

    def look(self) -> None:
        """Look once; to be called every few seconds.

        :raises ClusterError: the head node has not answered for 40 seconds, or no machine could run a worker for 5
            minutes.
        """
        now = time.monotonic()
        if not head_answers(self._ray):
            if now - self._head > _WITHOUT_HEAD:
                raise ClusterError(
                    f"the head node of the cluster has not answered for {now - self._head:.0f} s; {_GOES_ON}"
                )
            return
        self._head = now
        machines = [each["Resources"].get("CPU", 0) for each in self._ray.nodes() if each["Alive"]]
        if max(machines, default=0) >= self._cores:
            self._machines = now
        elif now - self._machines > _WITHOUT_MACHINES:
            raise ClusterError(
                f"no machine of the cluster has had {self._cores} core{'s' * (self._cores != 1)} for a worker for "
                f"{now - self._machines:.0f} s; {_GOES_ON}"
            )
