"""What takes minutes in a project: fits and exports, one at a time, each in a process that can be stopped."""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue

from headstart.config import FitSettings
from headstart.config.options import parse_duration
from headstart.data.manifest import Manifest
from headstart.data.projects import ImageQuery, Project
from headstart.data.projects.outputs import EXPORTS, RUNS, finished_runs, run_folder
from headstart.errors import DataError, HeadstartError, RunError, SettingsError
from headstart.export.registry import export_format
from headstart.files import reason_of
from headstart.workflow.live.features import manifest_of
from headstart.workflow.live.job_process import JobProcess
from headstart.workflow.live.job_records import Job
from headstart.workflow.live.job_worker import Task
from headstart.workflow.live.results import export_file_name

__all__ = ["Jobs"]

_log = logging.getLogger(__name__)

_KEPT = 50  # jobs that are remembered
_TOLD_EVERY = 0.25  # seconds between two tellings of how far a stage is
_PARTIAL = ".partial"

Told = Callable[[str, Mapping[str, object]], None]


class Jobs:
    """The jobs of a project. Results come to their place only when they are complete.

    :param settings: of fits, but for what a job states itself.
    :param on_change: called in a thread with "job" and the job as plain values.
    """

    def __init__(self, project: Project, settings: FitSettings | None = None, on_change: Told | None = None) -> None:
        self._project, self._settings, self._on_change = project, settings or FitSettings(), on_change
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._tasks: dict[int, tuple[Task, Path, float | None]] = {}
        self._process: JobProcess | None = None
        self._running: int | None = None
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        for folder in (RUNS, EXPORTS):  # what a killed process has left
            for left in (project.folder / folder).glob(f".*{_PARTIAL}"):
                shutil.rmtree(left, ignore_errors=True)
        self._thread = threading.Thread(target=self._run, name="headstart-jobs", daemon=True)
        self._thread.start()

    def start(self, kind: str, settings: Mapping[str, str] | None = None) -> Job:
        """Start a job, or queue it behind the one that runs.

        :param kind: "fit", with any FitSettings as ``budget``; or "export", with ``format`` and ``run`` (by default the
            newest run).
        :raises SettingsError: a setting is invalid.
        :raises RunError: there is no such run.
        """
        given = dict(settings or {})
        if kind == "fit":
            values = {**self._settings.values(), **given}
            budget: float | None = parse_duration(FitSettings.of(**values).budget)
            title, name, parent = f"fit within {values['budget']}", self._next_run(), self._project.folder / RUNS
            arguments = ["fit", str(self._project.folder), *_as_options(given)]
            made = Task("fit", "", json.dumps(values), arguments=tuple(arguments))
        elif kind == "export":
            budget, parent = None, self._project.folder / EXPORTS
            made, name = self._export_task(given)
            title = f"export {Path(made.run).name} to {made.to}"
        else:
            raise SettingsError(f"kind of a job must be fit or export, got {kind!r}")
        with self._lock:
            number = max(self._jobs, default=0) + 1
            job = self._jobs[number] = Job(number, "fit" if kind == "fit" else "export", "queued", title)
            self._tasks[number] = made, parent / name, budget
            for old in [each for each in self._jobs if self._jobs[each].ended][: max(0, len(self._jobs) - _KEPT)]:
                del self._jobs[old]
        self._tell(job)
        self._queue.put(number)
        return job

    def get(self, number: int) -> Job:
        """A job as it is now.

        :raises RunError: there is none of this number.
        """
        with self._lock:
            if number not in self._jobs:
                raise RunError(f"there is no job {number}")
            return self._jobs[number]

    def all(self) -> list[Job]:
        """The jobs of this process, newest first."""
        with self._lock:
            return sorted(self._jobs.values(), key=lambda job: -job.id)

    def stop(self, number: int) -> Job:
        """Stop a job within two seconds; nothing is left of it. One that has ended stays as it is."""
        with self._lock:
            job = self._jobs.get(number)
            process = self._process if self._running == number else None
            stopping = job is not None and not job.ended
            if job is not None and stopping:
                job = self._jobs[number] = job.finished("stopped", "stopped")
        if job is None:
            raise RunError(f"there is no job {number}")
        if stopping:
            self._tell(job)
            if process is not None:
                process.stop()
        return job

    def close(self) -> None:
        """Stop all jobs."""
        for job in self.all():
            self.stop(job.id)
        self._queue.put(None)
        self._thread.join()

    def _next_run(self) -> str:
        with self._lock:
            names = {place.name for _, place, _ in self._tasks.values()}
        names |= {each.name for each in (self._project.folder / RUNS).glob("*")}
        numbers = [int(found[1]) for name in names if (found := re.fullmatch(r"fit-(\d+)", name))]
        return f"fit-{max(numbers, default=0) + 1}"

    def _export_task(self, given: Mapping[str, str]) -> tuple[Task, str]:
        if unknown := set(given) - {"format", "run"}:
            raise SettingsError(f"an export has no setting {min(unknown)!r}: it has format and run")
        to = given.get("format", "onnx")
        export_format(to).check()
        runs = finished_runs(self._project.folder)
        if not runs:
            raise RunError("there is nothing to export yet: train first")
        folder = run_folder(self._project.folder, given.get("run") or runs[0].name)
        file = export_file_name(folder, to)
        return Task("export", "", run=str(folder), to=to, file=file), file

    def _run(self) -> None:
        while (number := self._queue.get()) is not None:
            if self.get(number).ended:  # stopped while it waited
                continue
            try:
                self._work(number, *self._tasks[number])
            except (HeadstartError, OSError) as error:
                text = (
                    str(error)
                    if isinstance(error, HeadstartError)
                    else f"{error.filename or self._project.folder}: {reason_of(error)}"
                )
                self._end(number, text)
            except Exception as error:
                _log.exception("a job failed")
                self._end(number, f"{type(error).__name__}: {error}")

    def _work(self, number: int, task: Task, place: Path, budget: float | None) -> None:
        """Run a job in a folder beside its place, and move the result there when it is complete."""
        work = place.with_name(f".{place.name}{_PARTIAL}")
        try:
            result = work / place.name
            result.mkdir(parents=True)
            manifest = work / "manifest.parquet"
            if task.kind == "fit":
                self._labeled_images().write(manifest)
            with JobProcess(replace(task, folder=str(result), manifest=str(manifest)), work) as process:
                with self._lock:
                    self._process, self._running = process, number
                    if self._jobs[number].ended:
                        process.stop()
                text = self._follow(number, process, budget)
            with self._lock:  # from here on it is too late to stop it
                if self._jobs[number].ended:
                    return
                _move(result, place, whole=task.kind == "fit")
                self._jobs[number] = self._jobs[number].finished("done", text, place.name)
            self._tell(self.get(number))
        finally:
            with self._lock:
                self._process = self._running = None
            shutil.rmtree(work, ignore_errors=True)

    def _labeled_images(self) -> Manifest:
        """The labels as they are now: those that are given while a fit runs are for the next one."""
        names = {each.id: each.name for each in self._project.classes()}
        images = self._project.images(ImageQuery(show="labeled", limit=None)).images
        if not images:
            raise DataError("no image has a label yet: label two images of two classes each")
        return manifest_of(images, names)

    def _follow(self, number: int, process: JobProcess, budget: float | None) -> str:
        """Tell what a process says until it ends; return what came of it.

        :raises DataError: it says why it failed; or it ended without a word.
        """
        self._change(replace(self.get(number), state="running", stage="starting"))
        began, told = time.monotonic(), 0.0
        for event in process.events():
            job, seconds = self.get(number), time.monotonic() - began
            left = None if budget is None else max(budget - seconds, 0.0)
            job = replace(job.after(event), seconds=seconds, seconds_left=left)
            minor = event.get("kind") == "stage_advanced" and time.monotonic() - told < _TOLD_EVERY
            told = told if minor else time.monotonic()
            self._change(job, tell=not minor)
        return process.result()

    def _end(self, number: int, message: str) -> None:
        self._change(self.get(number).finished("failed", message))

    def _change(self, job: Job, *, tell: bool = True) -> None:
        """Keep a job as it is now, unless it was stopped meanwhile."""
        with self._lock:
            if self._jobs[job.id].ended:
                return
            self._jobs[job.id] = job
        if tell:
            self._tell(job)

    def _tell(self, job: Job) -> None:
        if self._on_change is not None:
            self._on_change("job", asdict(job))


def _move(result: Path, place: Path, *, whole: bool) -> None:
    """Bring the result to its place: a run as a folder, an export as files that replace those of the same name."""
    if whole:
        result.rename(place)
        return
    for file in result.iterdir():
        file.replace(place.parent / file.name)


def _as_options(given: Mapping[str, str]) -> list[str]:
    return [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
