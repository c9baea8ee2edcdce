"""Output on a terminal: progress bars with images per second and time left, and lines of text above them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from headstart.events import (
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

__all__ = ["Console", "console", "event_line", "headline"]


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


def event_line(event: Event) -> str | None:
    """The line that the terminal shows for an event; None for an event without one.

    >>> event_line(Warned("no label for a.jpg"))
    'warning: no label for a.jpg'
    """
    match event:
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


def _bar(stage: StageBegun) -> tqdm:
    from tqdm import tqdm

    return tqdm(
        total=stage.total,
        unit=f" {stage.unit}s",
        desc=stage.name,
        disable=not sys.stderr.isatty(),
        leave=False,
        dynamic_ncols=True,
    )


def _print(text: str) -> None:
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)
