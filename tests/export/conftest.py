"""A small run, and its exports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from headstart.artifacts.classifier import Classifier, load
from headstart.export.web_runtime import VERSION

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"


@pytest.fixture(autouse=True)
def _small_work(one_thread: None) -> None:
    """All of these networks are small."""


def headstart(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headstart.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of three photographs, of many sizes and shapes, some of them tall."""
    folder = tmp_path_factory.mktemp("export") / "photos"
    rng = np.random.default_rng(0)
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):
        (folder / name.partition(".")[0]).mkdir(parents=True)
        whole = Image.open(PHOTOGRAPHS / name).convert("RGB")
        for number in range(24):
            width, height = (int(rng.integers(60, side)) for side in whole.size)
            left, top = (
                int(rng.integers(0, side - own)) for side, own in zip(whole.size, (width, height), strict=True)
            )
            made = whole.crop((left, top, left + width, top + height))
            made.save(folder / name.partition(".")[0] / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture(scope="session")
def fitted(photos: Path) -> Path:
    """A run with flip averaging, prediction sets and a detector."""
    run = photos.parent / "run"
    words = ("--model", "test_efficientnet", "--weights", "random", "--train", "head", "--tta-flip")
    done = headstart("fit", photos, *words, "--out", run, "--workers", 1)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="session")
def classifier(fitted: Path) -> Classifier:
    return load(fitted)


@pytest.fixture(scope="session")
def web_runtime() -> Path:
    """The npm package onnxruntime-web, which the tests do not fetch: HEADSTART_WEB_RUNTIME names it."""
    build = Path(__file__).parent.parent.parent / "build"
    place = Path(os.environ.get("HEADSTART_WEB_RUNTIME") or build / f"onnxruntime-web-{VERSION}.tgz")
    if not place.exists():
        pytest.skip(f"no onnxruntime-web: npm pack onnxruntime-web@{VERSION}, and name it in HEADSTART_WEB_RUNTIME")
    return place


@pytest.fixture(scope="session")
def exported(fitted: Path) -> Callable[[str], Path]:
    """exported("onnx") -> the file, written once by the command."""
    suffixes = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}

    def write(to: str) -> Path:
        path = fitted.parent / "exports" / f"dogs{suffixes[to]}"
        if not path.exists():
            done = headstart("export", fitted, "--to", to, "--out", path)
            assert done.returncode == 0, done.stderr
            assert "the top-1 class is equal on 100.00%" in done.stdout
        return path

    return write
