"""A project of painted images, and a live classifier on a small network with random weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.config import FitSettings
from headstart.data.decode import inspect
from headstart.data.projects import NewImage, Project

COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module", autouse=True)
def _small_work(one_thread: None) -> None:
    """All of this folder's networks are small."""


@pytest.fixture
def fit_settings(tmp_path: Path) -> FitSettings:
    """Of a small network, with a feature store of this test."""
    return FitSettings.of(
        model="test_resnet",
        weights="random",
        engine="torch",
        precision="float32",
        cache_dir=str(tmp_path / "store"),
        augmentations=0,
    )


def paint(path: Path, color: str, seed: int) -> None:
    """Noise with one strong color."""
    pixels = np.random.default_rng([seed, *color.encode()]).integers(0, 120, (24, 30, 3), np.uint8)
    pixels[..., COLORS.index(color)] += 130
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Empty, but for the classes red (1), green (2) and blue (3)."""
    with Project.open(tmp_path / "project", create=True) as opened:
        for color in COLORS:
            opened.add_class(color)
        yield opened


Add = Callable[..., list[int]]


@pytest.fixture
def add(project: Project, tmp_path: Path) -> Add:
    """add(12, seed=3, labeled=True): twelve images, by turns red, green and blue; returns their ids."""

    def make(count: int, *, seed: int = 0, labeled: bool = False) -> list[int]:
        new = []
        for number in range(count):
            color = COLORS[number % 3]
            path = tmp_path / "photos" / f"{seed}_{number:03}_{color}.png"
            paint(path, color, 1000 * seed + number)
            found = inspect(path)
            sizes = found.width, found.height, found.bytes
            label = color if labeled else None
            new.append(NewImage(str(path), path.name, found.hash, *sizes, label=label))
        return list(project.add_images(new).ids)

    return make


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait until a condition holds, for at most two minutes: the machine may be busy."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, "it did not happen within two minutes"
            time.sleep(0.01)

    return wait
