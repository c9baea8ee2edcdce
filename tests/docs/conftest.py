"""The folders of small images that the pages speak of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).parent.parent.parent
PHOTOGRAPHS = Path(skimage.__file__).parent / "data"


def _crops(photograph: str, count: int, seed: int) -> Iterator[Image.Image]:
    """Crops of one photograph that comes with scikit-image: images of one class that are not identical."""
    whole = Image.open(PHOTOGRAPHS / photograph).convert("RGB")
    side = min(whole.size) * 4 // 5
    random = np.random.default_rng(seed)
    for _ in range(count):
        left, top = (int(random.integers(0, size - side + 1)) for size in whole.size)
        yield whole.crop((left, top, left + side, top + side)).resize((96, 96))


def _folder(folder: Path, classes: dict[str, tuple[str, int]], *, seed: int = 0) -> None:
    """One subfolder per class, with crops of the photograph that stands for the class."""
    for name, (photograph, count) in classes.items():
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(_crops(photograph, count, seed), 1):
            image.save(folder / name / f"{number:02}.jpg", quality=92)


def _digits(folder: Path, per_class: int) -> None:
    """Some of the digits that the demo writes, of two classes."""
    digits = load_digits()
    for digit in (3, 7):
        (folder / str(digit)).mkdir(parents=True)
        for row in np.flatnonzero(digits.target == digit)[:per_class]:
            pixels = (255 - digits.images[row] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(digit) / f"{row:04}.png")


def _table(folder: Path, images: str, per_class: int) -> None:
    """``labels.csv`` beside a folder of images, as Kaggle has it."""
    (folder / images).mkdir(parents=True)
    rows = ["id,breed"]
    for breed, photograph in (("corgi", "chelsea.png"), ("pug", "coffee.png")):
        for number, image in enumerate(_crops(photograph, per_class, 7)):
            image.save(folder / images / f"{breed}{number}.jpg", quality=92)
            rows.append(f"{breed}{number},{breed}")
    (folder / "labels.csv").write_text("\n".join(rows))


@pytest.fixture(scope="session")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every folder that a page names, made once; a test works in a copy."""
    root = tmp_path_factory.mktemp("documented")
    _folder(root / "photos", {"corgi": ("chelsea.png", 40), "pug": ("coffee.png", 40)})
    _folder(root / "more_photos", {"pug": ("coffee.png", 4), "terrier": ("rocket.jpg", 8)}, seed=1)
    _folder(root / "new_photos", {"corgi": ("chelsea.png", 16), "pug": ("coffee.png", 16)}, seed=6)
    _folder(root / "few_photos", {"corgi": ("chelsea.png", 6), "pug": ("coffee.png", 6)}, seed=2)
    _folder(root / "uneven", {"corgi": ("chelsea.png", 60), "pug": ("coffee.png", 12)}, seed=3)
    _folder(root / "photographs", {"Egyptian cat": ("chelsea.png", 20), "espresso": ("coffee.png", 20)}, seed=4)
    _table(root / "kennel", "images", 20)
    _table(root / "dog-breeds", "train", 20)
    _folder(root / "dog-breeds", {"test": ("chelsea.png", 4)}, seed=5)
    _digits(root / "runs" / "demo" / "digits", 32)
    rows = [f"{number:02},0.5,0.5" for number in range(1, 5)]
    (root / "dog-breeds" / "sample_submission.csv").write_text("\n".join(["id,corgi,pug", *rows]))
    return root


@pytest.fixture
def workspace(documented: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the documented folders, as the current directory."""
    folder = tmp_path / "work"
    shutil.copytree(documented, folder)
    monkeypatch.chdir(folder)
    return folder
