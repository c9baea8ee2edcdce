"""Prediction in a process that was forked from one that had predicted, as servers do that load before they fork.

The threads with which torch and OpenVINO computed are missing in the child, and both would wait for them for ever.
"""

from __future__ import annotations

import os

import torch

__all__ = ["adapt_to_fork"]

_COMPUTED: set[int] = set()  # the processes that computed something, of those whose memory this one has


def adapt_to_fork() -> None:
    """Before anything is computed: in the child of a process that had computed, let torch use a single thread.

    torch does the same in the worker processes of its ``DataLoader``. A process that wants more threads, and was not
    forked with them, starts anew instead of forking.
    """
    if _COMPUTED and os.getpid() not in _COMPUTED:
        torch.set_num_threads(1)
    _COMPUTED.add(os.getpid())
