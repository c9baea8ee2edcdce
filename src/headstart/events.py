"""What long work reports while it runs: typed events, and the listeners that receive them.

Event
├── StageBegun       a stage of known length begins
├── StageAdvanced    some of its units are done
├── StageEnded       it is over
├── EpochEnded       one epoch of fine-tuning
├── TrialEnded       one candidate of the search over what to train
├── DataDescribed    what the images and labels were taken to be
├── Notice           a line of information
├── Warned           something that makes the result less trustworthy, or a recoverable failure
└── Done             the work is complete

The library emits events and never prints. A listener is any callable that takes an event: the command line draws
progress bars, :class:`EventLog` writes JSON lines, a page or a server can do what it likes. A listener that raises an
exception is logged and receives no more events; the work continues. ``KeyboardInterrupt`` passes through, so that a
listener can stop the work.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    from headstart.description import DataDescription

__all__ = [
    "DataDescribed",
    "Done",
    "EpochEnded",
    "Event",
    "EventLog",
    "Events",
    "Listener",
    "Notice",
    "StageAdvanced",
    "StageBegun",
    "StageEnded",
    "TrialEnded",
    "Warned",
    "in_megabytes",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened; ``kind`` names the type in JSON."""

    kind: ClassVar[str] = "event"

    def as_dict(self) -> dict[str, object]:
        """The event as plain JSON values: a figure that is not finite becomes None, since JSON has no NaN.

        >>> Notice("3 images have no label").as_dict()
        {'kind': 'notice', 'text': '3 images have no label'}
        """
        return {"kind": self.kind, **{name: _plain(value) for name, value in asdict(self).items()}}


@dataclass(frozen=True)
class StageBegun(Event):
    """A stage of ``total`` units begins."""

    name: str
    total: int
    unit: str = "image"
    kind: ClassVar[str] = "stage_begun"


@dataclass(frozen=True)
class StageAdvanced(Event):
    """``done`` of ``total`` units of the stage are complete."""

    name: str
    done: int
    total: int
    kind: ClassVar[str] = "stage_advanced"


@dataclass(frozen=True)
class StageEnded(Event):
    """The stage is over; ``done`` may be less than ``total`` where it was interrupted."""

    name: str
    done: int
    total: int
    unit: str
    seconds: float
    kind: ClassVar[str] = "stage_ended"


@dataclass(frozen=True)
class EpochEnded(Event):
    """One epoch of fine-tuning; losses are mean log-loss in nats."""

    trial: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    kind: ClassVar[str] = "epoch_ended"


@dataclass(frozen=True)
class TrialEnded(Event):
    """One candidate of the search, with its accuracy (95 % interval) and log-loss on the selection split."""

    trial: str
    accuracy: float
    low: float
    high: float
    log_loss: float
    seconds: float
    kind: ClassVar[str] = "trial_ended"


@dataclass(frozen=True)
class DataDescribed(Event):
    """What the images and labels were taken to be; emitted before any image is read."""

    description: DataDescription
    kind: ClassVar[str] = "data_described"


@dataclass(frozen=True)
class Notice(Event):
    """A line of information."""

    text: str
    kind: ClassVar[str] = "notice"


@dataclass(frozen=True)
class Warned(Event):
    """A line that the user should not miss."""

    text: str
    kind: ClassVar[str] = "warning"


@dataclass(frozen=True)
class Done(Event):
    """The work is complete."""

    text: str
    kind: ClassVar[str] = "done"


Listener: TypeAlias = Callable[[Event], object]


class Events:
    """Passes events on to listeners, in the order of the listeners. Without listeners it is silent.

    Events may be emitted from several threads: they are delivered one at a time, and ``done`` of a stage never
    decreases. A listener runs in the thread that emits.

    >>> seen = []
    >>> events = Events(seen.append)
    >>> with events.stage("reading", total=3) as advance:
    ...     advance(3)
    >>> [event.kind for event in seen]
    ['stage_begun', 'stage_advanced', 'stage_ended']
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = list(listeners)
        self._lock = threading.RLock()  # reentrant, since a listener may emit

    def listen(self, listener: Listener) -> None:
        """Add a listener, which receives the events from now on."""
        with self._lock:
            self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Send an event to every listener."""
        with self._lock:
            for listener in list(self._listeners):
                try:
                    listener(event)
                except Exception as failure:  # noqa: PERF203 - one listener must not affect another
                    _log.error(
                        "an event listener failed and receives no more events: %r: %s",
                        listener,
                        failure,
                        # A full disk or a closed pipe is no fault of the listener, whose code need not be shown.
                        exc_info=not isinstance(failure, OSError),
                    )
                    # By identity: a listener that failed while it emitted may be gone already.
                    self._listeners = [each for each in self._listeners if each is not listener]

    @contextmanager
    def stage(self, name: str, *, total: int, unit: str = "image") -> Iterator[Callable[[int], object]]:
        """Open a stage of ``total`` units; call the yielded function with the number of units just completed.

        The stage ends with the block, also when the block raises.
        """
        done, start = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal done
            with self._lock:
                done += count
                self.emit(StageAdvanced(name, done, total))

        self.emit(StageBegun(name, total, unit))
        try:
            yield advance
        finally:
            self.emit(StageEnded(name, done, total, unit, time.monotonic() - start))

    def notice(self, text: str) -> None:
        """Emit a :class:`Notice`."""
        self.emit(Notice(text))

    def warn(self, text: str) -> None:
        """Emit a :class:`Warned`."""
        self.emit(Warned(text))


class EventLog:
    """A listener that appends each event to a file, one JSON object per line, with the time in seconds since 1970.

    The file is created at the first event and replaces an older one, or a link of that name. At most one
    :class:`StageAdvanced` per stage and second is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun = False
        self._last_advance: dict[str, float] = {}  # stage -> seconds of the monotonic clock

    def __call__(self, event: Event) -> None:
        """Write one line."""
        if isinstance(event, StageAdvanced):
            now = time.monotonic()
            if now - self._last_advance.get(event.name, -math.inf) < 1:
                return
            self._last_advance[event.name] = now
        if not self._begun:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_symlink():  # whoever made the run must not choose what is written where
                self.path.unlink()
        line = (
            json.dumps({"time": round(time.time(), 3), **event.as_dict()}, ensure_ascii=False, allow_nan=False) + "\n"
        )
        # A file name that is not UTF-8 has lone surrogates; as \udcff they are valid in JSON too.
        with self.path.open("a" if self._begun else "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line)
        self._begun = True


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def in_megabytes(advance: Callable[[int], object]) -> Callable[[int], None]:
    """Adapt the ``advance`` of a stage whose unit is the megabyte (1 MiB) to a function that takes bytes.

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
