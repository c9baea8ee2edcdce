"""Workers that are lost, with their process, their machine or the network, and the end of those that are not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headstart.errors import ClusterError
from headstart.execution.cluster_watch import head_answers

__all__ = ["MAX_TRIES", "lost_errors", "stop_actors", "tried_too_often"]

MAX_TRIES = 10  # of a shard: a file that crashes its worker must not do so for ever


def lost_errors(ray: Any) -> tuple[type[Exception], ...]:
    """What Ray raises for a call whose worker was lost."""
    raised = ray.exceptions
    return (raised.RayActorError, raised.NodeDiedError, raised.ObjectLostError, raised.OutOfMemoryError)


def tried_too_often(what: str, failure: Exception) -> ClusterError:
    """The error after the last try."""
    reason = str(failure).strip().split("\n")[-1]
    return ClusterError(f"{what}, in {MAX_TRIES} tries ({reason}); what was finished is kept")


def stop_actors(ray: Any, actors: Iterable[Any]) -> None:
    """End workers. Without the head node, Ray would wait with that until it ends this process."""
    if head_answers(ray):
        for each in actors:
            ray.kill(each)
