"""Small pictures of which the colour tells the class, and a face that writes down what it is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.manifest import Manifest
from headstart.data.sources import read_images
from headstart.progress import Progress
from headstart.settings import FitSettings
from headstart.workflow.fitting import Fitted, fit

PLAIN = {"weights": "random", "engine": "torch", "precision": "float32"}
SIMPLE = {"validation": 0.2, "views": 0}  # else folds are what so few pictures get


@pytest.fixture(scope="module", autouse=True)
def _small_work(one_thread: None) -> None:
    """All of this folder's networks are small."""


def paint(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Noise with one strong colour, red, green or blue by the folder's name."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *folder.name.encode()])
    paths = [folder / f"{seed}_{number:02}.png" for number in range(count)]
    for path in paths:
        pixels = rng.integers(0, 120, (24, 30, 3), np.uint8)
        pixels[..., ["red", "green", "blue"].index(folder.name)] += 130
        Image.fromarray(pixels).save(path)
    return paths


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """photos(red=5, green=4): a folder with a folder a class."""

    def make(folder: str = "photos", *, seed: int = 0, **counts: int) -> Path:
        for name, count in counts.items():
            paint(tmp_path / folder / name, count, seed=seed)
        return tmp_path / folder

    return make


class Told(Progress):
    """Keeps what it is told; may do something at the beginning of a stage."""

    def __init__(self, at: dict[str, Callable[[], object]] | None = None) -> None:
        self.at = at or {}
        self.stages: dict[str, int] = {}
        self.lines: list[str] = []

    def stage(self, name: str, *, total: int, unit: str = "image") -> AbstractContextManager[Callable[[int], object]]:
        self.stages[name] = total
        self.at.get(name, lambda: None)()
        return super().stage(name, total=total, unit=unit)

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def told() -> Callable[..., Told]:
    return Told


@pytest.fixture
def fitted(tmp_path: Path) -> Callable[..., Fitted]:
    """fitted(folder or manifest, epochs=2): a fit on a small network with random weights, into a store of this test."""

    def run(source: Path | Manifest, progress: Progress | None = None, **settings: Any) -> Fitted:
        manifest = source if isinstance(source, Manifest) else read_images(source)
        chosen = {"model": "test_resnet", "store": str(tmp_path / "store"), **PLAIN, **SIMPLE, **settings}
        return fit(manifest, FitSettings.of(**chosen), progress=progress)

    return run
