"""Progress on a terminal: bars with images per second and time left, and lines above them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headstart.progress import Progress

__all__ = ["Console"]


class Console(Progress):
    """Draws on standard error, so that standard output holds results only."""

    @contextmanager
    def stage(self, name: str, *, total: int, unit: str = "image") -> Iterator[Callable[[int], object]]:
        """A bar where a person watches; where a log file does, the line at the end alone."""
        from tqdm import tqdm

        start = time.monotonic()
        watched = sys.stderr.isatty()
        with tqdm(
            total=total, unit=f" {unit}s", desc=name, disable=not watched, leave=False, dynamic_ncols=True
        ) as bar:
            yield bar.update
        seconds = time.monotonic() - start
        if unit == "image" and total:
            self.say(f"{name}: {total:,} images in {seconds:.1f} s, {total / max(seconds, 1e-9):,.0f} a second")

    def say(self, text: str) -> None:
        """One line."""
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
