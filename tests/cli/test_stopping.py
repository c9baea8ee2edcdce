"""What the command line does when it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]


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
