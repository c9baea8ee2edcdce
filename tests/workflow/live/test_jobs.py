"""Fits and exports as jobs."""

from __future__ import annotations

import io
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.config import FitSettings
from headstart.data.projects import Project
from headstart.data.projects.outputs import run_folder
from headstart.errors import DataError, RunError, SettingsError
from headstart.export.registry import format_names
from headstart.workflow.live.job_process import JobProcess
from headstart.workflow.live.job_records import Job
from headstart.workflow.live.job_worker import Task
from headstart.workflow.live.jobs import Jobs
from headstart.workflow.live.results import list_exports, list_runs, write_run_zip

Add = Callable[..., list[int]]
Wait = Callable[[Callable[[], object]], None]


class Heard:
    """The jobs that were told, as values."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, object]] = []

    def __call__(self, kind: str, data: Mapping[str, object]) -> None:
        assert kind == "job"
        self.told.append(data)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def jobs(project: Project, fit_settings: FitSettings, heard: Heard) -> Iterator[Jobs]:
    settings = replace(fit_settings, train="head", near_duplicates="ignore", stages="none")
    opened = Jobs(project, settings, heard)
    yield opened
    opened.close()


def folders(project: Project) -> list[str]:
    return sorted(each.name for part in ("runs", "exports") for each in (project.folder / part).glob("*"))


@pytest.mark.slow
def test_a_fit_becomes_a_run_that_is_zipped_and_exported(
    project: Project, add: Add, jobs: Jobs, heard: Heard, wait_until: Wait
) -> None:
    add(30, labeled=True)
    add(5, seed=1)
    job = jobs.start("fit", {"budget": "30s"})
    assert job.state == "queued"
    wait_until(lambda: jobs.get(job.id).ended)
    done = jobs.get(job.id)
    assert (done.state, done.result, done.progress, done.seconds_left) == ("done", "fit-1", 1.0, None), done.message
    assert done.message.startswith("accuracy ")
    assert [trial.trial for trial in done.trials] == ["head"]
    states = [each["state"] for each in heard.told]
    assert (states[0], states[1], states[-1]) == ("queued", "running", "done")
    assert any(each["seconds_left"] for each in heard.told)
    (run,) = list_runs(project.folder)
    assert (run.name, run.report) == ("fit-1", True)
    assert run.accuracy is not None
    wait_until(lambda: folders(project) == ["fit-1"])  # the folder of the job goes last
    buffer = io.BytesIO()
    write_run_zip(run_folder(project.folder, "fit-1"), buffer)
    names = zipfile.ZipFile(buffer).namelist()
    assert {"fit-1/evaluation.json", "fit-1/report.html", "fit-1/classifier/model.safetensors"} <= set(names)
    exported = jobs.start("export", {"format": "torch"})
    wait_until(lambda: jobs.get(exported.id).ended)
    assert jobs.get(exported.id).result == "fit-1.pt2", jobs.get(exported.id).message
    (export,) = list_exports(project.folder)
    assert (export.file, export.format, export.run) == ("fit-1.pt2", "torch", "fit-1")
    assert export.bytes == (project.folder / "exports" / "fit-1.pt2").stat().st_size
    assert [each.id for each in jobs.all()] == [exported.id, job.id]


@pytest.mark.slow
def test_a_stopped_job_leaves_nothing_and_the_next_one_runs(
    project: Project, add: Add, jobs: Jobs, heard: Heard, wait_until: Wait
) -> None:
    add(30, labeled=True)
    first, second = jobs.start("fit"), jobs.start("fit")
    wait_until(lambda: jobs.get(first.id).state == "running")
    assert jobs.get(second.id).state == "queued"
    start = time.monotonic()
    assert jobs.stop(second.id).state == "stopped"
    assert jobs.stop(first.id).state == "stopped"
    wait_until(lambda: folders(project) == [])
    assert time.monotonic() - start < 2  # also the folder of the job is gone
    assert list((project.folder / "runs").glob(".*")) == []
    assert jobs.stop(first.id).state == "stopped"  # once more does no harm
    assert heard.told[-1]["state"] == "stopped"


@pytest.mark.slow
def test_a_job_that_cannot_be_done_says_why(project: Project, add: Add, jobs: Jobs, wait_until: Wait) -> None:
    nothing = jobs.start("fit")
    wait_until(lambda: jobs.get(nothing.id).ended)
    assert (jobs.get(nothing.id).state, jobs.get(nothing.id).result) == ("failed", None)
    assert "no image has a label" in jobs.get(nothing.id).message
    ids = add(6)
    project.set_labels(dict.fromkeys(ids, 1))
    one = jobs.start("fit")
    wait_until(lambda: jobs.get(one.id).ended)
    assert jobs.get(one.id).state == "failed"
    assert "at least 2 classes" in jobs.get(one.id).message
    wait_until(lambda: folders(project) == [])  # the folder of the job goes last


def test_what_is_wrong_with_a_job_is_said_before_it_begins(jobs: Jobs) -> None:
    with pytest.raises(SettingsError, match="budget must be a duration"):
        jobs.start("fit", {"budget": "soon"})
    with pytest.raises(SettingsError, match="did you mean epochs"):
        jobs.start("fit", {"epoch": "3"})
    with pytest.raises(SettingsError, match="must be fit or export"):
        jobs.start("train")
    with pytest.raises(SettingsError, match="did you mean onnx"):
        jobs.start("export", {"format": "onxn"})
    with pytest.raises(SettingsError, match="no setting 'path'"):
        jobs.start("export", {"path": "/tmp"})
    with pytest.raises(RunError, match="train first"):
        jobs.start("export", {"format": "torch"})
    with pytest.raises(RunError, match="no job 7"):
        jobs.get(7)
    with pytest.raises(RunError, match="no job 7"):
        jobs.stop(7)
    assert jobs.all() == []


def test_the_remains_of_a_killed_process_are_removed(project: Project, fit_settings: FitSettings) -> None:
    left = project.folder / "runs" / ".fit-1.partial" / "fit-1"
    left.mkdir(parents=True)
    kept = project.folder / "runs" / "fit-2"
    kept.mkdir()
    Jobs(project, fit_settings).close()
    assert not left.parent.exists()
    assert kept.exists()


def test_runs_are_named_on_from_the_last_one(project: Project, fit_settings: FitSettings) -> None:
    (project.folder / "runs" / "fit-7").mkdir(parents=True)
    jobs = Jobs(project, fit_settings)
    try:
        assert [jobs._next_run(), jobs._next_run()] == ["fit-8", "fit-8"]
    finally:
        jobs.close()


@pytest.mark.parametrize("name", ["../fit-1", "fit-9", "", ".", "/etc"])
def test_only_runs_of_the_project_are_found(project: Project, name: str) -> None:
    (project.folder / "runs" / "fit-1").mkdir(parents=True)
    with pytest.raises(RunError, match="has no run"):
        run_folder(project.folder, name)


def test_a_process_that_dies_is_told(tmp_path: Path) -> None:
    with JobProcess(Task("fit", str(tmp_path)), tmp_path) as process:
        process._process.kill()
        assert list(process.events()) == []
        with pytest.raises(DataError, match="signal 9"):
            process.result()


@pytest.mark.slow
def test_no_job_outlives_its_parent(tmp_path: Path) -> None:
    with JobProcess(Task("export", str(tmp_path), run="missing", to="onnx", file="a.onnx"), tmp_path) as process:
        running: subprocess.Popen[bytes] = process._process
        assert running.stdin is not None
        running.stdin.close()  # as when the parent has died
        assert running.wait(60) == 1


def test_a_job_follows_the_events_of_its_process() -> None:
    job = Job(1, "fit", "running", "fit")
    job = job.after({"kind": "notice", "text": "last:1: about 20 s"})
    epoch = {"trial": "last:1", "epoch": 2, "epochs": 8, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.1}
    job = job.after({"kind": "epoch_ended", **epoch, "val_accuracy": 0.4, "seconds": 3.0})
    assert (job.message, job.stage, job.progress) == ("last:1: about 20 s", "training last:1", 0.25)
    trial = {"trial": "last:1", "accuracy": 0.5, "low": 0.4, "high": 0.6, "log_loss": 1.1, "seconds": 9.0}
    job = job.after({"kind": "trial_ended", **trial})
    assert (len(job.epochs), job.trials[0].high, job.progress) == (1, 0.6, None)
    assert job.after({"kind": "something new"}) == job


def test_all_formats_of_headstart_are_offered() -> None:
    assert format_names()[:4] == ("onnx", "openvino", "torch", "html")  # others may be registered
