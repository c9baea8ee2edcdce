"""Real images: the folders of shared/data give the right manifests without options."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from headstart.data.inspection import check_problem_share, inspect_all
from headstart.data.sources.read import read_images
from headstart.data.splitting import assign_split

pytestmark = pytest.mark.shared


@pytest.mark.parametrize(
    ("name", "images", "classes", "split"),
    [
        ("dogs120", 10_222, 120, "train"),
        ("kaggle-dogs-240", 240, 120, "train"),
        ("trash6", 2_527, 6, None),
        ("imagenet-val", 1_300, 725, None),
    ],
)
def test_real_folders(shared: Path, name: str, images: int, classes: int, split: str | None) -> None:
    manifest = read_images(shared / name)
    assert (len(manifest), len(manifest.classes), set(manifest.splits)) == (images, classes, {split})
    assert None not in manifest.labels
    start = time.perf_counter()
    manifest = inspect_all(manifest)
    assert time.perf_counter() - start < 30  # about 2 s for 10,222 images on 2 cores
    assert len(manifest.unusable) == 0
    check_problem_share(manifest, max_share=0.0)
    assigned = assign_split(manifest)
    assert abs(Counter(assigned.splits)["validation"] - images / 5) <= 1
    assert assigned.in_split("train").classes == manifest.classes
    held_out = set(assigned.in_split("validation").hashes)
    assert not held_out & set(assigned.in_split("train").hashes)
