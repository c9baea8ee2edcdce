"""Small images whose color tells the class, and a listener that keeps the events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.artifacts.classifier import Classifier
from headstart.cli.console import event_line
from headstart.config import FitSettings
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.events import Event, Events, StageBegun
from headstart.workflow.fit import FitResult, fit

PLAIN = {"weights": "random", "engine": "torch", "precision": "float32"}
SIMPLE = {"validation_share": 0.2, "augmentations": 0}  # else folds are what so few pictures get


@pytest.fixture(scope="module", autouse=True)
def _small_work(one_thread: None) -> None:
    """All of this folder's networks are small."""


def paint(folder: Path, count: int, *, seed: int = 0) -> list[Path]:
    """Noise with one strong color: red, green or blue, as the folder is named."""
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
    """photos(red=5, green=4): a folder with one subfolder per class."""

    def make(folder: str = "photos", *, seed: int = 0, **counts: int) -> Path:
        for name, count in counts.items():
            paint(tmp_path / folder / name, count, seed=seed)
        return tmp_path / folder

    return make


class Told(Events):
    """Keeps the events it receives; can call a function when a stage begins."""

    def __init__(self, at: dict[str, Callable[[], object]] | None = None) -> None:
        super().__init__(self.hear)
        self.at = at or {}
        self.received: list[Event] = []
        self.stages: dict[str, int] = {}
        self.lines: list[str] = []

    def hear(self, event: Event) -> None:
        self.received.append(event)
        if isinstance(event, StageBegun):
            self.stages[event.name] = event.total
            self.at.get(event.name, lambda: None)()
        elif (line := event_line(event)) is not None:
            self.lines.append(line)


@pytest.fixture
def told() -> Callable[..., Told]:
    return Told


@pytest.fixture
def fitted(tmp_path: Path) -> Callable[..., FitResult]:
    """fitted(folder or manifest, epochs=2): a fit on a small network with random weights, into a store of this test."""

    def run(source: Path | Manifest, events: Events | None = None, **settings: Any) -> FitResult:
        manifest = source if isinstance(source, Manifest) else read_images(source)
        chosen = {"model": "test_resnet", "cache_dir": str(tmp_path / "store"), **PLAIN, **SIMPLE, **settings}
        return fit(manifest, FitSettings.of(**chosen), events=events)

    return run


@pytest.fixture
def classifier(photos: Callable[..., Path], fitted: Callable[..., FitResult]) -> Classifier:
    """Fitted to eight images of each color."""
    return fitted(photos(red=8, green=8, blue=8)).classifier
