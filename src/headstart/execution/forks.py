"""Processes that fork: a child has the memory of its parent, but of its threads only the one that forked."""

from __future__ import annotations

import os
import threading

__all__ = ["new_lock"]


def new_lock() -> threading.RLock:
    """A reentrant lock that is open in a child, also if another thread of the parent had it during the fork."""
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]
    return lock
