from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.train.batches import Batch, add_noise, draw_views, gather, mixup


def dataset(views: int, dtype: type = np.float16) -> FeatureDataset:
    """The first value is the number of the image, the second that of the view."""
    made = [np.stack([np.arange(20), np.full(20, view)], 1).astype(dtype) for view in range(views)]
    return FeatureDataset(
        InMemoryFeatures(made[0]), np.arange(20) % 3, tuple(InMemoryFeatures(each) for each in made[1:])
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_each_image_shows_its_drawn_view(dtype: type) -> None:
    data = dataset(3, dtype)
    views = draw_views(data, np.random.default_rng(0))
    assert views is not None
    assert set(views) == {0, 1, 2}
    rows = np.array([4, 19, 0, 7, 3])
    batch = gather(data, rows, views, "cpu")
    seen = batch.inputs[:, 0].long().numpy()
    assert sorted(seen) == sorted(rows)
    assert batch.inputs[:, 1].tolist() == views[seen].tolist()
    assert batch.targets.tolist() == (seen % 3).tolist()
    assert batch.inputs.dtype == (torch.uint8 if dtype is np.uint8 else torch.float32)


def test_a_batch_may_show_one_view_only() -> None:
    data = dataset(3)
    batch = gather(data, np.array([5, 2]), np.full(20, 2), "cpu")
    assert batch.inputs.tolist() == [[5, 2], [2, 2]]


def test_without_views_nothing_is_drawn_and_the_order_is_kept() -> None:
    data, rng = dataset(1), np.random.default_rng(0)
    before = rng.bit_generator.state
    assert draw_views(data, rng) is None
    assert rng.bit_generator.state == before
    assert gather(data, np.array([5, 2]), None, "cpu").inputs[:, 0].tolist() == [5, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_inputs_and_targets_are_mixed_alike(dtype: torch.dtype) -> None:
    """One-hot inputs show which images were mixed."""
    x = (100 * torch.eye(6)).to(dtype)
    weights = []
    for seed in range(40):
        mixed = mixup(Batch(x, torch.arange(6)), 0.4, np.random.default_rng(seed))
        assert mixed.mixed_targets is not None
        expected = 100 * (mixed.lam * torch.eye(6)[mixed.targets] + (1 - mixed.lam) * torch.eye(6)[mixed.mixed_targets])
        assert torch.allclose(mixed.inputs, expected, atol=1e-4)
        assert torch.equal(mixed.dominant_targets, mixed.targets if mixed.lam >= 0.5 else mixed.mixed_targets)
        weights.append(mixed.lam)
    assert min(weights) < 0.1
    assert max(weights) > 0.9
    assert x.dtype == dtype  # the inputs are unchanged
    assert x.sum() == 600


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_noise_is_relative_to_the_standard_deviation(dtype: torch.dtype) -> None:
    x = torch.arange(200).repeat(100, 1).to(dtype)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = add_noise(x, 0.25) - x.float()
    assert float(noise.std()) == pytest.approx(0.25 * float(x.float().std()), rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=0.5)
    assert torch.isfinite(add_noise(x[:1, :1], 0.25)).all()
