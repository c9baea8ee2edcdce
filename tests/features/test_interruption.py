"""Real processes that are killed, stopped by Ctrl-C, or two at once."""

from __future__ import annotations

import importlib.util
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from headstart.data.checkup import inspect_all
from headstart.data.manifest import Manifest
from headstart.features.extract import extract
from headstart.features.store import FeatureStore, Space
from headstart.train.head import solve_head

SCRIPT = Path(__file__).with_name("slow_extraction.py")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slow_extraction", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def manifest(pictures: Callable[..., list[Path]], tmp_path: Path) -> Manifest:
    made = inspect_all(Manifest.from_rows(pictures(200)))
    made.write(tmp_path / "manifest.parquet")
    return made


@pytest.fixture
def undisturbed(manifest: Manifest, script: ModuleType, tmp_path: Path) -> Space:
    space = FeatureStore(tmp_path / "undisturbed").space(script.SPACE)
    extract(manifest, space, script.SPACE.spec, open_run=lambda: script.network, batch=4, max_pixels=10_000)
    return space


def start(folder: Path, *, batch: float = 0.01, commit: float = 0.02) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, folder / "store", folder / "manifest.parquet", str(batch), str(commit)]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def rows(space: Space, manifest: Manifest) -> np.ndarray:
    return space.rows([str(each) for each in manifest.hashes]).take(np.arange(len(manifest)))


def metrics(features: np.ndarray) -> list[dict[str, object]]:
    x, y = torch.from_numpy(features), torch.arange(len(features)) % 3
    history = solve_head((x[:150], y[:150]), (x[150:], y[150:]), classes=3).history
    return [{key: value for key, value in line.items() if key != "seconds"} for line in history]


def test_killed_ten_times_it_ends_as_if_it_had_never_been(
    manifest: Manifest, undisturbed: Space, script: ModuleType, tmp_path: Path
) -> None:
    moments = random.Random(7)
    kept: list[int] = []
    for number in range(10):
        process = start(tmp_path, batch=0.03)  # 1.5 seconds in all, more than the ten together have
        time.sleep(moments.uniform(0, 0.15))
        while number == 9 and not len(FeatureStore(tmp_path / "store").space(script.SPACE)):
            time.sleep(0.01)  # a slow machine may have kept nothing yet
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kept.append(len(FeatureStore(tmp_path / "store").space(script.SPACE)))
    assert kept == sorted(kept)  # nothing that was kept is lost
    assert 0 < kept[-1] < 200
    process = start(tmp_path, batch=0)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert int(out) == 200 - kept[-1]  # only what was missing

    space = FeatureStore(tmp_path / "store").space(script.SPACE)
    assert len(space) == 200  # no row twice
    assert rows(space, manifest).tobytes() == rows(undisturbed, manifest).tobytes()
    assert metrics(rows(space, manifest)) == metrics(rows(undisturbed, manifest))
    assert space.verify() == 0


def test_ctrl_c_keeps_what_was_computed(
    manifest: Manifest, undisturbed: Space, script: ModuleType, tmp_path: Path
) -> None:
    process = start(tmp_path, commit=3600)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    space = FeatureStore(tmp_path / "store").space(script.SPACE)
    assert 0 < len(space) < 200
    assert len(space) in (int(out), int(out) - 4)  # the last batch may not have been handed over yet
    extract(manifest, space, script.SPACE.spec, open_run=lambda: script.network, batch=4, max_pixels=10_000)
    assert len(space) == 200
    assert rows(space, manifest).tobytes() == rows(undisturbed, manifest).tobytes()


def test_two_at_once_both_succeed(manifest: Manifest, undisturbed: Space, script: ModuleType, tmp_path: Path) -> None:
    processes = [start(tmp_path, batch=0.005) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    space = FeatureStore(tmp_path / "store").space(script.SPACE)
    assert len(space) >= 200
    assert rows(space, manifest).tobytes() == rows(undisturbed, manifest).tobytes()
    space.prune()
    assert len(space) == 200
    assert rows(space, manifest).tobytes() == rows(undisturbed, manifest).tobytes()
