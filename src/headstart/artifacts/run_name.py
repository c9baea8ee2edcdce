"""A run by its name: a folder, ``hf:OWNER/NAME`` on the Hugging Face Hub, or an address of object storage. No torch."""

from __future__ import annotations

import os

from headstart.artifacts.hub import fetch_hub_run, hub_run
from headstart.artifacts.stored_run import fetch_run, is_address

__all__ = ["is_elsewhere", "local_run"]


def is_elsewhere(name: str | os.PathLike[str]) -> bool:
    """Whether a name is of a run that must be fetched.

    :raises SettingsError: it begins with ``hf:``, but is no name of the hub.

    >>> [is_elsewhere(name) for name in ("hf:me/dogs", "s3://bucket/runs/dogs", "runs/dogs")]
    [True, True, False]
    """
    return is_address(name) or hub_run(name) is not None


def local_run(name: str | os.PathLike[str]) -> str:
    """Fetch a run that is elsewhere, and return the folder of it; any other name is returned as it is.

    :raises RunError: there is no such run, it has no classifier, or it cannot be fetched.
    :raises SettingsError: as of :func:`is_elsewhere`.
    """
    if is_address(name):
        return str(fetch_run(os.fspath(name)))
    run = hub_run(name)
    return os.fspath(name) if run is None else str(fetch_hub_run(run))
