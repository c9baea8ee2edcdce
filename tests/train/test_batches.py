from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.train.batches import Batch, draw_views, gather, mix, noisy
from headstart.train.part import Kept, Part


def part(views: int, dtype: type = np.float16) -> Part:
    """The first value tells the image, the second the view."""
    made = [np.stack([np.arange(20), np.full(20, view)], 1).astype(dtype) for view in range(views)]
    return Part(Kept(made[0]), np.arange(20) % 3, tuple(Kept(each) for each in made[1:]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_each_image_shows_the_view_that_was_drawn(dtype: type) -> None:
    data = part(3, dtype)
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


def test_a_batch_of_one_view_has_no_need_of_the_others() -> None:
    data = part(3)
    batch = gather(data, np.array([5, 2]), np.full(20, 2), "cpu")
    assert batch.inputs.tolist() == [[5, 2], [2, 2]]


def test_without_views_nothing_is_drawn_and_the_order_stays() -> None:
    data, chance = part(1), np.random.default_rng(0)
    before = chance.bit_generator.state
    assert draw_views(data, chance) is None
    assert chance.bit_generator.state == before
    assert gather(data, np.array([5, 2]), None, "cpu").inputs[:, 0].tolist() == [5, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_inputs_are_mixed_as_their_targets_are(dtype: torch.dtype) -> None:
    """One-hot inputs: what is mixed can be read off."""
    x = (100 * torch.eye(6)).to(dtype)
    shares = []
    for seed in range(40):
        mixed = mix(Batch(x, torch.arange(6)), 0.4, np.random.default_rng(seed))
        assert mixed.others is not None
        expected = 100 * (mixed.share * torch.eye(6)[mixed.targets] + (1 - mixed.share) * torch.eye(6)[mixed.others])
        assert torch.allclose(mixed.inputs, expected, atol=1e-4)
        assert torch.equal(mixed.dominating, mixed.targets if mixed.share >= 0.5 else mixed.others)
        shares.append(mixed.share)
    assert min(shares) < 0.1
    assert max(shares) > 0.9
    assert x.dtype == dtype  # what was given stays
    assert x.sum() == 600


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_noise_is_a_share_of_the_deviation(dtype: torch.dtype) -> None:
    x = torch.arange(200).repeat(100, 1).to(dtype)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        apart = noisy(x, 0.25) - x.float()
    assert float(apart.std()) == pytest.approx(0.25 * float(x.float().std()), rel=0.02)
    assert float(apart.mean()) == pytest.approx(0, abs=0.5)
    assert torch.isfinite(noisy(x[:1, :1], 0.25)).all()
