"""What is told of a job, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

from headstart.events import EpochEnded, TrialEnded

__all__ = ["Job"]

Kind = Literal["fit", "export"]
State = Literal["queued", "running", "done", "failed", "stopped"]

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """A fit or an export."""

    id: int
    kind: Kind
    state: State
    title: str  # what it does, for a person
    stage: str = ""
    progress: float | None = None  # of the stage, from 0 to 1
    seconds: float = 0.0  # since it began to run
    seconds_left: float | None = None  # of the budget of a fit, which may end earlier
    message: str = ""  # the last thing it said; in the end what came of it, or why it failed
    epochs: tuple[EpochEnded, ...] = ()
    trials: tuple[TrialEnded, ...] = ()
    result: str | None = None  # name of the run, or of the exported file

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ("done", "failed", "stopped")

    def finished(self, state: State, message: str, result: str | None = None) -> Job:
        """The job at its end."""
        progress = 1.0 if state == "done" else None
        return replace(self, state=state, message=message, result=result, progress=progress, seconds_left=None)

    def after(self, event: Mapping[str, object]) -> Job:
        """The job after an event of its process, given as plain values (:mod:`headstart.events`).

        >>> job = Job(1, "fit", "running", "fit").after({"kind": "stage_begun", "name": "checking", "total": 4})
        >>> job = job.after({"kind": "stage_advanced", "name": "checking", "done": 1, "total": 4})
        >>> job.stage, job.progress
        ('checking', 0.25)
        """
        kind = event.get("kind")
        if kind == "epoch_ended":
            epoch = _of(EpochEnded, event)
            stage = f"training {epoch.trial}"
            return replace(self, stage=stage, progress=epoch.epoch / max(epoch.epochs, 1), epochs=(*self.epochs, epoch))
        if kind == "trial_ended":
            return replace(self, progress=None, trials=(*self.trials, _of(TrialEnded, event)))
        if kind in ("notice", "warning"):
            return replace(self, message=str(event["text"]))
        if kind in ("stage_begun", "stage_advanced"):
            return replace(self, stage=str(event["name"]), progress=_share(event.get("done", 0), event["total"]))
        return replace(self, progress=None) if kind == "stage_ended" else self


def _share(done: object, total: object) -> float | None:
    if not isinstance(done, int | float) or not isinstance(total, int | float) or total <= 0:
        return None
    return min(done / total, 1.0)


def _of(kind: type[T], event: Mapping[str, object]) -> T:
    """An event from its values."""
    return kind(**{each.name: event[each.name] for each in fields(kind)})  # type: ignore[arg-type]
