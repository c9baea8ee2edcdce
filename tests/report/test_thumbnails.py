"""Thumbnails as data URIs."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from headstart.report.thumbnails import Thumbnails


def opened(data):
    return Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))


def test_thumbnails_are_squares_of_at_most_160_pixels(tmp_path):
    red = tmp_path / "wide.png"
    Image.new("RGB", (900, 300), (200, 30, 30)).save(red)
    found = Thumbnails()[str(red)]
    assert found.side == 160
    assert found.data.startswith("data:image/jpeg;base64,")
    image = opened(found.data)
    assert image.size == (160, 160)
    assert image.getpixel((80, 80)) == pytest.approx((200, 30, 30), abs=4)


def test_tiny_images_keep_their_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    found = Thumbnails()[str(tmp_path / "digit.png")]
    assert found.side == 8
    np.testing.assert_array_equal(np.asarray(opened(found.data)), pixels)


def test_an_image_that_cannot_be_read_has_a_reason(tmp_path):
    (tmp_path / "empty.jpg").touch()
    thumbnails = Thumbnails()
    uris = [str(tmp_path / "nowhere.jpg"), str(tmp_path / "empty.jpg"), "array:3"]
    thumbnails.load(uris)
    found = [thumbnails[uri] for uri in uris]
    assert [thumbnail.data for thumbnail in found] == [None] * 3
    assert [thumbnail.reason for thumbnail in found] == ["no such file", "empty file", "it was in memory only"]


def test_a_thumbnail_is_made_once(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (9, 9)).save(path)
    thumbnails = Thumbnails()
    thumbnails.load([str(path), str(path)])
    path.unlink()
    thumbnails.load([str(path)])
    assert thumbnails[str(path)].data is not None
