"""What the command line does when it is told to stop."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from headstart.artifacts.classifier import load
from headstart.documents import file_checksum
from headstart.events import Event, EventLog, StageAdvanced

# A signal may arrive between the opening of a file and the block that closes it, which then warns when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    """In the test whose warnings are ignored, and not in a later one."""
    yield
    gc.collect()


def kinds(log: Path) -> list[str]:
    """The kinds of the events that were written completely."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line)["kind"] for line in lines if line.endswith("\n")]


@pytest.mark.slow
def test_ctrl_c_during_training_ends_with_a_message(
    write_noise: Callable[[Path, dict[str, int]], Path], tmp_path: Path
) -> None:
    """OpenVINO computed the features before, and several of its networks were compiled."""
    photos, folder = write_noise(tmp_path / "photos", {"light": 180, "dark": 30}), tmp_path / "run"
    words = ["fit", photos, "--out", folder, "--cache-dir", tmp_path / "store", "--model", "test_resnet"]
    words += ["--weights", "random", "--engine", "openvino", "--train", "last:1", "--epochs", "100000"]
    # A job in the background ignores the signal, and its children do.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import headstart.cli as c; c.main()"
    )
    command = [sys.executable, "-c", code, *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while "epoch_ended" not in kinds(folder / "events.jsonl"):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("stopped; what was computed is kept, and the same command continues from there\n")
    assert "Traceback" not in err
    assert sorted(path.name for path in folder.iterdir()) == ["events.jsonl"]


class Stopping(EventLog):
    """A log that sends this process a signal at the n-th event, advances of a stage not counted."""

    at, number = 0, signal.SIGINT
    seen: ClassVar[list[str]] = []

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if not isinstance(event, StageAdvanced):
            self.seen.append(getattr(event, "name", event.kind))
            if len(self.seen) == self.at:
                os.kill(os.getpid(), self.number)


@pytest.mark.slow
def test_a_signal_in_any_phase_of_a_fit_leaves_the_older_run_and_its_rerun_gives_the_same(
    run: Run,
    write_noise: Callable[[Path, dict[str, int]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = write_noise(tmp_path / "photos", {"light": 180, "dark": 30})
    words = ["--model", "test_resnet", "--weights", "random", "--engine", "torch", "--train", "last:1", "--epochs", "2"]

    def fit(name: str, seed: int, at: int, number: signal.Signals) -> tuple[int, str]:
        monkeypatch.setattr(Stopping, "at", at)
        monkeypatch.setattr(Stopping, "number", number)
        Stopping.seen.clear()
        place = ["--out", tmp_path / name, "--cache-dir", tmp_path / f"cache-{name}", "--seed", seed]
        code, _, err = run("fit", photos, *place, *words)
        return code, err

    def weights(name: str) -> str:
        load(tmp_path / name)
        return file_checksum(tmp_path / name / "classifier" / "model.safetensors")

    monkeypatch.setattr("headstart.cli.fit.EventLog", Stopping)
    handlers = dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)  # nohup ignores SIGHUP
    handlers[signal.SIGINT] = signal.default_int_handler  # which a job in the background ignores
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        for name, seed in (("old", 0), ("new", 1)):
            assert fit(name, seed, 0, signal.SIGINT)[0] == 0
        phases = list(Stopping.seen)
        assert {"checking", "computing features", "trial_ended", "epoch_ended"} <= set(phases)
        for at in [number for number, phase in enumerate(phases, 1) if phase not in phases[: number - 1]]:
            number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[at % 3]
            shutil.copytree(tmp_path / "old", tmp_path / f"{at}")
            code, err = fit(f"{at}", 1, at, number)
            if phases[at - 1] != "done":  # after which the run is complete
                assert code == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}[number], (
                    phases[at - 1],
                    err,
                )
                assert err.endswith("; what was computed is kept, and the same command continues from there\n")
                assert weights(f"{at}") == weights("old")
            assert "Traceback" not in err
            assert fit(f"{at}", 1, 0, number)[0] == 0
            assert weights(f"{at}") == weights("new"), phases[at - 1]
            assert [path for path in tmp_path.rglob(".*") if path.name.startswith(".headstart")] == []
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_other_signals_end_it_in_the_same_way(
    run: Run, write_noise: Callable[[Path, dict[str, int]], Path], tmp_path: Path, name: str, code: int
) -> None:
    number, pipe = getattr(signal, name), tmp_path / "sheet.png"
    inherited = signal.signal(number, signal.SIG_DFL)  # nohup ignores SIGHUP
    os.mkfifo(pipe)  # without a reader, the command waits for ever

    def send() -> None:
        while signal.getsignal(number) == signal.SIG_DFL:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    ended, out, err = run("show", write_noise(tmp_path / "photos", {"dark": 30}), "--out", pipe)
    sender.join()
    assert (ended, out) == (code, "")
    assert err.endswith(f"stopped by {name}; what was computed is kept, and the same command continues from there\n")
    assert signal.getsignal(number) == signal.SIG_DFL
    signal.signal(number, inherited)


def test_a_signal_that_is_ignored_stays_ignored(run: Run, tmp_path: Path) -> None:
    """So that nohup works."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("cache", "list", "--cache-dir", tmp_path)[0] == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
