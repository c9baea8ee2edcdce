"""How long work tells how far it is: the library reports, the face (command line, notebook, nothing) shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "in_megabytes"]


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


def in_megabytes(advance: Callable[[int], object]) -> Callable[[int], None]:
    """For a stage whose unit is the megabyte (1 MiB): a function that takes bytes, and passes on what is whole.

    >>> advance = in_megabytes(print)
    >>> advance(1_000_000)
    >>> advance(1_500_000)
    2
    """
    rest = 0

    def add(size: int) -> None:
        nonlocal rest
        whole, rest = divmod(rest + size, 1 << 20)
        if whole:
            advance(whole)

    return add


def _nothing(done: int) -> None:
    pass
