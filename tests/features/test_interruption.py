"""Extraction in real processes that are killed, interrupted by Ctrl-C, or run at the same time."""

from __future__ import annotations

import importlib.util
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.evaluate.schema import EpochRecord
from headstart.features.extractor import extract_features
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.train.heads.base import HeadProblem
from headstart.train.heads.registry import head_solver

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
def undisturbed(manifest: Manifest, script: ModuleType, tmp_path: Path) -> FeatureTable:
    table = FeatureStore(tmp_path / "undisturbed").table(script.SPACE)
    extract_features(
        manifest, table, script.SPACE.spec, open_engine=lambda: script.network, batch_size=4, max_pixels=10_000
    )
    return table


def start(folder: Path, *, batch: float = 0.01, commit: float = 0.02) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, folder / "store", folder / "manifest.parquet", str(batch), str(commit)]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def rows(table: FeatureTable, manifest: Manifest) -> np.ndarray:
    return table.rows([str(each) for each in manifest.hashes]).take(np.arange(len(manifest)))


def history(features: np.ndarray) -> list[EpochRecord]:
    """The records of a head that is solved on the features, without times."""
    x, y = torch.from_numpy(features), torch.arange(len(features)) % 3
    fit = head_solver("lbfgs").fit((x[:150], y[:150]), (x[150:], y[150:]), HeadProblem(classes=3))
    return [replace(record, seconds=0.0) for record in fit.history]


def test_extraction_killed_ten_times(
    manifest: Manifest, undisturbed: FeatureTable, script: ModuleType, tmp_path: Path
) -> None:
    moments = random.Random(7)
    stored: list[int] = []
    for number in range(10):
        process = start(tmp_path, batch=0.03)  # 1.5 seconds in all, more than the ten runs together last
        time.sleep(moments.uniform(0, 0.15))
        while number == 9 and not len(FeatureStore(tmp_path / "store").table(script.SPACE)):
            time.sleep(0.01)  # a slow machine may have stored nothing yet
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        stored.append(len(FeatureStore(tmp_path / "store").table(script.SPACE)))
    assert stored == sorted(stored)  # nothing that was stored is lost
    assert 0 < stored[-1] < 200
    process = start(tmp_path, batch=0)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert int(out) == 200 - stored[-1]  # only the missing ones

    table = FeatureStore(tmp_path / "store").table(script.SPACE)
    assert len(table) == 200  # no duplicates
    assert rows(table, manifest).tobytes() == rows(undisturbed, manifest).tobytes()
    assert history(rows(table, manifest)) == history(rows(undisturbed, manifest))
    assert table.verify() == 0


def test_ctrl_c_keeps_computed_features(
    manifest: Manifest, undisturbed: FeatureTable, script: ModuleType, tmp_path: Path
) -> None:
    process = start(tmp_path, batch=0.1, commit=3600)  # 5 seconds in all
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    table = FeatureStore(tmp_path / "store").table(script.SPACE)
    assert 0 < len(table) < 200
    assert len(table) in (int(out), int(out) - 4)  # the last batch may not have arrived yet
    extract_features(
        manifest, table, script.SPACE.spec, open_engine=lambda: script.network, batch_size=4, max_pixels=10_000
    )
    assert len(table) == 200
    assert rows(table, manifest).tobytes() == rows(undisturbed, manifest).tobytes()


def test_two_extractions_at_the_same_time(
    manifest: Manifest, undisturbed: FeatureTable, script: ModuleType, tmp_path: Path
) -> None:
    processes = [start(tmp_path, batch=0.005) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    table = FeatureStore(tmp_path / "store").table(script.SPACE)
    assert len(table) >= 200
    assert rows(table, manifest).tobytes() == rows(undisturbed, manifest).tobytes()
    table.prune()
    assert len(table) == 200
    assert rows(table, manifest).tobytes() == rows(undisturbed, manifest).tobytes()
