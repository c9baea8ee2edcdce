from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from headstart.data.alterations import ALTERATIONS, altered_copies
from headstart.data.pixel_agreement import Thumbnail, compare, gray_thumbnail

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins")


def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(data, name)()).convert("RGB").resize((240, 200))


def thumbnail(image: Image.Image | bytes) -> Thumbnail:
    source = image if isinstance(image, bytes) else np.asarray(image)
    return Thumbnail(gray_thumbnail(source, max_pixels=10**7))


@pytest.mark.parametrize("name", NAMES)
def test_copies_agree_in_their_own_orientation(name: str) -> None:
    original = thumbnail(photo(name))
    for kind, copy in zip(ALTERATIONS, altered_copies(photo(name)), strict=True):
        for found in (compare(original, thumbnail(copy)), compare(thumbnail(copy), original)):
            assert found.correlation > 0.95, kind
            assert found.mirrored == (kind == "mirrored")


def test_different_images_do_not_agree() -> None:
    thumbnails = [thumbnail(photo(name)) for name in NAMES]
    assert max(compare(one, other).correlation for one, other in combinations(thumbnails, 2)) < 0.5


def test_an_object_that_has_moved_on_the_same_background_is_another_image() -> None:
    """Rough outlines agree: only the second step tells these apart."""
    images = []
    for left, top in ((40, 60), (130, 90)):
        image = Image.radial_gradient("L").resize((240, 200)).convert("RGB")
        image.paste(photo("coins").resize((60, 50)), (left, top))
        images.append(thumbnail(image))
    assert compare(*images).correlation < 0.8


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 500), (2000, 8)])
def test_flat_and_narrow_images_agree_with_nothing(width: int, height: int) -> None:
    flat = thumbnail(Image.new("RGB", (width, height), "teal"))
    assert compare(flat, thumbnail(Image.new("RGB", (width, height), "teal"))).correlation < 0.5
    assert compare(flat, thumbnail(photo("coffee"))).correlation < 0.5


def test_a_jpeg_decoded_at_reduced_size_agrees_with_its_smaller_copy() -> None:
    large, small = io.BytesIO(), io.BytesIO()
    image = Image.fromarray(data.astronaut())
    image.resize((1600, 1600)).save(large, "JPEG")
    image.resize((150, 150)).save(small, "JPEG")
    assert compare(thumbnail(large.getvalue()), thumbnail(small.getvalue())).correlation > 0.95
