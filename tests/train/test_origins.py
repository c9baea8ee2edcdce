from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn import functional as F

from headstart.train.head import solve_again, solve_head, solve_head_by_folds
from headstart.train.origins import SHRINKAGES, Discriminant, Zero
from headstart.train.vectors import Images, Scaled, Scaling

Data = tuple[Tensor, Tensor]


def clouds(count: int, *, classes: int = 5, size: int = 12, seed: int = 0) -> Data:
    """Gaussian, of one shape that is no ball, so that discriminant analysis is right."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(99)
    centres, shape = shared.normal(size=(classes, size)), shared.normal(size=(size, size))
    targets = np.arange(count) % classes
    x = 3 + centres[targets] + rng.normal(size=(count, size)) @ shape / 3
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(targets)


def digits() -> tuple[Data, Data, Data]:
    """Few of each to learn from, some to validate on, and many that no choice sees."""
    told = load_digits()
    # Those who wrote them come one after the other.
    order = np.random.default_rng(0).permutation(len(told.target))
    x, y = torch.from_numpy(told.data[order]).float(), torch.from_numpy(told.target[order])
    return (x[:150], y[:150]), (x[150:400], y[150:400]), (x[400:], y[400:])


def scaled(data: Data) -> Scaled:
    images = Images(data)
    return images.scaled(Scaling(images))


@pytest.mark.parametrize("shrinkage", [0.1, 0.7])
def test_it_is_scikit_learns(shrinkage: float) -> None:
    x, y = clouds(600)
    images = scaled((x, y))
    found = Discriminant(5, shrinkage, temperature=1.0).among(images)
    z = images.scaling(x).double().numpy()
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[0.2] * 5).fit(z, y.numpy())
    # Their covariance is divided by the images, ours by the degrees of freedom that the means have left.
    logits = found.logits(torch.from_numpy(z)).numpy() * 600 / (600 - 5)
    expected = theirs.decision_function(z)
    # Equal shares of the classes move all logits alike.
    apart = (logits - logits.mean(1, keepdims=True)) - (expected - expected.mean(1, keepdims=True))
    assert np.abs(apart).max() < 2e-3 * np.abs(expected).max()


def test_round_clouds_need_no_temperature() -> None:
    """Nor does shrinkage change anything for them."""

    def balls(seed: int) -> Scaled:
        x, y = clouds(4000)
        centres = torch.stack([x[y == target].mean(0) for target in range(5)])
        noise = torch.randn(len(x), x.shape[1], generator=torch.Generator().manual_seed(seed))
        return scaled((centres[y] + noise, y))

    chosen = Discriminant.chosen([(balls(0), balls(1))], classes=5)
    assert chosen is not None
    assert chosen[0].temperature == pytest.approx(1, abs=0.05)


def test_what_is_chosen_is_what_each_task_is_given() -> None:
    tasks = [(scaled(clouds(60, seed=seed)), scaled(clouds(40, seed=seed + 10))) for seed in range(3)]
    chosen = Discriminant.chosen(tasks, classes=5)
    assert chosen is not None
    found, solutions = chosen
    for (images, _), solution in zip(tasks, solutions, strict=True):
        assert torch.equal(found.among(images).weight, solution.weight)
        assert torch.equal(found.among(images).bias, solution.bias)

    def loss(shrinkage: float) -> float:
        heads = [Discriminant(5, shrinkage, found.temperature).among(images) for images, _ in tasks]
        others = [(head.logits(x), y) for head, (_, checks) in zip(heads, tasks, strict=True) for x, y in checks]
        return float(F.cross_entropy(torch.cat([each for each, _ in others]), torch.cat([y for _, y in others])))

    # Each shrinkage is judged at its own temperature, which is at least as good.
    assert loss(found.shrinkage) <= min(loss(each) for each in SHRINKAGES) + 1e-6


def test_a_head_drawn_to_it_is_better_than_one_drawn_to_zero() -> None:
    train, validation, (x, y) = digits()
    told = {}
    for discriminant in (False, True):
        found = solve_head(train, validation, classes=10, discriminant=discriminant)
        told[found.origin.name] = float(F.cross_entropy(found.solution.logits(x), y))
    assert told["discriminant"] < told["zero"] - 0.01


def test_by_folds_too() -> None:
    train, _, (x, y) = digits()
    told = {}
    for discriminant in (False, True):
        found, _ = solve_head_by_folds(train, classes=10, discriminant=discriminant)
        told[found.origin.name] = float(F.cross_entropy(found.solution.logits(x), y))
    assert told["discriminant"] < told["zero"] - 0.01


def test_solved_again_it_is_the_discriminant_of_all_images() -> None:
    train, validation = clouds(60), clouds(60, seed=1)
    fit = solve_head(train, validation, classes=5, l2=1e6)
    assert fit.origin.name == "discriminant"
    both = torch.cat([train[0], validation[0]]), torch.cat([train[1], validation[1]])
    images = scaled(both)
    expected = fit.origin.among(images).unscaled(images.scaling)
    torch.testing.assert_close(solve_again(fit, train, validation).weight, expected.weight, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(fit.solution.weight, expected.weight, atol=1e-2)


def test_a_class_without_an_image_has_no_weights() -> None:
    x, y = clouds(60)
    images = scaled((x[y != 3], y[y != 3]))
    found = Discriminant(5, 0.5, temperature=2.0).among(images)
    assert not found.weight[3].any()
    assert found.weight[[0, 1, 2, 4]].abs().sum(1).min() > 0


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(
            (torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4)), id="one a class"
        ),
        pytest.param((torch.eye(4)[torch.arange(8) % 4], torch.arange(8) % 4), id="no scatter within classes"),
        pytest.param((torch.zeros(8, 4097), torch.arange(8) % 4), id="a covariance of more than is worth it"),
    ],
)
def test_where_there_is_nothing_to_tell_it_by_the_others_are_tried(images: Data) -> None:
    assert Discriminant.chosen([(scaled(images), scaled(images))], classes=4) is None
    zero = Discriminant(4, 0.5, temperature=1.0).among(scaled(images))
    assert not zero.weight.any()
    fit = solve_head(images, images, classes=4)
    assert isinstance(fit.origin, Zero)
    assert {line["start"] for line in fit.history} == {"zero"}


def test_of_many_images_some_tell_the_temperature() -> None:
    train = scaled(clouds(200))
    many = clouds(12_000, seed=1)
    x, y = (each[::6] for each in many)
    by_many, by_some = (
        Discriminant.chosen([(train, Images(each).scaled(train.scaling))], classes=5) for each in (many, (x, y))
    )
    assert by_many is not None
    assert by_some is not None
    assert by_many[0].shrinkage == by_some[0].shrinkage
    assert by_many[0].temperature == pytest.approx(by_some[0].temperature, rel=0.05)
