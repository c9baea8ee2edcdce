"""Resizing by products of matrices, compared with Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from headstart.data.device_files import can_resize
from headstart.data.resampling import evaluation_views, filter_weights
from headstart.data.spec import InputSpec
from headstart.data.transforms import evaluation_view

SIZES = [(500, 375), (375, 500), (64, 64), (40, 300), (333, 47), (16, 16), (501, 376), (1200, 20)]
SPECS = [
    InputSpec(height=64, width=64),
    InputSpec(height=64, width=64, interpolation="bilinear").whole(),
    InputSpec(height=64, width=64, interpolation="lanczos", crop=0.95),
    InputSpec(height=48, width=80, crop=0.9),
    InputSpec(height=64, width=64, crop=1.2),  # wider than the image: black around it
]


def images(sizes: list[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for width, height in sizes]


def as_tensors(arrays: list[NDArray[np.uint8]]) -> list[Tensor]:
    return [torch.from_numpy(array).movedim(2, 0).contiguous() for array in arrays]


@pytest.mark.parametrize("spec", SPECS)
def test_views_are_those_of_pillow(spec: InputSpec) -> None:
    """Noise is the hardest case: every weight counts."""
    arrays = images(SIZES)
    made = evaluation_views(as_tensors(arrays), spec).numpy()
    expected = np.stack([evaluation_view(Image.fromarray(array), spec) for array in arrays])
    difference = np.abs(made.astype(int) - expected.astype(int))
    assert made.dtype == np.uint8
    assert difference.max() <= 2  # 1 after the first pass, with a weight above 1 in the second
    assert difference.mean() < 0.03


@pytest.mark.parametrize("spec", SPECS[:2])
def test_a_view_does_not_depend_on_the_images_beside_it(spec: InputSpec) -> None:
    tensors = as_tensors(images([*SIZES, *SIZES, (499, 374), (470, 380)]))
    together = evaluation_views(tensors, spec)
    for number, tensor in enumerate(tensors):
        assert torch.equal(evaluation_views([tensor], spec)[0], together[number])
    order = torch.randperm(len(tensors))
    assert torch.equal(evaluation_views([tensors[number] for number in order], spec), together[order])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_sums_of_weighted_pixels_are_exact(interpolation: str) -> None:
    """So that the order of the additions does not matter: multiples of 2**-15, below 2**24 of them in any sum."""
    for size, resized in ((500, 224), (4000, 224), (100, 224), (224, 224), (7, 3)):
        weights = filter_weights(size, resized, 0, resized, interpolation).astype(np.float64) * 2**15
        assert np.array_equal(weights, np.rint(weights))
        assert np.array_equal(weights.sum(1), np.full(resized, 2.0**15))
        assert 255 * np.abs(weights).sum(1).max() < 2**24


def test_what_cannot_be_resized() -> None:
    assert can_resize((500, 375), InputSpec())
    assert not can_resize((500, 375), InputSpec(interpolation="nearest"))
    assert not can_resize((5000, 1), InputSpec())  # Pillow resizes only what the crop keeps
