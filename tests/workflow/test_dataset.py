from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import DataError, TooManyProblems
from headstart.workflow.fit import FitResult

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]


def _given_splits(photos: Photos, copies: int) -> Path:
    """Eight training images per class, three test images, and copies of training images in the other class's folder."""
    root = photos("data/train", red=8, green=8)
    photos("data/test", seed=1, red=3, green=3)
    for number, path in enumerate(sorted((root / "red").iterdir())[:copies]):
        shutil.copy(path, root.parent / "test" / "green" / f"copy{number}.png")
    return root.parent


def test_copies_of_training_images_are_not_test_images(photos: Photos, fitted: Fit, told: Any) -> None:
    events = told()
    result = fitted(_given_splits(photos, copies=4), events=events)
    evaluation = result.evaluation
    assert (evaluation.split, evaluation.images) == ("test", 6)
    assert evaluation.leaks is not None
    assert evaluation.leaks.images == 4
    # The copies lie in the folder of another class, where a good classifier is always wrong.
    correct = round(evaluation.top1.value * 6)
    assert evaluation.leaks.top1.value == pytest.approx(correct / 10, abs=0.1 + 1e-9)
    assert evaluation.notes[-1] == evaluation.leaks.note()
    assert any(line.startswith("warning: 4 of the 10 test images are also in the train or") for line in events.lines)
    assert len(result.probabilities) == 6
    assert result.manifest.splits.count(None) == 4


def test_a_test_split_of_copies_is_refused(photos: Photos, fitted: Fit) -> None:
    root = photos("data/train", red=8, green=8)
    shutil.copytree(root, root.parent / "test")
    with pytest.raises(DataError, match="every test image is also in the train or validation split"):
        fitted(root.parent)


def test_one_image_under_two_labels_is_set_aside(photos: Photos, fitted: Fit, told: Any) -> None:
    root = photos(red=12, green=12)
    shutil.copy(min((root / "red").iterdir()), root / "green" / "copy.png")
    events = told()
    result = fitted(root, events=events)
    reasons = [problem for problem in result.manifest.problems if problem]
    assert len(reasons) == 2
    assert all("the same image" in reason and "has the label" in reason for reason in reasons)
    assert any("2 images are set aside because the same image has another label" in line for line in events.lines)


def test_many_contradictions_are_refused(photos: Photos, fitted: Fit) -> None:
    root = photos(red=12, green=12)
    for path in sorted((root / "red").iterdir())[:4]:
        shutil.copy(path, root / "green" / f"copy_{path.name}")
    with pytest.raises(TooManyProblems, match="has the label"):
        fitted(root)


def test_validation_images_are_not_training_images(photos: Photos, fitted: Fit, told: Any) -> None:
    root = photos("data/train", red=8, green=8)
    photos("data/val", seed=1, red=3, green=3)
    shutil.copy(min((root / "red").iterdir()), root.parent / "val" / "red" / "copy.png")
    events = told()
    result = fitted(root.parent, events=events)
    assert (result.split, result.evaluation.images) == ("validation", 6)
    assert any("1 of the 7 validation images are also in the train split" in line for line in events.lines)


def test_how_the_data_were_read_travels_with_a_selection(photos: Photos) -> None:
    manifest = read_images(photos(red=2, green=2))
    assert manifest.description is not None
    assert manifest.select(np.array([0, 1])).with_column("split", ["train", "test"]).description is manifest.description


def _with_groups(root: Path, groups: int) -> Manifest:
    """The images in a folder, of which every so many neighbors belong together."""
    manifest = read_images(root)
    return manifest.with_column("group", [f"{number * groups // len(manifest)}" for number in range(len(manifest))])


def test_no_split_divides_a_group_and_intervals_count_groups(photos: Photos, fitted: Fit, told: Any) -> None:
    manifest, events = _with_groups(photos(red=40, green=40), 16), told()
    found = fitted(manifest, events=events)
    splits: dict[str, set[str]] = {}
    for group, split in zip(found.manifest.groups, found.manifest.splits, strict=True):
        splits.setdefault(str(group), set()).add(str(split))
    assert all(len(each) == 1 for each in splits.values())
    counted = len(set(found.manifest.in_split("validation").groups))
    assert any(f"belong to {counted} groups" in note for note in found.evaluation.notes)
    plain = fitted(manifest.with_column("group", [None] * len(manifest)))
    assert not any("groups" in note for note in plain.evaluation.notes)
    widths = [each.evaluation.top1.high - each.evaluation.top1.low for each in (found, plain)]
    assert widths[0] > widths[1]
    assert not any("divided" in line for line in events.lines)


def test_cross_validation_does_not_divide_groups(photos: Photos, fitted: Fit) -> None:
    """Each image has a copy of its group but for noise: who divides them recognizes the copies."""
    rng = np.random.default_rng(0)
    root = photos(red=1, green=1)
    for folder in ("red", "green"):
        for scene in range(8):
            pixels = rng.integers(0, 255, (24, 30, 3), np.uint8)
            for copy in range(3):
                noisy = np.clip(pixels.astype(int) + rng.integers(0, 3, pixels.shape), 0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(root / folder / f"s{scene}_{copy}.png")
        next((root / folder).glob("0_*.png")).unlink()
    options = {"validation_share": None, "train": "head", "stages": "none"}
    divided = fitted(read_images(root), **options)
    kept = fitted(read_images(root, group_pattern="([a-z]+/s[0-9])"), **options)
    assert divided.evaluation.split == kept.evaluation.split == "cross-validation"
    assert divided.evaluation.top1.value > 0.9
    assert kept.evaluation.top1.value < 0.8


@pytest.mark.parametrize("option", [{}, {"split": "last"}])
def test_groups_that_a_given_split_divides_are_told(
    photos: Photos, fitted: Fit, told: Any, option: dict[str, str]
) -> None:
    manifest, events = read_images(photos(red=12, green=12)), told()
    if not option:
        manifest = manifest.with_column("split", ["train", "validation"] * 12)
    fitted(manifest.with_column("group", ["g", "h"] * 4 + ["g"] * 16), events=events, **option)
    (line,) = [line for line in events.lines if "divided" in line]
    assert line.startswith("warning: ")
    assert "are divided between splits, for example 'g' between train and validation" in line
    assert ("--split random" in line) == bool(option)
