"""What ``headstart fit`` writes besides the classifier, and what it leaves when it stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    assert kinds[:2] == ["data_described", "stage_begun"]
    description = found[0]["description"]
    assert description["classes"] == [["dark", 21], ["light", 20]]
    assert kinds.count("stage_begun") == kinds.count("stage_ended") >= 2
    assert "trial_ended" in kinds
    assert found[-1] == {"time": found[-1]["time"], "kind": "done", "text": out.splitlines()[0]}
    texts = [line["text"] for line in found if line["kind"] == "notice"]
    assert texts
    assert all(text in err for text in texts)
    info = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert info["data"] == description
    assert f"data: {photos}, 41 images\n  read as: class folders\n  classes: 2: dark, light\n" in err
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
