"""The choice of pictures, and their thumbnails."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headstart.data.manifest import Manifest
from headstart.report.pictures import Predictions, choose, sample, thumbnails

labels = st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=40)


@given(labels, st.integers(1, 30), st.integers(0, 100))
def test_each_class_comes_before_any_comes_twice(labels, most, seed):
    rows = sample(labels, most=most, rng=np.random.default_rng(seed))
    chosen = [labels[row] for row in rows]
    known = [label for label in labels if label is not None]
    assert len(rows) == len(set(rows)) == min(most, len(known))
    assert None not in chosen
    assert chosen == sorted(chosen)
    for label in set(known):
        full = chosen.count(label) == known.count(label)
        assert full or chosen.count(label) >= max(map(chosen.count, set(known))) - 1


PREDICTIONS = Predictions(
    uris=["a0", "a1", "a2", "a3", "b0"],
    targets=np.array([0, 0, 0, 0, 1]),
    #                      right        right       wrong       wrong, surer  wrong
    probabilities=np.array([[0.7, 0.3], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.9, 0.1]]),
    classes=["a", "b"],
)


def chosen(pairs=()):
    images = Manifest.from_rows(PREDICTIONS.uris, labels=["a", "a", "a", "a", "b"])
    return choose(images, PREDICTIONS, pairs, seed=0)


def test_a_pair_has_clear_and_mistaken_images():
    pairs = [
        {"true": "a", "predicted": "b", "images": 2, "share": 0.5},
        {"true": "b", "predicted": "a", "images": 1, "share": 1.0},
    ]
    one, other = chosen(pairs).pairs
    assert (one.clear_true, one.clear_predicted, one.mistaken) == ("a1", None, ["a3", "a2"])
    assert (other.clear_true, other.clear_predicted, other.mistaken) == (None, "a1", ["b0"])


def test_the_surest_mistake_comes_first():
    choice = chosen()
    assert choice.surest_wrong == [4, 3, 2]
    assert sorted(choice.random) == [0, 1, 2, 3, 4]
    assert sorted(choice.uris) == ["a0", "a1", "a2", "a3", "b0"]


def opened(data):
    return Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))


def test_thumbnails_are_squares_of_at_most_160(tmp_path):
    red = tmp_path / "wide.png"
    Image.new("RGB", (900, 300), (200, 30, 30)).save(red)
    found = thumbnails([str(red)])[str(red)]
    assert found.side == 160
    assert found.data.startswith("data:image/jpeg;base64,")
    picture = opened(found.data)
    assert picture.size == (160, 160)
    assert picture.getpixel((80, 80)) == pytest.approx((200, 30, 30), abs=4)


def test_tiny_pictures_keep_their_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    found = thumbnails([str(tmp_path / "digit.png")])[str(tmp_path / "digit.png")]
    assert found.side == 8
    np.testing.assert_array_equal(np.asarray(opened(found.data)), pixels)


def test_what_is_gone_has_a_reason(tmp_path):
    (tmp_path / "empty.jpg").touch()
    uris = [str(tmp_path / "nowhere.jpg"), str(tmp_path / "empty.jpg"), "array:3"]
    found = list(thumbnails(uris).values())
    assert [thumbnail.data for thumbnail in found] == [None] * 3
    assert [thumbnail.reason for thumbnail in found] == ["no such file", "empty file", "it was in memory only"]


def test_the_worst_classes_have_their_surest_mistakes():
    rows = [{"class": "a", "images": 4, "recall": {"value": 0.5, "low": 0.2, "high": 0.8}, "taken_for": [("b", 2)]}]
    images = Manifest.from_rows(PREDICTIONS.uris, labels=["a", "a", "a", "a", "b"])
    (one,) = choose(images, PREDICTIONS, [], rows, seed=0).worst
    assert (one.name, one.taken_for, one.mistaken) == ("a", [("b", 2)], ["a3", "a2"])
