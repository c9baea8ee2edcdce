"""The process of a job: it fits or exports what a task file says, and writes what happens to standard output.

It is started as ``python -m headstart.workflow.live.job_worker TASK`` (:mod:`headstart.workflow.live.job_process`), so
that it can be stopped at any moment, and takes no time from the threads that answer requests. It ends when its standard
input does: no job outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headstart.documents import read_document, write_document

__all__ = ["ERROR", "RESULT", "Task"]

RESULT, ERROR = "job_result", "job_error"  # kinds of the last line, beside those of the events
_FORMAT = 1
_NICE = 5  # of the process: what a person waits for comes first


@dataclass(frozen=True)
class Task:
    """What a job is to do."""

    kind: str  # "fit" or "export"
    folder: str  # that the result is written to
    settings: str = "{}"  # values of the FitSettings, as JSON
    manifest: str = ""  # the images of a fit
    arguments: tuple[str, ...] = ()  # of the command that does the same, for the run folder
    run: str = ""  # the folder of the run that is exported
    to: str = ""  # the format
    file: str = ""  # the name of the exported file

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_document(path, self, version=_FORMAT)

    @classmethod
    def read(cls, path: Path) -> Task:
        """Read what :meth:`write` wrote."""
        return read_document(cls, path, version=_FORMAT)


def main(path: str) -> None:
    """Do the task in a file."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICE)
    from headstart.errors import HeadstartError
    from headstart.events import Event, Events
    from headstart.files import reason_of

    def listen(event: Event) -> None:
        _say(event.as_dict())

    task = Task.read(Path(path))
    try:
        text = _fit(task, Events(listen)) if task.kind == "fit" else _export(task, Events(listen))
        _say({"kind": RESULT, "text": text})
    except HeadstartError as error:
        _say({"kind": ERROR, "text": str(error)})
    except MemoryError:
        _say({"kind": ERROR, "text": "there is not enough memory: choose a smaller network, or close other programs"})
    except OSError as error:
        _say({"kind": ERROR, "text": f"{error.filename or task.folder}: {reason_of(error)}"})


def _fit(task: Task, events: object) -> str:
    from headstart.config import FitSettings
    from headstart.data.manifest import Manifest
    from headstart.events import Done, EventLog, Events
    from headstart.workflow.fit import fit
    from headstart.workflow.runs import finish_run

    assert isinstance(events, Events)
    folder = Path(task.folder)
    log = EventLog(folder / "events.jsonl")
    events.listen(log)
    settings = FitSettings.of(**json.loads(task.settings))
    found = fit(Manifest.read(Path(task.manifest)), settings, events=events)
    finish_run(found, folder, arguments=task.arguments, events=events)
    top1 = found.evaluation.top1
    text = f"accuracy {top1.value:.1%} (95 % interval {top1.low:.1%} to {top1.high:.1%})"
    log(Done(text))
    return text


def _export(task: Task, events: object) -> str:
    from headstart.events import Events
    from headstart.workflow.export import export

    assert isinstance(events, Events)
    result = export(task.run, task.to, path=Path(task.folder) / task.file, events=events)
    return "; ".join(result.lines()[:-1])  # the last line is a path that is not kept


def _say(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    # Libraries must not write between the lines of the events.
    _out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = _out
    main(sys.argv[1])
