"""Output on a terminal: progress bars with images per second and time left, and lines of text above them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO, cast

import click

from headstart.events import (
    DataDescribed,
    Done,
    EpochEnded,
    Event,
    Events,
    Listener,
    Notice,
    StageAdvanced,
    StageBegun,
    StageEnded,
    TrialEnded,
    Warned,
)

if TYPE_CHECKING:
    from tqdm import tqdm

    from headstart.evaluate.schema import Evaluation

__all__ = ["Console", "console", "event_line", "headline", "printable", "safe_streams", "say_token"]

# Control characters but tab and line feed, and those that change the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Console:
    """A listener that writes to standard error, so that standard output has results only."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm] = {}

    def __call__(self, event: Event) -> None:
        """Draw or print one event. Bars are drawn only on a terminal; a log file gets the line at the end."""
        if isinstance(event, StageBegun):
            self._bars[event.name] = _bar(event)
        elif isinstance(event, StageAdvanced):
            if (bar := self._bars.get(event.name)) is not None:
                bar.update(event.done - bar.n)
        elif isinstance(event, StageEnded):
            if (bar := self._bars.pop(event.name, None)) is not None:
                bar.close()
            if event.unit == "image" and event.total and event.done >= event.total:
                rate = event.total / max(event.seconds, 1e-9)
                _print(f"{event.name}: {event.total:,} images in {event.seconds:.1f} s, {rate:,.0f} images/s")
        elif (line := event_line(event)) is not None:
            _print(line)


def console(*listeners: Listener) -> Events:
    """Events that the terminal shows, and that ``listeners`` receive too."""
    return Events(Console(), *listeners)


def printable(text: str) -> str:
    r"""The text with control characters as escapes, so that the name of a file or class cannot steer a terminal.

    >>> print(printable("cat\x1b[2J\u202e"))
    cat\x1b[2J\u202e
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Within the block, standard output and error take any text, also where they are closed or of another encoding.

    A terminal gets escapes instead of control characters; a file or a pipe gets the names as they are.
    """
    _open_missing_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    terminal = sys.stdout.isatty()
    try:
        with redirect_stdout(cast(TextIO, _Terminal(sys.stdout)) if terminal else sys.stdout):
            yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)


def _open_missing_streams() -> None:
    """Open what the caller has closed: otherwise the next file that is opened would receive what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            setattr(sys, name, open(opened, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def _flush(stream: TextIO) -> None:
    """Flush a stream now: where the reader of a pipe has ended, Python would do it later and exit with code 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Terminal:
    """A terminal as a stream of text without control characters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text with escapes."""
        return self._stream.write(printable(text))

    def __getattr__(self, name: str) -> object:
        if name == "buffer":  # by which click would bypass this
            raise AttributeError(name)
        return getattr(self._stream, name)


def event_line(event: Event) -> str | None:
    """The line that the terminal shows for an event; None for an event without one.

    >>> event_line(Warned("no label for a.jpg"))
    'warning: no label for a.jpg'
    """
    match event:
        case DataDescribed(description):
            return "\n".join(description.lines())
        case Notice(text) | Done(text):
            return text
        case Warned(text):
            return f"warning: {text}"
        case EpochEnded():
            return (
                f"epoch {event.epoch}/{event.epochs}: loss {event.loss:.3f}, accuracy {event.accuracy:.1%}; "
                f"validation loss {event.val_loss:.3f}, accuracy {event.val_accuracy:.1%}"
            )
        case TrialEnded():
            return (
                f"{event.trial}: accuracy {event.accuracy:.1%} ({event.low:.1%} to {event.high:.1%}), "
                f"log-loss {event.log_loss:.3f}, {event.seconds:.1f} s"
            )
        case _:
            return None


def headline(evaluation: Evaluation) -> str:
    """The accuracy with its interval, in one line."""
    top1 = evaluation.top1
    return (
        f"{evaluation.split} accuracy {top1.value:.1%} (95 % interval {top1.low:.1%} to {top1.high:.1%}), "
        f"{evaluation.images:,} images, {len(evaluation.classes):,} classes"
    )


def say_token(url: str, token: str | None) -> None:
    """Tell the token of a server that was made for this start; None: there is none that has to be told."""
    if token is not None:
        click.echo(f"token: {token}", err=True)
        click.echo(f"sign in at {url}?token={token}", err=True)


def _bar(stage: StageBegun) -> tqdm:
    from tqdm import tqdm

    return tqdm(
        total=stage.total,
        unit=f" {stage.unit}s",
        desc=printable(stage.name),
        disable=not sys.stderr.isatty(),
        leave=False,
        dynamic_ncols=True,
    )


def _print(text: str) -> None:
    from tqdm import tqdm

    tqdm.write(printable(text), file=sys.stderr)
