"""Which processes use a feature store: pruning removes more if no other process does.

Each process that opens the store has a lock on its folder, shared with the others, until it ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.features.location import Location

__all__ = ["only_user", "use"]

_OPEN: dict[str, int] = {}  # folders that this process has locked

if sys.platform != "win32":
    import fcntl

    _SHARED, _ALONE = fcntl.LOCK_SH, fcntl.LOCK_EX | fcntl.LOCK_NB

    def _lock(folder: Path, kind: int) -> None:
        name = os.path.realpath(folder)
        status = Path(name).stat()
        if name in _OPEN and not os.path.samestat(os.fstat(_OPEN[name]), status):  # removed and created again
            os.close(_OPEN.pop(name))
        if name not in _OPEN:
            _OPEN[name] = os.open(name, os.O_RDONLY)
        fcntl.flock(_OPEN[name], kind)
else:
    _SHARED = _ALONE = 0

    def _lock(folder: Path, kind: int) -> None:  # noqa: ARG001
        raise BlockingIOError("folders cannot be locked here")


def use(folder: Path) -> None:
    """Tell other processes that this one uses the store, until it ends. Waits while another one prunes the store."""
    with suppress(OSError):  # a file system without locks
        _lock(folder, _SHARED)


@contextmanager
def only_user(folder: Location) -> Iterator[bool]:
    """Yield whether no other process uses the store; if so, none can begin to before the block ends.

    At an address nobody knows.
    """
    if not isinstance(folder, Path):
        yield False
        return
    try:
        _lock(folder, _ALONE)
        alone = True
    except FileNotFoundError:
        alone = True
    except OSError:
        alone = False
    try:
        yield alone
    finally:
        use(folder)
