"""The resizing inside an export is Pillow's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.export import Dim

from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view
from headstart.errors import SettingsError
from headstart.export.resizing import PillowResize
from headstart.models.openvino_library import core, openvino

SIZES = [
    *((500, 375), (375, 500), (64, 64), (40, 300), (333, 47), (16, 16), (501, 376), (1200, 20), (224, 224)),
    *((1, 1), (3, 900), (1500, 1001), (227, 226), (257, 229), (278, 600), (95, 566), (144, 303)),
]
SPECS = [
    InputSpec(),
    InputSpec(height=64, width=64),
    InputSpec(height=64, width=64, interpolation="bilinear"),
    InputSpec(height=64, width=64, interpolation="bilinear").whole(),
    InputSpec(height=64, width=64, interpolation="lanczos", crop=0.95),
    InputSpec(height=48, width=80, crop=0.9),
    InputSpec(height=64, width=64, crop=1.2),  # wider than the image: black around it
]


@pytest.mark.parametrize("branches", [True, False])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_pixel_is_that_of_pillow(spec: InputSpec, branches: bool) -> None:
    """Noise of black and white is the hardest case: every weight counts, and values are clipped between the passes.

    The sizes include tall images, for which Pillow 13 begins with the vertical pass.
    """
    rng = np.random.default_rng(0)
    resize = PillowResize(spec, branches=branches)
    drawn = [tuple(rng.integers(2, 700, 2).tolist()) for _ in range(12)]
    for number, (width, height) in enumerate([*SIZES, *drawn]):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        if number % 2:
            pixels = (pixels > 127).astype(np.uint8) * np.uint8(255)
        with torch.no_grad():
            made = resize(torch.from_numpy(pixels)[None])[0].permute(1, 2, 0).numpy()
        assert np.array_equal(made, evaluation_view(Image.fromarray(pixels), spec)), (width, height)


@pytest.mark.parametrize(
    "spec", [InputSpec(height=64, width=64), InputSpec(height=64, width=64, interpolation="bilinear").whole()], ids=str
)
def test_openvino_resizes_like_pillow_though_it_has_no_float64(spec: InputSpec) -> None:
    sides = {0: Dim("images"), 1: Dim("height"), 2: Dim("width")}
    example = torch.zeros((2, 300, 400, 3), dtype=torch.uint8)
    program = torch.export.export(PillowResize(spec, branches=False).eval(), (example,), dynamic_shapes=(sides,))
    model = core().compile_model(openvino().convert_model(program), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rng = np.random.default_rng(0)
    for width, height in SIZES:
        pixels = (rng.integers(0, 2, (height, width, 3)) * 255).astype(np.uint8)
        made = model(pixels[None])[0][0].transpose(1, 2, 0)
        assert np.array_equal(made, evaluation_view(Image.fromarray(pixels), spec)), (width, height)


def test_an_image_does_not_depend_on_those_beside_it() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 90, 70, 3), np.uint8))
    resize = PillowResize(InputSpec(height=32, width=32))
    assert torch.equal(resize(pixels)[2:], resize(pixels[2:]))


def test_what_cannot_be_resized() -> None:
    with pytest.raises(SettingsError, match="bicubic, bilinear, lanczos, but the classifier with 'nearest'"):
        PillowResize(InputSpec(interpolation="nearest"))
    with pytest.raises(SettingsError, match="crop_mode must be center or squash, got 'border'"):
        PillowResize(InputSpec(crop_mode="border"))
