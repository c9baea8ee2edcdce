"""JPEGs for a machine without data sets: random crops of the images that scikit-image and scikit-learn ship."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.execution import open_executor

SIZE = (500, 375)  # width and height in pixels, the median of Kaggle's dogs

_CHUNK = 100  # images per task
_FEW = 10  # tasks, for which starting processes takes longer than it saves


def source_images() -> dict[str, np.ndarray]:
    """Images (H, W, 3) that packages ship."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    found = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    return found | {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}


@lru_cache
def quarters() -> dict[str, Image.Image]:
    """The four quarters of each source image: 24 classes."""
    found = {}
    for name, image in source_images().items():
        height, width = image.shape[0] // 2, image.shape[1] // 2
        for number, (top, left) in enumerate(((0, 0), (0, width), (height, 0), (height, width))):
            found[f"{name}-{number}"] = Image.fromarray(image[top : top + height, left : left + width, :3])
    return found


def write_images(folder: Path, count: int) -> Path:
    """Write ``count`` JPEGs in 24 classes: random crops of a quarter, half of them flipped."""
    for label in quarters():
        (folder / label).mkdir(parents=True)
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    with open_executor(count, kind="processes" if len(chunks) > _FEW else "threads") as executor:
        for _ in executor.map(partial(_write, folder), chunks):
            pass
    return folder


def _write(folder: Path, numbers: Sequence[int]) -> None:
    sources = quarters()
    labels = sorted(sources)
    for number in numbers:
        rng = np.random.default_rng(number)
        label = labels[number % len(labels)]
        width, height = sources[label].size
        share = rng.uniform(0.5, 0.9)
        left, top = rng.uniform(0, 1 - share, 2) * (width, height)
        box = (left, top, left + share * width, top + share * height)
        image = sources[label].resize(SIZE, Image.Resampling.BICUBIC, box=box)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        content = io.BytesIO()
        image.save(content, "JPEG", quality=90)
        (folder / label / f"{number:06}.jpg").write_bytes(content.getvalue())
