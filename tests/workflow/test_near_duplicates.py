from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data

from headstart.config import FitSettings
from headstart.workflow.check import check
from headstart.workflow.fit import FitResult
from headstart.workflow.reading import read

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]
QUICK = {"train": "head", "stages": "none", "kernel": "none", "l2": 0.01}


def tiles(folder: Path, split: str = "", *, copies: int = 6) -> dict[str, list[Path]]:
    """Two classes of 15 tiles of photographs each; the first ones of a class have a mirrored copy of other size."""
    made: dict[str, list[Path]] = {}
    for label, name in (("face", "astronaut"), ("cup", "coffee")):
        image = Image.fromarray(getattr(data, name)()).resize((500, 300))
        (folder / split / label).mkdir(parents=True)
        for number in range(15):
            left, top = 100 * (number % 5), 100 * (number // 5)
            tile = image.crop((left, top, left + 100, top + 100))
            path = folder / split / label / f"{number:02d}x.png"
            tile.save(path)
            if number < copies:
                copy = folder / split / label / f"copy of {number:02d}x.png"
                ImageOps.mirror(tile).resize((80, 80)).save(copy)
                made.setdefault(label, []).append(copy)
    return made


def original(copy: Path) -> Path:
    return copy.with_name(copy.name.removeprefix("copy of "))


def test_check_finds_copies_by_features_and_pixels(tmp_path: Path) -> None:
    copies = [path for paths in tiles(tmp_path / "photos").values() for path in paths]
    settings = FitSettings("test_resnet", weights="random", cache_dir=str(tmp_path / "store"))
    found = [issue for issue in check(read(tmp_path / "photos"), settings).issues if issue.kind == "near-duplicate"]
    told = {Path(issue.uri or ""): Path(issue.related[0]) for issue in found}
    assert set(told) == set(copies)  # the smaller ones
    assert all(told[copy] == original(copy) for copy in copies)


def test_a_fit_divides_no_near_duplicates(tmp_path: Path, fitted: Fit, told: Any) -> None:
    copies = [path for paths in tiles(tmp_path / "photos").values() for path in paths]
    divided = []
    for way in ("group", "ignore"):
        events = told()
        found = fitted(tmp_path / "photos", events, **QUICK, validation_share=0.3, near_duplicates=way)
        split = dict(zip(map(Path, found.manifest.uris), found.manifest.splits, strict=True))
        divided.append(sum(split[copy] != split[original(copy)] for copy in copies))
        said = any(line.startswith("24 images are near-duplicates in 12 groups of up to 2") for line in events.lines)
        assert said == (way == "group")
        assert set(split.values()) == {"train", "validation"}
    assert divided[0] == 0
    assert divided[1] > 0


def test_folds_divide_no_near_duplicates(tmp_path: Path) -> None:
    """What the folds of a dataset are told."""
    from headstart.events import Events
    from headstart.workflow.extraction import extract
    from headstart.workflow.fit import prepare
    from headstart.workflow.near_duplicates import group_near_duplicates
    from headstart.workflow.stopwatch import Stopwatch

    tiles(tmp_path / "photos")
    settings = FitSettings("test_resnet", weights="random", train="head", cache_dir=str(tmp_path / "store"))
    dataset, extractor = prepare(read(tmp_path / "photos"), settings, Events(), Stopwatch())
    dataset = extract(extractor, dataset, dataset.rows(["train"]), events=Events())
    assert dataset.cross_validated
    assert dataset.fold_groups("train") is None
    grouped = group_near_duplicates(extractor, dataset, events=Events())
    numbers = dict(zip(map(Path, grouped.split("train").uris), grouped.fold_groups("train"), strict=True))
    assert len(set(numbers.values())) == 30
    assert all(numbers[path] == numbers[original(path)] for path in numbers)
    assert grouped.groups("train") is None  # intervals are those of images, as before


def test_without_near_duplicates_the_split_is_that_of_the_seed(tmp_path: Path, fitted: Fit, told: Any) -> None:
    tiles(tmp_path / "photos", copies=0)
    events = told()
    one, other = (fitted(tmp_path / "photos", events, **QUICK, near_duplicates=each) for each in ("group", "ignore"))
    assert "comparing near images" in events.stages
    assert one.manifest.table.equals(other.manifest.table)
    assert np.array_equal(one.probabilities, other.probabilities)


def test_given_splits_stay_and_their_near_duplicates_are_told(tmp_path: Path, fitted: Fit, told: Any) -> None:
    copies = tiles(tmp_path / "photos", "train")
    for path in (path for paths in copies.values() for path in paths):
        moved = tmp_path / "photos" / "test" / path.parent.name / path.name
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)
    events = told()
    found = fitted(tmp_path / "photos", events, **QUICK)
    assert found.manifest.splits.count("test") == 12
    warnings = [line for line in events.lines if "near-duplicates of images in" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: 12 of the 12 test images are near-duplicates of images in the train or")
    assert found.evaluation.near_leaks is None  # there are no others


def test_the_accuracy_is_told_without_the_images_that_have_a_near_duplicate(
    tmp_path: Path, fitted: Fit, told: Any
) -> None:
    copies = tiles(tmp_path / "photos", "train", copies=3)
    moved = [path for paths in copies.values() for path in paths]
    moved += [
        tmp_path / "photos" / "train" / label / f"{number:02d}x.png" for label in copies for number in (12, 13, 14)
    ]
    for path in moved:
        to = tmp_path / "photos" / "test" / path.parent.name / path.name
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
    events = told()
    found = fitted(tmp_path / "photos", events, **QUICK)
    images = found.manifest.in_split("test")
    right = found.probabilities.argmax(1) == images.targets(found.evaluation.classes)
    alone = np.array(["copy of" not in uri for uri in images.uris])
    assert found.evaluation.near_leaks is not None
    assert found.evaluation.near_leaks.images == 6
    assert found.evaluation.near_leaks.top1.value == pytest.approx(right[alone].mean())
    assert found.evaluation.near_leaks.note() in found.evaluation.notes
    assert any(found.evaluation.near_leaks.note() in line for line in events.lines)


@pytest.mark.parametrize("settings", [{"split": "last"}, {"near_duplicates": "ignore"}, {"train": "all", "epochs": 1}])
def test_where_it_does_not_apply_nothing_is_compared(
    tmp_path: Path, fitted: Fit, told: Any, settings: dict[str, Any]
) -> None:
    tiles(tmp_path / "photos")
    events = told()
    fitted(tmp_path / "photos", events, **{**QUICK, **settings})
    assert "comparing near images" not in events.stages


def test_images_too_simple_to_tell_copies_by_are_not_compared(tmp_path: Path, fitted: Fit, told: Any) -> None:
    """Edges between a dark and a bright half, wherever they are, lie upon each other."""
    for label, level in (("dark", 0), ("bright", 120)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(15):
            pixels = np.full((64, 64), level, np.uint8)
            pixels[:, 28 + number // 2 :] += 100 + number
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    events = told()
    fitted(tmp_path / "photos", events, **QUICK)
    assert "comparing near images" not in events.stages
    assert any(line.startswith("near-duplicates are not looked for: images of this set") for line in events.lines)


def test_small_images_are_not_compared(photos: Photos, fitted: Fit, told: Any) -> None:
    events = told()
    fitted(photos(red=12, green=12), events, **QUICK)
    assert "comparing near images" not in events.stages


@pytest.mark.parametrize("share", [0.3, None])
def test_a_set_of_frames_of_one_scene_is_split_all_the_same(
    tmp_path: Path, fitted: Fit, told: Any, share: float | None
) -> None:
    """Nothing would be left to validate on, nor any folds, if no group was divided."""
    for name in ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins"):
        image = Image.fromarray(getattr(data, name)()).convert("RGB").resize((120, 120))
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            image.crop((number, number, 114 + number, 114 + number)).save(tmp_path / "photos" / name / f"{number}.png")
    events = told()
    found = fitted(tmp_path / "photos", events, **QUICK, validation_share=share)
    assert ("validation" in found.manifest.splits) == (share is not None)
    assert any(line.startswith("warning: near-duplicates are divided by the split") for line in events.lines)
