from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view
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
def test_a_crop_beyond_the_picture_is_black_as_in_torchvision(crop: float) -> None:
    spec = InputSpec(height=65, width=65, crop=crop)
    assert np.array_equal(evaluation_view(_noise(90, 120), spec), _timm(_noise(90, 120), spec))


@pytest.mark.parametrize("size", [(3, 2999), (2999, 3)])
def test_a_sliver_needs_little_memory_and_looks_the_same(size: tuple[int, int]) -> None:
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
