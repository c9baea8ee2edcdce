"""Images, a frozen network and a feature table, all real and tiny."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.features.extractor import extract_features
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.inference.engine import Engine, open_engine
from headstart.models.backbone import digest, load_backbone
from headstart.models.cut import Cut, cut

BATCH = 4


@pytest.fixture(scope="module", autouse=True)
def _small_work(one_thread: None) -> None:
    """All networks of this folder are small."""


@pytest.fixture
def red_and_blue(tmp_path: Path) -> Path:
    """A folder with 24 images of two classes.

    They are so many, so large and so different that near-duplicates are looked for, with copies made in memory.
    """
    rng = np.random.default_rng(2)
    for number in range(24):
        label = tmp_path / "photos" / ("red" if number % 2 else "blue")
        label.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 200, (4, 4, 3), np.uint8) + np.array([55, 0, 0], np.uint8) * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).resize((48, 48)).save(label / f"{number}.png")
    return tmp_path / "photos"


@dataclass
class Counting:
    """An engine that counts images, and that a test may interrupt at a batch."""

    engine: Engine
    images: int = 0
    opened: int = 0
    stop_at: int | None = None  # images

    def open(self) -> Counting:
        self.opened += 1
        return self

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        if self.stop_at is not None and self.images >= self.stop_at:
            raise KeyboardInterrupt
        self.images += len(images)
        return self.engine(images)


@dataclass(frozen=True)
class Network:
    """A prefix with everything that its features depend on."""

    parts: Cut
    spec: InputSpec
    space: FeatureSpace

    def counting(self) -> Counting:
        return Counting(
            open_engine(self.parts.prefix, self.spec, batch_size=BATCH, precision="float32", engine="torch")
        )

    def extract(
        self, manifest: Manifest, table: FeatureTable, run: Counting, views: Sequence[int] = (0,)
    ) -> list[tuple[int, str]]:
        return extract_features(
            manifest,
            table,
            self.spec,
            open_engine=run.open,
            batch_size=BATCH,
            max_pixels=10_000,
            workers=3,
            views=views,
        )


def _network(model: str, size: int, train: str, *, dtype: str) -> Network:
    backbone = load_backbone(model, weights_file="random")
    spec = replace(backbone.spec.whole(), height=size, width=size)
    parts = cut(backbone.module, train, input_shape=(3, size, size))
    space = FeatureSpace(model, digest(parts.prefix), parts.name, spec, "float32", dtype, parts.feature_shape)
    return Network(parts, spec, space)


@pytest.fixture(scope="session")
def network() -> Network:
    """A small ResNet cut before its last block, so that features have three dimensions."""
    return _network("test_resnet", 32, "last:1", dtype="float16")


@pytest.fixture(scope="session")
def networks() -> Sequence[Network]:
    return [
        _network("test_efficientnet", 32, "head", dtype="float32"),
        _network("test_vit", 160, "head", dtype="float32"),
    ]


@pytest.fixture
def inspected() -> Callable[[Sequence[Path]], Manifest]:
    return lambda paths: inspect_all(Manifest.from_rows(list(paths)), workers=2)


@pytest.fixture
def table(tmp_path: Path, network: Network) -> FeatureTable:
    return FeatureStore(tmp_path / "store").table(network.space)
