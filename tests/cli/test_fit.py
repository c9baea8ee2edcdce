"""What ``headstart fit`` writes besides the classifier, and what it leaves when it stops."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
TINY = ("--model", "test_efficientnet", "--weights", "random")


@pytest.fixture
def photos(write_noise: Callable[[Path, dict[str, int]], Path], tmp_path: Path) -> Path:
    """Dark and light noise, 20 images each."""
    return write_noise(tmp_path / "photos", {"light": 180, "dark": 30})


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_run_has_the_events_and_the_command_line(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (photos / "dark" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    words = ("fit", photos, "--out", folder, "--cache-dir", store, *TINY, "--no-refit")
    code, out, err = run(*words)
    assert code == 0, err
    found = events(folder)
    kinds = [line["kind"] for line in found]
    assert kinds[0] == "stage_begun"
    assert kinds.count("stage_begun") == kinds.count("stage_ended") >= 2
    assert "trial_ended" in kinds
    assert found[-1] == {"time": found[-1]["time"], "kind": "done", "text": out.splitlines()[0]}
    texts = [line["text"] for line in found if line["kind"] == "notice"]
    assert texts
    assert all(text in err for text in texts)
    info = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert info["arguments"] == ["headstart", *map(str, words)]
    assert (info["settings"]["model"], info["settings"]["refit"]) == ("test_efficientnet", False)


def test_a_second_fit_replaces_the_events(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for _ in range(2):
        code, _, err = run("fit", photos, "--out", folder, "--cache-dir", store, *TINY)
        assert code == 0, err
    assert [line["kind"] for line in events(folder)].count("done") == 1


def test_a_plan_writes_no_run(run: Run, photos: Path, store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, err = run("fit", photos, "--out", folder, "--cache-dir", store, *TINY, "--plan")
    assert code == 0, err
    assert "head" in out
    assert not folder.exists()


def test_a_fit_that_is_refused_leaves_no_folder_and_no_file_of_its_own(run: Run, photos: Path, tmp_path: Path) -> None:
    for number in range(5):
        (photos / "dark" / f"empty{number}.jpg").touch()
    folder = tmp_path / "run"
    code, _, err = run("fit", photos, "--out", folder, "--cache-dir", tmp_path / "store", *TINY)
    assert (code, "--max-problems" in err) == (1, True)
    assert not folder.exists()
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert run("fit", photos, "--out", folder, "--cache-dir", tmp_path / "store", *TINY)[0] == 1
    assert (folder / "notes.txt").read_text() == "mine"


def test_invalid_settings_are_reported_before_any_work(run: Run, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, err = run("fit", photos, "--out", folder, "--epochs", "many", "--lr", "-1", "--train", "haed")
    assert (code, out) == (2, "")
    assert err == (
        "error: train must be auto, head, last:N (blocks), layers:N, from:MODULE or all, got 'haed'; did you mean "
        "head?\n"
        "epochs must be a whole number of at least 1, got 'many'\n"
        "lr must be a number of at least 0, got -1.0; the nearest valid value is 0\n"
    )
    assert not folder.exists()


@pytest.mark.slow
def test_ctrl_c_stops_with_a_message_and_the_same_command_continues(photos: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for number in range(1500):
        label = "dark" if number % 2 else "light"
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(photos / label / f"more{number}.png")
    folder, store = tmp_path / "run", tmp_path / "store"
    words = ["fit", photos, "--out", folder, "--cache-dir", store, "--weights", "random", "--model", "resnet18"]
    command = [sys.executable, "-m", "headstart.cli", *map(str, words), "--train", "head"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (store / "features").exists() or not any((store / "features").rglob("*.lance")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("stopped; what was computed is kept, and the same command continues from there\n")
    assert "Traceback" not in err
    assert events(folder)[-1]["kind"] == "stage_ended"  # the log says how far it got
    assert not (folder / "classifier").exists()
