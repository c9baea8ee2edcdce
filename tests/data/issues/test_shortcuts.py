from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.data.issues import CheckedImages
from headstart.data.issues.shortcuts import find_shortcuts, predict_by
from headstart.data.manifest import Manifest
from headstart.data.pixel_statistics import STATISTICS

LABELS = np.repeat(["cat", "dog", "owl"], 40)
CATS = LABELS == "cat"


def checked(*, suffix: Any = ".jpg", width: Any = 500, groups: list[str] | None = None, **values: Any) -> CheckedImages:
    """Images whose numbers are noise but for those that are given."""
    rng, count = np.random.default_rng(0), len(LABELS)
    suffixes = np.broadcast_to(np.array(suffix), count)
    uris = [f"/photos/{number}{end}" for number, end in enumerate(suffixes)]
    manifest = Manifest.from_rows(uris, labels=LABELS.tolist(), groups=groups)
    manifest = manifest.with_column("width", np.broadcast_to(np.asarray(width), count).tolist())
    manifest = manifest.with_column("height", [400] * count)
    manifest = manifest.with_column("bytes", rng.integers(1000, 9000, count).tolist())
    statistics = {name: rng.random(count).astype(np.float32) for name in STATISTICS}
    statistics |= {name: np.asarray(value, np.float32) for name, value in values.items()}
    formats = tuple("PNG" if end == ".png" else "JPEG" for end in suffixes)
    return CheckedImages(manifest, statistics, formats)


def said(given: CheckedImages) -> list[str]:
    return [issue.evidence for issue in find_shortcuts(given)]


def test_noise_is_no_shortcut() -> None:
    assert said(checked()) == []


def test_a_size_that_each_class_has_is_told_with_its_interval() -> None:
    width = np.select([CATS, LABELS == "dog"], [300, 600], 900)
    found = said(checked(width=width))
    assert found[0].startswith("the size in pixels alone predicts the label with a balanced accuracy of 100%")
    assert "chance is 33.3%" in found[0]
    assert found[1].startswith("the aspect ratio alone")
    assert len(found) == 2


def test_a_file_type_that_one_class_has_is_told() -> None:
    assert any(line.startswith("the file type alone") for line in said(checked(suffix=np.where(CATS, ".png", ".jpg"))))


def test_one_class_of_many_is_told_though_the_balanced_accuracy_is_low() -> None:
    names = np.repeat([f"breed {number}" for number in range(12)], 10)
    given = checked(suffix=np.where(names == "breed 3", ".png", ".jpg"))
    manifest = given.manifest.with_column("label", names.tolist())
    (line,) = said(CheckedImages(manifest, given.statistics, given.formats))
    assert line.startswith("the file type alone tells 'breed 3' from the other classes, with a recall of 100%")


def test_a_group_is_not_in_two_folds() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(120) // 4  # the images of a camera have one color, which says nothing of the class
    values, targets = np.repeat(rng.random(30), 4)[:, None], np.repeat(rng.integers(0, 2, 30), 4)
    apart, mixed = predict_by(values, targets, groups), predict_by(values, targets, np.arange(120))
    assert apart is not None
    assert mixed is not None
    assert (mixed == targets).mean() > 0.8
    assert (apart == targets).mean() < 0.7


@pytest.mark.parametrize("label", ["cat", None])
def test_without_two_classes_nothing_is_said(label: str | None) -> None:
    given = checked()
    manifest = given.manifest.with_column("label", [label] * len(LABELS))
    assert said(CheckedImages(manifest, given.statistics, given.formats)) == []


def test_images_that_were_not_measured_are_left_out() -> None:
    given = checked(**{name: np.where(CATS, np.nan, 0.5) for name in STATISTICS})
    assert said(given) == []
