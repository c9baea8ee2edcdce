from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import EvoNorm2dB0
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.errors import SettingsError
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.models.engine import Normalised, open_engine
from headstart.train.part import Kept, Part
from headstart.train.tail import Loop, _batches, logits, train_tail

if TYPE_CHECKING:
    from conftest import Case

Make = Callable[..., "Case"]
Pixels = Callable[["Case", int], np.ndarray]

TARGETS = np.random.default_rng(1).integers(0, 3, 40)


def halves(inputs: Any, count: int = 25) -> tuple[Part, Part]:
    """To train on, and to validate on."""
    return (
        Part(Kept(inputs[:count]), TARGETS[:count]),
        Part(Kept(inputs[count:]), TARGETS[count : len(inputs)]),
    )


def without_seconds(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in history]


def bytes_of(module: nn.Module) -> dict[str, bytes]:
    """Parameters and statistics, to the byte."""
    return {name: value.detach().cpu().numpy().tobytes() for name, value in module.state_dict().items()}


# -- the cached path and the live path --------------------------------------------------------------------------------


class Contiguous(nn.Module):
    """The engine computes with channels last, the store keeps channels first. Convolutions round differently for the
    two, so that the live network is given the same layout at the cut; the values are the same bits in any case.
    """

    def forward(self, features: Tensor) -> Tensor:
        return features.contiguous()


@pytest.mark.parametrize(
    ("model", "train", "batchnorm"),
    [
        ("test_resnet", "last:1", "train"),
        ("test_resnet", "last:1", "frozen"),
        ("test_efficientnet", "last:2", "train"),
        ("test_vit", "last:1", "frozen"),
        ("test_resnet", "head", "frozen"),
    ],
)
def test_losses_through_the_store_are_those_of_the_live_network(
    case: Make, pixels: Pixels, tmp_path: Path, model: str, train: str, batchnorm: str
) -> None:
    cached, live = case(model, train), case(model, train)
    images = pixels(cached, 32)
    # 8 images at a time everywhere: for other numbers oneDNN may choose kernels that round otherwise.
    loop = Loop(epochs=3, batch=8, lr=1e-2, batchnorm=batchnorm)

    space = FeatureStore(tmp_path).space(
        FeatureSpace(model, "", cached.parts.name, cached.spec, "float32", "float32", cached.parts.feature_shape)
    )
    names = [f"{number:032x}" for number in range(32)]
    run = open_engine(cached.parts.prefix, cached.spec, batch=8, precision="float32", engine="torch")
    space.append(names, run(images))
    train_part, validation_part = halves(images, 24)
    through_store = train_tail(
        cached.parts.tail,
        Part(space.rows(names[:24]), train_part.targets),
        Part(space.rows(names[24:]), validation_part.targets),
        loop,
    )
    network = nn.Sequential(Normalised(live.parts.prefix, live.spec), Contiguous(), live.parts.tail)
    through_network = train_tail(network, train_part, validation_part, loop)
    assert without_seconds(through_store) == without_seconds(through_network)
    assert len({line["loss"] for line in through_store}) == 3  # it did learn
    assert bytes_of(cached.network) == bytes_of(live.network)


# -- what is frozen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["head", "last:1", "last:3", "from:layer4.0.conv2", "all"])
@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_frozen_is_frozen(case: Make, pixels: Pixels, train: str, batchnorm: str) -> None:
    made = case("test_resnet", train)
    images = pixels(made, 12)
    tail: nn.Module = made.parts.tail
    inputs: np.ndarray = images
    if made.parts.at_image:
        tail = Normalised(made.network, made.spec)
    else:
        inputs = open_engine(made.parts.prefix, made.spec, precision="float32", engine="torch")(images)
    before = bytes_of(made.network)
    train_tail(tail, *halves(inputs, 8), Loop(epochs=2, batch=4, batchnorm=batchnorm))
    changed = {name for name, value in bytes_of(made.network).items() if before[name] != value}

    trained = set(made.parts.trainable)
    assert changed & {name for name, _ in made.network.named_parameters()} == trained
    owners = {name.rpartition(".")[0] for name in trained}
    statistics = {
        f"{name}.{which}"
        for name, module in made.network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and name in owners
        for which in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert changed - trained == (statistics if batchnorm == "train" else set())
    assert not any(module.training for module in made.network.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_statistics_of_other_norms_are_kept_too(batchnorm: str) -> None:
    tail = nn.Sequential(EvoNorm2dB0(3), nn.Flatten(), nn.Linear(3 * 16, 3))
    before = bytes_of(tail)
    inputs = np.random.default_rng(0).normal(size=(12, 3, 4, 4)).astype(np.float32)
    train_tail(tail, *halves(inputs, 8), Loop(epochs=1, batch=4, batchnorm=batchnorm))
    after = bytes_of(tail)
    assert (after["0.running_var"] == before["0.running_var"]) == (batchnorm == "frozen")
    assert after["0.weight"] != before["0.weight"]


def test_a_norm_without_parameters_of_its_own_is_never_trained() -> None:
    tail = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))
    before = bytes_of(tail)
    inputs = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    train_tail(tail, *halves(inputs, 8), Loop(epochs=1, batch=4, batchnorm="train"))
    assert {name for name, value in bytes_of(tail).items() if before[name] != value} == {"1.weight", "1.bias"}


# -- the loop against one written by hand -----------------------------------------------------------------------------


def mlp() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, 6)).astype(np.float32)


def by_hand(tail: nn.Module, x: Tensor, y: Tensor, *, optimizer: str, schedule: str, epochs: int = 3) -> list[float]:
    """22 images in batches of 7, so that the remainder of one joins the third batch."""
    matrices, vectors = [tail[0].weight, tail[2].weight], [tail[0].bias, tail[2].bias]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}]
    solver = torch.optim.AdamW(groups) if optimizer == "adamw" else torch.optim.SGD(groups, momentum=0.8)
    shuffle, step, losses = np.random.default_rng(4), 0, []
    for _ in range(epochs):
        order = shuffle.permutation(22)
        total = 0.0
        for rows in (order[:7], order[7:14], order[14:22]):
            for group in solver.param_groups:
                group["lr"] = (
                    0.05 if schedule == "constant" else 0.05 * (1 + math.cos(math.pi * step / (3 * epochs))) / 2
                )
            loss = F.cross_entropy(tail(x[rows]), y[rows])
            solver.zero_grad()
            loss.backward()
            solver.step()
            total += loss.item() * len(rows)
            step += 1
        losses.append(total / 22)
    return losses


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_training_is_that_of_a_plain_loop(optimizer: str, schedule: str) -> None:
    x = numbers(30)
    loop = Loop(
        epochs=3,
        batch=7,
        optimizer=optimizer,
        lr=0.05,
        weight_decay=0.1,
        momentum=0.8,
        schedule=schedule,
        seed=4,
    )
    ours, theirs = mlp(), mlp()
    last: dict[str, Tensor] = {}
    history = train_tail(
        ours, *halves(x, 22), loop, on_epoch=lambda _: last.update({k: v.clone() for k, v in ours.state_dict().items()})
    )
    expected = by_hand(theirs, torch.from_numpy(x), torch.from_numpy(TARGETS), optimizer=optimizer, schedule=schedule)
    assert [line["loss"] for line in history] == expected
    for name, value in theirs.state_dict().items():
        assert torch.equal(last[name], value)
    first_rates = [0.05 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in range(3)]
    assert [line["lr"] for line in history] == pytest.approx(first_rates if schedule == "cosine" else [0.05] * 3)


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 0.001), ("sgd", 0.01)])
def test_the_usual_learning_rate(optimizer: str, rate: float) -> None:
    assert Loop(1, 1, optimizer).highest_rate == rate
    assert Loop(1, 1, optimizer, lr=0.5).highest_rate == 0.5


@given(st.integers(1, 200), st.integers(1, 50))
def test_batches_are_full_and_none_is_of_one_image(count: int, size: int) -> None:
    order = np.random.default_rng(0).permutation(count)
    batches = _batches(order, size)
    assert np.array_equal(np.concatenate(batches), order)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches[-1]) <= size + 1
    assert count == 1 or size == 1 or len(batches[-1]) > 1


# -- history and the epoch that is kept -------------------------------------------------------------------------------


def test_the_epoch_that_validated_best_is_what_the_tail_holds() -> None:
    tail, x = mlp(), numbers(40)
    train, validation = halves(x, 22)
    states: list[dict[str, Tensor]] = []
    history = train_tail(
        tail,
        train,
        validation,
        Loop(epochs=12, batch=8, lr=0.003, schedule="constant"),
        on_epoch=lambda _: states.append({name: value.clone() for name, value in tail.state_dict().items()}),
    )
    losses = [line["val_loss"] for line in history]
    best = losses.index(min(losses))
    assert 0 < best < 11  # neither the first nor the last: labels are noise
    assert [line["chosen"] for line in history] == [epoch == best for epoch in range(12)]
    for name, value in tail.state_dict().items():
        assert torch.equal(value, states[best][name])
    assert not tail.training
    given_logits = torch.from_numpy(logits(tail, validation.inputs))
    assert float(F.cross_entropy(given_logits, torch.from_numpy(validation.targets))) == losses[best]
    accuracy = (given_logits.argmax(1).numpy() == validation.targets).mean()
    assert history[best]["val_accuracy"] == pytest.approx(accuracy)


def test_the_best_epoch_brings_its_statistics(case: Make, pixels: Pixels) -> None:
    made = case("test_resnet", "last:1")
    features = open_engine(made.parts.prefix, made.spec, precision="float32", engine="torch")(pixels(made, 20))
    train, validation = halves(features, 14)
    history = train_tail(
        made.parts.tail, train, validation, Loop(epochs=6, batch=7, lr=0.02, schedule="constant", batchnorm="train")
    )
    (chosen,) = [line for line in history if line["chosen"]]
    assert chosen is not history[-1]
    loss = F.cross_entropy(
        torch.from_numpy(logits(made.parts.tail, validation.inputs)), torch.from_numpy(validation.targets)
    )
    assert float(loss) == chosen["val_loss"]


def test_lines_of_history_have_the_agreed_keys() -> None:
    told: list[dict[str, Any]] = []
    history = train_tail(mlp(), *halves(numbers(20), 12), Loop(epochs=3, batch=4), on_epoch=told.append)
    assert told == history
    for epoch, line in enumerate(history, 1):
        assert list(line) == [
            "stage",
            "epoch",
            "loss",
            "accuracy",
            "lr",
            "val_loss",
            "val_accuracy",
            "seconds",
            "chosen",
        ]
        assert (line["stage"], line["epoch"]) == ("tail", epoch)
        assert 0 <= line["accuracy"] <= 1
        assert line["seconds"] >= 0
    assert sum(line["chosen"] for line in history) == 1


def test_the_same_seed_gives_the_same_and_other_randomness_is_left_alone() -> None:
    def history(seed: int) -> list[dict[str, Any]]:
        tail = mlp()
        tail.insert(1, nn.Dropout(0.5))
        return without_seconds(train_tail(tail, *halves(numbers(40)), Loop(epochs=3, batch=8, seed=seed)))

    first = history(1)
    torch.rand(3)
    state = torch.get_rng_state()
    assert history(1) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert history(2) != first


def test_a_loss_that_runs_away_is_told() -> None:
    with pytest.raises(SettingsError) as caught:
        train_tail(mlp(), *halves(numbers(40) * 1e6), Loop(epochs=3, batch=8, optimizer="sgd", lr=1e35))
    assert str(caught.value) == "the loss is not finite in epoch 1: use a smaller --lr, it is 1e+35"


def test_logits_do_not_depend_on_how_many_are_asked_for() -> None:
    tail, x = mlp(), numbers(600)  # more than are computed at a time
    whole = logits(tail, Kept(x))
    assert (whole.shape, whole.dtype) == ((600, 3), np.float32)
    with torch.no_grad():
        assert np.allclose(whole, tail(torch.from_numpy(x)).numpy(), atol=1e-6)


def test_float16_features_are_computed_with_in_float32() -> None:
    tail, x = mlp(), numbers(10).astype(np.float16)
    assert np.array_equal(logits(tail, Kept(x)), logits(tail, Kept(x.astype(np.float32))))


def test_the_last_epoch_is_kept_where_asked_for(case: Make, pixels: Pixels) -> None:
    kept = {}
    for keep in ("best", "last"):
        made = case("test_resnet", "last:1")
        features = made.parts.prefix(torch.from_numpy(pixels(made, 40)).permute(0, 3, 1, 2) / 255.0).detach().numpy()
        train, validation = halves(features)
        history = train_tail(made.parts.tail, train, validation, Loop(epochs=6, batch=8, lr=0.05, keep=keep))
        kept[keep] = [line["epoch"] for line in history if line["chosen"]]
        given = logits(made.parts.tail, validation.inputs)
        loss = F.cross_entropy(torch.from_numpy(given), torch.from_numpy(validation.targets))
        assert math.isclose(loss, history[kept[keep][0] - 1]["val_loss"], rel_tol=1e-5)
    assert kept["last"] == [6]
    assert kept["best"] != [6]
