"""How long work tells how far it is: the library reports, the face (command line, notebook, nothing) shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress"]


class Progress:
    """Tells nobody. The command line hands in one that draws a bar and prints.

    >>> with Progress().stage("reading", total=3, unit="image") as advance:
    ...     advance(3)
    """

    @contextmanager
    def stage(self, name: str, *, total: int, unit: str = "image") -> Iterator[Callable[[int], object]]:  # noqa: ARG002
        """Open a stage of ``total`` units; call what it yields with the number of units just done."""
        yield _nothing

    def say(self, text: str) -> None:
        """Tell one line."""


def _nothing(done: int) -> None:
    pass
