from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from skimage import data

from headstart.data.spec import InputSpec
from headstart.data.transforms import FLIPPED_VIEW, _random_numbers, evaluation_view, make_view
from headstart.errors import SettingsError


def _timm(image: Image.Image, spec: InputSpec) -> np.ndarray:
    from timm.data import create_transform

    transform: Any = create_transform(
        input_size=(3, spec.height, spec.width),
        interpolation=spec.interpolation,
        crop_pct=spec.crop,
        crop_mode=spec.crop_mode,
        normalize=False,
    )
    return transform(image).permute(1, 2, 0).numpy()


def _noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    )


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    size=st.sampled_from([(64, 64), (97, 97), (48, 80), (81, 32)]),
    crop=st.sampled_from([0.875, 0.9, 0.95, 0.965, 1.0]),
    mode=st.sampled_from(["center", "squash"]),
    interpolation=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
)
def test_the_same_pixels_as_timm(
    width: int, height: int, size: tuple[int, int], crop: float, mode: str, interpolation: str
) -> None:
    spec = InputSpec(height=size[0], width=size[1], crop=crop, crop_mode=mode, interpolation=interpolation)
    image = _noise(width, height)
    assert np.array_equal(evaluation_view(image, spec), _timm(image, spec))


@pytest.mark.parametrize("crop", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (224, 224), (257, 256), (224, 300), (31, 33), (1000, 225)])
def test_the_same_pixels_as_timm_at_full_size(size: tuple[int, int], crop: float) -> None:
    spec = InputSpec(crop=crop)
    view = evaluation_view(_noise(*size), spec)
    assert (view.shape, view.dtype, view.flags.writeable) == ((224, 224, 3), np.uint8, True)
    assert np.array_equal(view, _timm(_noise(*size), spec))


@pytest.mark.parametrize("crop", [1.1, 1.5])
def test_a_crop_beyond_the_image_is_black_as_in_torchvision(crop: float) -> None:
    spec = InputSpec(height=65, width=65, crop=crop)
    assert np.array_equal(evaluation_view(_noise(90, 120), spec), _timm(_noise(90, 120), spec))


@pytest.mark.parametrize("size", [(3, 2999), (2999, 3)])
def test_a_very_narrow_image_needs_little_memory_and_looks_the_same(size: tuple[int, int]) -> None:
    image = _noise(*size)
    apart = np.abs(evaluation_view(image, InputSpec()).astype(int) - _timm(image, InputSpec()))
    assert apart.mean() < 0.5
    assert apart.max() < 16
    assert evaluation_view(_noise(1, 60_000), InputSpec()).shape == (224, 224, 3)


def test_unknown_modes_are_named() -> None:
    with pytest.raises(SettingsError) as interpolation:
        evaluation_view(_noise(9, 9), InputSpec(interpolation="cubic"))
    assert str(interpolation.value) == "interpolation must be nearest, bilinear, bicubic or lanczos, got 'cubic'"
    with pytest.raises(SettingsError) as mode:
        evaluation_view(_noise(9, 9), InputSpec(crop_mode="border"))
    assert str(mode.value) == "crop_mode must be center or squash, got 'border'"
    for wrong in (InputSpec(interpolation="cubic"), InputSpec(crop_mode="border")):
        with pytest.raises(SettingsError):
            make_view(_noise(9, 9), wrong, 1, KEY)


# -- numbered views ---------------------------------------------------------------------------------------------------

KEY = "ab" * 16
SMALL = InputSpec(height=32, width=32)
SQUASHED = InputSpec(height=48, width=64, interpolation="bilinear").whole()


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(data.astronaut()).resize((500, 375))


@pytest.mark.parametrize("spec", [SMALL, SQUASHED, InputSpec(height=80, width=48)])
def test_view_0_is_the_evaluation_view_and_view_minus_1_is_flipped(photo: Image.Image, spec: InputSpec) -> None:
    expected = evaluation_view(photo, spec)
    assert np.array_equal(make_view(photo, spec, 0, KEY), expected)
    flipped = make_view(photo, spec, FLIPPED_VIEW, KEY)
    assert np.array_equal(flipped, expected[:, ::-1])
    assert not np.array_equal(flipped, expected)
    assert flipped.flags.c_contiguous


def test_there_is_no_view_below_the_flipped_one(photo: Image.Image) -> None:
    with pytest.raises(
        ValueError, match=r"^number of a view must be -1 \(flipped\), 0 \(evaluation\) or positive, got -2$"
    ):
        make_view(photo, SMALL, -2, KEY)


@pytest.mark.parametrize("spec", [SMALL, SQUASHED, replace(SMALL, interpolation="nearest")])
def test_views_differ_by_number_and_by_content(photo: Image.Image, spec: InputSpec) -> None:
    views = [make_view(photo, spec, number, key) for key in (KEY, "cd" * 16) for number in range(1, 30)]
    assert {(each.shape, each.dtype.name) for each in views} == {((spec.height, spec.width, 3), "uint8")}
    assert len({each.tobytes() for each in views}) == len(views)


_ELSEWHERE = """
import random, sys
import numpy as np, torch
from PIL import Image
from headstart.data.spec import InputSpec
from headstart.data.transforms import make_view
random.seed(1), np.random.seed(1), torch.manual_seed(1)
image = Image.open(sys.argv[1])
views = {str(number): make_view(image, InputSpec(height=32, width=32), number, "ab" * 16) for number in (4, 2, 1, 3)}
np.savez(sys.argv[2], **views)
"""


def test_a_view_is_the_same_in_any_process_and_order(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.png")
    here = {number: make_view(photo, SMALL, number, KEY) for number in (1, 2, 3, 4)}
    subprocess.run([sys.executable, "-c", _ELSEWHERE, tmp_path / "photo.png", tmp_path / "views.npz"], check=True)
    there = np.load(tmp_path / "views.npz")
    assert all(np.array_equal(here[number], there[str(number)]) for number in (1, 2, 3, 4))


def test_a_view_is_the_same_in_any_thread(photo: Image.Image) -> None:
    numbers = [1, 2, 3, 4, 5, 6, 7, 8] * 8

    def make(number: int) -> bytes:
        return make_view(photo, SMALL, number, KEY).tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, numbers)) == [make(number) for number in numbers]


def _position(pixels: np.ndarray) -> tuple[float, float, float, float]:
    """(left, right, top, bottom) of a view of :func:`_map`, as shares of its size; left > right if it is flipped."""
    x, y = pixels[..., 0].mean(0) / 255, pixels[..., 1].mean(1) / 255
    return x[0], x[-1], y[0], y[-1]


def _map(width: int, height: int) -> Image.Image:
    """An image whose red is the horizontal position of a pixel, and green the vertical one."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.zeros_like(x)], 2).round().astype(np.uint8))


@pytest.mark.parametrize(
    ("spec", "size", "neutral"),
    [
        (replace(SMALL, crop_mode="center"), (200, 150), 1.0),
        (replace(SMALL, crop_mode="squash"), (200, 150), 4 / 3),
        (InputSpec(height=32, width=64, crop_mode="center"), (200, 150), 2.0),
        (InputSpec(height=32, width=64, crop_mode="squash"), (150, 200), 3 / 4),
    ],
)
def test_crops_have_the_documented_aspect_ratios_and_areas(
    spec: InputSpec, size: tuple[int, int], neutral: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.data.transforms._COLOR", 0.0)  # red and green are positions here
    image = _map(*size)
    paths = np.array([_position(make_view(image, spec, number, KEY)) for number in range(1, 400)])
    flipped = paths[:, 0] > paths[:, 1]
    assert 0.4 < flipped.mean() < 0.6
    # The centers of the outermost pixels are half a pixel of the view inside the crop.
    widths = np.abs(paths[:, 1] - paths[:, 0]) * spec.width / (spec.width - 1)
    heights = np.abs(paths[:, 3] - paths[:, 2]) * spec.height / (spec.height - 1)
    areas, shapes = widths * heights, widths * size[0] / (heights * size[1]) / neutral
    assert 0.38 < areas.min() < 0.45
    assert 0.7 < areas.max() < 1.03
    assert 0.72 < shapes.min() < 0.8
    assert 1.25 < shapes.max() < 1.38
    assert min(paths[:, :2].min(), paths[:, 2:].min()) < 0.05  # together the crops cover the whole image
    assert max(paths[:, :2].max(), paths[:, 2:].max()) > 0.95


def test_color_changes_are_those_of_pillow(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    views = [make_view(photo, SMALL, number, KEY) for number in range(1, 20)]
    monkeypatch.setattr("headstart.data.transforms._COLOR", 0.0)
    for number, colored in enumerate(views, start=1):
        expected = Image.fromarray(make_view(photo, SMALL, number, KEY))
        factors = 0.8 + 0.4 * _random_numbers(KEY, number, 26)[-3:]
        for change, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
        ):
            expected = change(expected).enhance(factor)
        assert np.array_equal(colored, np.asarray(expected))


def test_colors_change_by_at_most_20_percent() -> None:
    """Of a gray image only the brightness changes, whatever the crop."""
    gray = Image.new("RGB", (60, 60), (100, 100, 100))
    brightness = np.array([make_view(gray, SMALL, number, KEY)[0, 0, 0] for number in range(1, 200)])
    assert 80 <= brightness.min() < 85
    assert 115 < brightness.max() <= 120


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (3, 2999), (1, 1), (2, 1)])
@pytest.mark.parametrize("spec", [InputSpec(), InputSpec().whole(), InputSpec(height=160, width=256, crop=1.0)])
def test_a_very_narrow_image_has_views(size: tuple[int, int], spec: InputSpec) -> None:
    for number in (FLIPPED_VIEW, 1, 2, 3):
        assert make_view(_noise(*size), spec, number, KEY).shape == (spec.height, spec.width, 3)


@pytest.mark.parametrize("size", [(1, 2_000_000), (2_000_000, 1)])
def test_training_views_of_a_very_narrow_image_need_little_memory(size: tuple[int, int]) -> None:
    """Resized directly, an image of a million pixels takes 0.8 GB and 8 seconds in Pillow 11.3."""
    import resource

    narrow = Image.new("RGB", size, (200, 100, 50))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes
    for mode in ("center", "squash"):
        assert make_view(narrow, replace(InputSpec(), crop_mode=mode), 1, KEY).shape == (224, 224, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
