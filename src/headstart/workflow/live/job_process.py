"""Starting, following and stopping the process of a job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from headstart.errors import DataError
from headstart.execution.waiting import spin_briefly
from headstart.workflow.live.job_worker import ERROR, RESULT, Task

__all__ = ["JobProcess"]

_WORKER = "headstart.workflow.live.job_worker"
_GRACE = 0.5  # seconds that a stopped process has to end by itself
_SHOWN = 300  # characters of what a process that crashed has written last


class JobProcess:
    """The process of a task, with its files in a work folder. The end of the block ends it."""

    def __init__(self, task: Task, work: Path) -> None:
        path, self._errors = work / "task.json", work / "errors.txt"
        task.write(path)
        spin_briefly()  # read by the process that is started: it is not alone on the machine
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
            "PYTHONWARNINGS": "ignore",
        }
        self._result: str | None = None
        self._failure: str | None = None
        self._stopping = threading.Lock()
        with self._errors.open("wb") as errors:
            # A session of its own, so that it can be stopped together with the processes that it starts.
            self._process = subprocess.Popen(
                [sys.executable, "-m", _WORKER, str(path)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self) -> JobProcess:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def events(self) -> Iterator[Mapping[str, object]]:
        """What it says, until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                event = json.loads(line)
                kind = event.get("kind")
                if kind == RESULT:
                    self._result = str(event["text"])
                elif kind == ERROR:
                    self._failure = str(event["text"])
                else:
                    yield event
        self._process.wait()

    def result(self) -> str:
        """What came of it, once it has ended.

        :raises DataError: it failed; the message says why.
        """
        if self._result is not None:
            return self._result
        if self._failure is not None:
            raise DataError(self._failure)
        code = self._process.returncode
        if code is not None and code < 0:
            raise DataError(f"the process of the job was ended by signal {-code}; there may be too little memory")
        lines = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise DataError(f"the process of the job failed: {(lines or ['no reason given'])[-1][:_SHOWN]}")

    def stop(self) -> None:
        """End it and what it has started, within a second."""
        with self._stopping:
            if self._process.poll() is None:
                self._signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE)
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, number)  # its session's, also of what it left behind
            elif self._process.poll() is None:
                self._process.send_signal(number)
