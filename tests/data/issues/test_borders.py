from __future__ import annotations

import numpy as np

from headstart.data.issues import CheckedImages
from headstart.data.issues.borders import find_borders
from headstart.data.manifest import Manifest
from headstart.data.pixel_statistics import STATISTICS


def checked(labels: list[str], **values: np.ndarray) -> CheckedImages:
    rng = np.random.default_rng(0)
    statistics = {name: rng.random(len(labels)).astype(np.float32) for name in STATISTICS}
    statistics |= {name: np.zeros(len(labels), np.float32) for name in STATISTICS if name.startswith("frame_")}
    statistics |= {name: value.astype(np.float32) for name, value in values.items()}
    uris = [f"/photos/{number}.jpg" for number in range(len(labels))]
    return CheckedImages(Manifest.from_rows(uris, labels=labels), statistics)


LABELS = ["cat"] * 20 + ["dog"] * 20
CATS = np.array(LABELS) == "cat"


def test_a_frame_of_one_class_is_told() -> None:
    (issue,) = find_borders(checked(LABELS, frame_left=np.where(CATS, 0.1, 0.0)))
    assert issue.evidence.startswith("100% of the images of 'cat' have a frame")
    assert issue.related == ("/photos/0.jpg", "/photos/1.jpg", "/photos/2.jpg")


def test_a_border_color_of_one_class_is_told() -> None:
    given = {f"border_{color}": np.where(CATS, 0.2, np.linspace(0.4, 1, 40)) for color in ("red", "green", "blue")}
    (issue,) = find_borders(checked(LABELS, **given))
    assert "near (51, 51, 51)" in issue.evidence


def test_a_border_that_all_classes_have_is_no_issue() -> None:
    assert list(find_borders(checked(LABELS, frame_left=np.full(40, 0.1)))) == []


def test_few_images_are_no_evidence() -> None:
    labels = ["cat"] * 4 + ["dog"] * 20
    frames = np.where(np.array(labels) == "cat", 0.1, 0.0)
    assert list(find_borders(checked(labels, frame_left=frames))) == []
