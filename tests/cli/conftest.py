"""Images that the tests of commands write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_noise() -> Callable[[Path, dict[str, int]], Path]:
    """write_noise(folder, {"dark": 30}): one subfolder per class with 20 images of noise above this shade."""

    def write(folder: Path, shades: dict[str, int]) -> Path:
        rng = np.random.default_rng(0)
        for label, shade in shades.items():
            (folder / label).mkdir(parents=True)
            for number in range(20):
                pixels = rng.integers(0, 60, (24, 32, 3), np.uint8) + np.uint8(shade)
                Image.fromarray(pixels).save(folder / label / f"{number}.png")
        return folder

    return write
