from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.train.batches import (
    Batch,
    Mixture,
    add_noise,
    draw_mixture,
    draw_views,
    gather,
    gather_part,
    micro_batches,
    mixup,
    order_by_view,
)


def dataset(views: int, dtype: type = np.float16) -> FeatureDataset:
    """The first value is the number of the image, the second that of the view."""
    made = [np.stack([np.arange(20), np.full(20, view)], 1).astype(dtype) for view in range(views)]
    return FeatureDataset(
        InMemoryFeatures(made[0]), np.arange(20) % 3, tuple(InMemoryFeatures(each) for each in made[1:])
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_each_image_shows_its_drawn_view(dtype: type) -> None:
    data = dataset(3, dtype)
    views = draw_views(data, np.random.default_rng(0), 1)
    assert views is not None
    assert set(views) == {0, 1, 2}
    rows = np.array([4, 19, 0, 7, 3])
    batch = gather(data, rows, views, "cpu")
    seen = batch.inputs[:, 0].long().numpy()
    assert seen.tolist() == rows.tolist()  # in their order, though each view is read from once
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
    assert draw_views(data, rng, 1) is None
    assert rng.bit_generator.state == before
    assert gather(data, np.array([5, 2]), None, "cpu").inputs[:, 0].tolist() == [5, 2]


def test_each_epoch_may_have_a_view_of_its_own() -> None:
    data, rng = replace(dataset(3), view_per_epoch=True), np.random.default_rng(0)
    seen = [draw_views(data, rng, epoch) for epoch in (1, 2, 3)]
    assert [set(views) for views in seen if views is not None] == [{1}, {2}, {1}]


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_inputs_and_targets_are_mixed_alike(dtype: torch.dtype) -> None:
    """One-hot inputs show which images were mixed."""
    x = (100 * torch.eye(6)).to(dtype)
    weights = []
    for seed in range(40):
        mixture = draw_mixture(6, 0.4, np.random.default_rng(seed))
        targets = torch.arange(6)
        mixed = mixup(Batch(x, targets), Batch(x[mixture.partners], targets[mixture.partners]), mixture.lam)
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


def positions(count: int, world_size: int, size: int | None) -> list[list[list[int]]]:
    """Of each worker, the positions of its micro-batches."""
    parts = [micro_batches(count, size=size, rank=rank, world_size=world_size) for rank in range(world_size)]
    return [[list(range(count))[part] for part in own] for own in parts]


@given(st.integers(1, 70), st.integers(1, 9), st.none() | st.integers(1, 12))
def test_micro_batches_are_the_batch(count: int, world_size: int, size: int | None) -> None:
    found = positions(count, world_size, size)
    assert [at for own in found for part in own for at in part] == list(range(count))
    shares = [sum(map(len, own)) for own in found]
    if count >= 2 * world_size:
        assert max(shares) - min(shares) <= 1
    sizes = [len(part) for own in found for part in own]
    assert size is None or max(sizes) <= size + 1
    assert count == 1 or size == 1 or min(sizes) > 1


@pytest.mark.parametrize("mixture", [None, Mixture(np.array([3, 0, 4, 1, 2]), 0.7)])
@pytest.mark.parametrize("views", [1, 3])
def test_parts_of_a_batch_are_what_they_are_in_the_whole(views: int, mixture: Mixture | None) -> None:
    data = dataset(views)
    drawn = draw_views(data, np.random.default_rng(0), 1)
    rows = order_by_view(np.array([4, 19, 0, 7, 3]), drawn)
    whole = gather_part(data, rows, drawn, slice(0, 5), mixture, "cpu")
    parts = [gather_part(data, rows, drawn, part, mixture, "cpu") for part in (slice(0, 2), slice(2, 5))]
    assert torch.equal(torch.cat([part.inputs for part in parts]), whole.inputs)
    assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
    if mixture is not None:
        assert torch.equal(torch.cat([part.mixed_targets for part in parts]), whole.mixed_targets)
        first, second = torch.from_numpy(rows), torch.from_numpy(rows[mixture.partners])
        assert torch.allclose(whole.inputs[:, 0], 0.7 * first + 0.3 * second, atol=1e-5)
