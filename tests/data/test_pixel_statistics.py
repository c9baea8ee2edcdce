from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.pixel_statistics import STATISTICS, compute_statistics, measure
from headstart.data.value_range import ValueRange
from headstart.events import Events, StageBegun


def numbers(image: Image.Image) -> dict[str, float]:
    return dict(zip(STATISTICS, measure(image), strict=False))


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    from skimage.data import chelsea

    return Image.fromarray(chelsea())


def test_histograms_give_the_numbers_of_the_pixels(cat: Image.Image) -> None:
    small = cat.resize((120, 90))
    pixels, gray = np.asarray(small) / 255, np.asarray(small.convert("L")) / 255
    found = numbers(small)
    assert found["brightness"] == pytest.approx(gray.mean(), abs=1e-6)
    assert found["contrast"] == pytest.approx(gray.std(), abs=1e-6)
    assert (found["low"], found["high"]) == pytest.approx(np.percentile(gray, (5, 95)), abs=1 / 255)
    assert [found[name] for name in ("red", "green", "blue")] == pytest.approx(pixels.mean((0, 1)), abs=1e-6)


def test_blur_lowers_sharpness_and_brightness_stays(cat: Image.Image) -> None:
    sharp, blurred = numbers(cat.copy()), numbers(cat.filter(ImageFilter.GaussianBlur(6)))
    assert blurred["sharpness"] < sharp["sharpness"] / 20
    assert blurred["brightness"] == pytest.approx(sharp["brightness"], abs=0.01)


def test_a_frame_is_measured_on_each_side(cat: Image.Image) -> None:
    framed = cat.resize((200, 100))
    framed.paste((255, 0, 0), (0, 80, 200, 100))
    found = numbers(framed)
    assert found["frame_bottom"] == pytest.approx(0.2)
    assert [found[f"frame_{side}"] for side in ("top", "left", "right")] == [0, 0, 0]
    assert found["border_red"] > numbers(cat.resize((200, 100)))["border_red"]


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (1000, 1)])
def test_tiny_and_thin_images_have_finite_numbers(size: tuple[int, int]) -> None:
    assert np.isfinite(measure(Image.new("RGB", size, "gray"))).all()


def test_numbers_are_cached_by_content(cat: Image.Image, tmp_path: Path) -> None:
    cat.save(tmp_path / "a.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    cat.save(tmp_path / "b.png", exif=turned)
    (tmp_path / "b.png").rename(tmp_path / "b.jpg")
    manifest = inspect_all(Manifest.from_rows([tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "a.jpg"]))
    measured: list[int] = []
    events, cache = Events(), tmp_path / "numbers.parquet"
    events.listen(lambda event: measured.append(event.total) if isinstance(event, StageBegun) else None)
    found = compute_statistics(manifest, cache=cache, events=events)
    assert measured == [2]
    assert found.formats == ("JPEG", "PNG", "JPEG")
    assert found.values["orientation"].tolist() == [1, 6, 1]
    same = compute_statistics(manifest.select([1, 0]), cache=cache, events=events)
    assert measured == [2]
    assert same.formats == ("PNG", "JPEG")
    assert same.values["sharpness"].tolist() == found.values["sharpness"][[1, 0]].tolist()
    cache.write_bytes(b"damaged")
    assert compute_statistics(manifest, cache=cache).formats == found.formats


def test_an_image_that_vanished_has_no_numbers_and_is_not_cached(cat: Image.Image, tmp_path: Path) -> None:
    cat.save(tmp_path / "a.png")
    manifest = inspect_all(Manifest.from_rows([tmp_path / "a.png"]))
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").unlink()
    assert np.isnan(compute_statistics(manifest, cache=tmp_path / "numbers.parquet").values["brightness"]).all()
    (tmp_path / "a.png").write_bytes(content)
    assert not np.isnan(compute_statistics(manifest, cache=tmp_path / "numbers.parquet").values["brightness"]).any()


def test_another_black_and_white_gives_other_numbers(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(tmp_path / "deep.png")
    manifest = inspect_all(Manifest.from_rows([tmp_path / "deep.png"]))
    cache = tmp_path / "numbers.parquet"
    dark = compute_statistics(manifest, cache=cache).values["brightness"]
    white = compute_statistics(manifest, value_ranges=[ValueRange("uint16", 0, 4095)], cache=cache).values["brightness"]
    assert (dark[0], white[0]) == (pytest.approx(16 / 255), 1)


def test_arrays_in_memory_have_numbers_and_no_format() -> None:
    array = np.full((4, 4, 3), 51, np.uint8)
    manifest = inspect_all(Manifest.from_arrays([array]))
    found = compute_statistics(manifest)
    assert found.formats == (None,)
    assert found.values["brightness"][0] == pytest.approx(0.2)
