"""JPEGs for a machine without data sets: random crops of the images that scikit-image and scikit-learn ship."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (500, 375)  # width and height in pixels, the median of Kaggle's dogs


def source_images() -> dict[str, np.ndarray]:
    """Images (H, W, 3) that packages ship."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    found = {name: getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    return found | {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}


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
    sources = quarters()
    labels = sorted(sources)
    for label in labels:
        (folder / label).mkdir(parents=True)

    def write(number: int) -> None:
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

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(count)))
    return folder
