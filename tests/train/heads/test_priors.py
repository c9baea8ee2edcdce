from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn import functional as F

from headstart.train.heads import HeadFit, HeadProblem
from headstart.train.heads.lbfgs import LbfgsSolver
from headstart.train.heads.priors import SHRINKAGES, DiscriminantPrior, ZeroPrior
from headstart.train.heads.vectors import ScaledVectors, Scaling, VectorDataset

Data = tuple[Tensor, Tensor]


def solve(train: Data, validation: Data | None, **problem: Any) -> HeadFit:
    return LbfgsSolver().fit(train, validation, HeadProblem(**problem))


def clusters(count: int, *, classes: int = 5, size: int = 12, seed: int = 0) -> Data:
    """Gaussian clusters with one covariance that is no multiple of the identity, as discriminant analysis assumes."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(99)
    centers, shape = shared.normal(size=(classes, size)), shared.normal(size=(size, size))
    targets = np.arange(count) % classes
    x = 3 + centers[targets] + rng.normal(size=(count, size)) @ shape / 3
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(targets)


def digits() -> tuple[Data, Data, Data]:
    """Few images to train on, some for validation, and many for testing."""
    data = load_digits()
    # Shuffled, since the digits are ordered by writer.
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = torch.from_numpy(data.data[order]).float(), torch.from_numpy(data.target[order])
    return (x[:150], y[:150]), (x[150:400], y[150:400]), (x[400:], y[400:])


def scaled(data: Data) -> ScaledVectors:
    dataset = VectorDataset(data)
    return dataset.scaled(Scaling(dataset))


@pytest.mark.parametrize("shrinkage", [0.1, 0.7])
def test_the_discriminant_equals_that_of_scikit_learn(shrinkage: float) -> None:
    x, y = clusters(600)
    images = scaled((x, y))
    found = DiscriminantPrior(5, shrinkage, temperature=1.0).for_features(images)
    z = images.scaling(x).double().numpy()
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.2] * 5).fit(z, y.numpy())
    # scikit-learn divides the covariance by the number of images, we by the degrees of freedom within classes.
    logits = found.logits(torch.from_numpy(z)).numpy() * 600 / (600 - 5)
    expected = theirs.decision_function(z)
    # Equal class priors shift all logits alike.
    difference = (logits - logits.mean(1, keepdims=True)) - (expected - expected.mean(1, keepdims=True))
    assert np.abs(difference).max() < 2e-3 * np.abs(expected).max()


def test_spherical_clusters_need_no_temperature() -> None:
    """Shrinkage does not change anything for them."""

    def spheres(seed: int) -> ScaledVectors:
        x, y = clusters(4000)
        centers = torch.stack([x[y == target].mean(0) for target in range(5)])
        noise = torch.randn(len(x), x.shape[1], generator=torch.Generator().manual_seed(seed))
        return scaled((centers[y] + noise, y))

    chosen = DiscriminantPrior.fit([(spheres(0), spheres(1))], classes=5)
    assert chosen is not None
    assert chosen[0].temperature == pytest.approx(1, abs=0.05)


def test_the_chosen_prior_yields_the_head_of_each_task() -> None:
    tasks = [(scaled(clusters(60, seed=seed)), scaled(clusters(40, seed=seed + 10))) for seed in range(3)]
    chosen = DiscriminantPrior.fit(tasks, classes=5)
    assert chosen is not None
    prior, task_heads = chosen
    for (images, _), head in zip(tasks, task_heads, strict=True):
        assert torch.equal(prior.for_features(images).weight, head.weight)
        assert torch.equal(prior.for_features(images).bias, head.bias)

    def loss(shrinkage: float) -> float:
        heads = [DiscriminantPrior(5, shrinkage, prior.temperature).for_features(images) for images, _ in tasks]
        others = [(head.logits(x), y) for head, (_, checks) in zip(heads, tasks, strict=True) for x, y in checks]
        return float(F.cross_entropy(torch.cat([each for each, _ in others]), torch.cat([y for _, y in others])))

    # Each shrinkage was evaluated at its own temperature, which is at least as good.
    assert loss(prior.shrinkage) <= min(loss(each) for each in SHRINKAGES) + 1e-6


def test_with_few_images_the_discriminant_prior_beats_zero() -> None:
    train, validation, (x, y) = digits()
    losses = {}
    for discriminant in (False, True):
        found = solve(train, validation, classes=10, discriminant=discriminant)
        losses[found.prior] = float(F.cross_entropy(found.head.logits(x), y))
    assert losses["discriminant"] < losses["zero"] - 0.01


def test_so_it_does_with_cross_validation() -> None:
    train, _, (x, y) = digits()
    losses = {}
    for discriminant in (False, True):
        found = solve(train, None, classes=10, discriminant=discriminant)
        losses[found.prior] = float(F.cross_entropy(found.head.logits(x), y))
    assert losses["discriminant"] < losses["zero"] - 0.01


def test_refit_uses_the_discriminant_of_all_images() -> None:
    train, validation = clusters(60), clusters(60, seed=1)
    fit = solve(train, validation, classes=5, l2=1e6)
    prior = fit.solver_state.prior
    assert isinstance(prior, DiscriminantPrior)
    both = torch.cat([train[0], validation[0]]), torch.cat([train[1], validation[1]])
    images = scaled(both)
    expected = prior.for_features(images).unscaled(images.scaling)
    head = LbfgsSolver().refit(fit, train, validation, problem=HeadProblem(classes=5))
    torch.testing.assert_close(head.weight, expected.weight, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(fit.head.weight, expected.weight, atol=1e-2)


def test_a_class_without_an_image_has_no_weights() -> None:
    x, y = clusters(60)
    images = scaled((x[y != 3], y[y != 3]))
    found = DiscriminantPrior(5, 0.5, temperature=2.0).for_features(images)
    assert not found.weight[3].any()
    assert found.weight[[0, 1, 2, 4]].abs().sum(1).min() > 0


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(
            (torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4)), id="one image per class"
        ),
        pytest.param((torch.eye(4)[torch.arange(8) % 4], torch.arange(8) % 4), id="no variance within classes"),
        pytest.param((torch.zeros(8, 4097), torch.arange(8) % 4), id="too many dimensions"),
    ],
)
def test_without_a_covariance_only_the_other_priors_are_tried(images: Data) -> None:
    assert DiscriminantPrior.fit([(scaled(images), scaled(images))], classes=4) is None
    zero = DiscriminantPrior(4, 0.5, temperature=1.0).for_features(scaled(images))
    assert not zero.weight.any()
    fit = solve(images, images, classes=4)
    assert isinstance(fit.solver_state.prior, ZeroPrior)
    assert {record.prior for record in fit.history} == {"zero"}


def test_the_temperature_is_fitted_on_a_subset_of_many_images() -> None:
    train = scaled(clusters(200))
    many = clusters(12_000, seed=1)
    x, y = (each[::6] for each in many)
    by_all, by_some = (
        DiscriminantPrior.fit([(train, VectorDataset(each).scaled(train.scaling))], classes=5)
        for each in (many, (x, y))
    )
    assert by_all is not None
    assert by_some is not None
    assert by_all[0].shrinkage == by_some[0].shrinkage
    assert by_all[0].temperature == pytest.approx(by_some[0].temperature, rel=0.05)
