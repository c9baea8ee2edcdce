from __future__ import annotations

import math
import time
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
from headstart.train.balance import balance
from headstart.train.batches import split
from headstart.train.head import solve_head
from headstart.train.layout import laid_out, suits
from headstart.train.part import Kept, Part
from headstart.train.tail import Loop, logits, train_tail

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

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.last = suits(tail, "float32")

    def forward(self, features: Tensor) -> Tensor:
        return laid_out(features.contiguous(), last=self.last)


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
    network = nn.Sequential(Normalised(live.parts.prefix, live.spec), Contiguous(live.parts.tail), live.parts.tail)
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
    batches = split(order, size)
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


# -- mixing, noise, smoothing, views ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"mixup": 0.4}, {"noise": 0.2}, {"label_smoothing": 0.1}, {"layer_decay": 0.5}, {"precision": "bfloat16"}],
)
def test_each_changes_training_and_repeats_with_its_seed(changes: dict[str, Any]) -> None:
    def history(**more: Any) -> list[dict[str, Any]]:
        loop = Loop(epochs=3, batch=8, **{"seed": 1, **more})
        return without_seconds(train_tail(mlp(), *halves(numbers(40)), loop))

    first = history(**changes)
    assert history(**changes) == first
    assert history() != first
    assert history(**changes, seed=2) != first


def test_mixed_batches_train_as_by_hand() -> None:
    """One batch an epoch: the loss before the first step, and its accuracy, from the inputs that the tail was given."""
    given: list[Tensor] = []

    class Seen(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                given.append(x.clone())
            return super().forward(x)

    tail, x, y = Seen(6, 3), 10 * np.eye(6, dtype=np.float32), np.arange(6) % 3
    start = {name: value.clone() for name, value in tail.state_dict().items()}
    part = Part(Kept(x), y)
    line, *_ = train_tail(tail, part, part, Loop(epochs=1, batch=6, mixup=1.0, label_smoothing=0.1))
    (mixed,) = given
    shares = mixed / 10  # (B, images): how much of each image is in each input
    assert torch.allclose(shares.sum(1), torch.ones(6))
    targets = shares @ F.one_hot(torch.from_numpy(y)).float()  # (B, C)
    logits = F.linear(mixed, start["weight"], start["bias"])
    smooth = 0.9 * targets + 0.1 / 3
    assert line["loss"] == pytest.approx(float(F.cross_entropy(logits, smooth)), rel=1e-5)
    right = logits.argmax(1) == torch.from_numpy(y)[shares.argmax(1)]
    assert line["accuracy"] == pytest.approx(float(right.float().mean()))


@pytest.mark.parametrize("changes", [{"mixup": 0.4}, {"noise": 0.1}, {"mixup": 0.4, "noise": 0.1, "layer_decay": 0.7}])
def test_pixels_are_mixed_too_and_frozen_is_frozen(case: Make, pixels: Pixels, changes: dict[str, Any]) -> None:
    made = case("test_resnet", "all")
    images, before = pixels(made, 12), bytes_of(made.network)
    data = halves(images, 8)
    (line,) = train_tail(Normalised(made.network, made.spec), *data, Loop(epochs=1, batch=4, **changes))
    assert math.isfinite(line["loss"])
    changed = {name for name, value in bytes_of(made.network).items() if before[name] != value}
    assert changed == set(made.parts.trainable)  # no statistics among them
    assert np.array_equal(images, pixels(made, 12))


def test_each_view_is_seen_in_training_and_none_in_validation() -> None:
    seen: dict[bool, list[Tensor]] = {True: [], False: []}

    class Seen(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen[self.training].append(x.clone())
            return super().forward(x)

    views = [np.stack([np.arange(40), np.full(40, view)], 1).astype(np.float16) for view in range(3)]
    data = Part(Kept(views[0]), TARGETS, tuple(Kept(each) for each in views[1:]))
    loop = Loop(epochs=12, batch=8)
    history = train_tail(Seen(2, 3), data, data, loop)
    for epoch in torch.cat(seen[True]).split(40):
        assert sorted(epoch[:, 0].tolist()) == list(range(40))  # each image once
        assert set(epoch[:, 1].tolist()) == {0, 1, 2}
    pairs = {tuple(row) for row in torch.cat(seen[True]).tolist()}
    assert len(pairs) > 110  # of 120: 12 draws of 3 miss a view of an image once in 130 times
    assert set(torch.cat(seen[False])[:, 1].tolist()) == {0}

    first, seen[True] = torch.cat(seen[True]), []
    with torch.random.fork_rng():
        train_tail(Seen(2, 3), data, data, loop)
    assert torch.equal(torch.cat(seen[True]), first)
    assert len(history) == 12


# -- rates by depth, and precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_layers_step_by_their_distance_from_the_head(case: Make, pixels: Pixels, optimizer: str) -> None:
    """From the same weights, one step: that of each parameter is its share of the step without decay."""
    steps = []
    for decay in (1.0, 0.5):
        made = case("test_efficientnet", "last:3")
        features = made.parts.prefix(torch.from_numpy(pixels(made, 16)).permute(0, 3, 1, 2) / 255.0).detach().numpy()
        before = {name: value.clone() for name, value in made.parts.tail.named_parameters()}
        loop = Loop(
            epochs=1, batch=16, optimizer=optimizer, lr=1e-2, weight_decay=0, schedule="constant", layer_decay=decay
        )
        (line,) = train_tail(made.parts.tail, *halves(features, 12), loop)
        assert line["lr"] == 1e-2
        after = dict(made.parts.tail.named_parameters())
        steps.append({name: float((after[name] - value).detach().norm()) for name, value in before.items()})
    for module, share in {"blocks.3": 0.25, "blocks.4": 0.5, "conv_head": 1, "bn2": 1, "classifier": 1}.items():
        whole, decayed = (
            math.hypot(*(size for name, size in each.items() if name.startswith(f"{module}."))) for each in steps
        )
        assert decayed / whole == pytest.approx(share, rel=0.01)


def test_bfloat16_is_for_steps_and_validation_and_not_for_weights() -> None:
    types: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    tail = mlp()
    tail[0].register_forward_hook(lambda module, _, out: types[module.training].add(out.dtype))
    train, validation = halves(numbers(40))
    history = train_tail(tail, train, validation, Loop(epochs=2, batch=8, precision="bfloat16"))
    assert types == {True: {torch.bfloat16}, False: {torch.bfloat16}}
    assert {value.dtype for value in tail.state_dict().values()} == {torch.float32}
    plain = train_tail(mlp(), train, validation, Loop(epochs=2, batch=8))
    assert history[1]["val_loss"] == pytest.approx(plain[1]["val_loss"], abs=0.01)
    types[False].clear()
    logits(tail, validation.inputs)  # what is told of the end
    assert types[False] == {torch.float32}


def test_another_precision_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        Loop(epochs=1, batch=1, precision="auto")
    assert str(caught.value) == "precision of the training must be float32 or bfloat16, got 'auto'"


# -- the end before the end -------------------------------------------------------------------------------------------


def log_losses(given: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Of each image, (N,)."""
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(given), torch.from_numpy(targets), reduction="none")
    return losses.double().numpy()


def learnable(count: int) -> np.ndarray:
    """Inputs from which the first ``count`` targets can be read, with some noise."""
    x = numbers(count)
    x[:, :3] += 2 * np.eye(3, dtype=np.float32)[TARGETS[:count]]
    return x


def test_no_epoch_is_begun_that_would_end_too_late() -> None:
    data = halves(numbers(40))
    loop = Loop(epochs=4, batch=8)
    alone = train_tail(mlp(), *data, loop)
    in_time = train_tail(mlp(), *data, loop, deadline=time.monotonic() + 3600)
    assert without_seconds(in_time) == without_seconds(alone)
    tail = mlp()
    late = train_tail(tail, *data, loop, deadline=time.monotonic() - 1)
    (line,) = without_seconds(late)
    assert line == {**without_seconds(alone)[0], "chosen": True}  # the rates are those of all four epochs
    assert not tail.training


# -- rare classes, and a start from a solved head ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["loss", "logits"])
def test_balance_moves_the_decision_to_the_rare_class(mode: str) -> None:
    rng = np.random.default_rng(0)
    targets = np.array(([0] * 9 + [1]) * 40)
    x = (rng.normal(size=(400, 2)) + 1.2 * targets[:, None]).astype(np.float32)
    data = Part(Kept(x), targets)
    told = balance(torch.from_numpy(targets), 2, mode)
    loop = Loop(epochs=10, batch=40, lr=0.05)
    rare = {}
    for name, each in (("none", None), (mode, told)):
        torch.manual_seed(0)
        tail = nn.Linear(2, 2)
        history = train_tail(tail, data, data, loop, balance=each)
        rare[name] = int((logits(tail, data.inputs).argmax(1) == 1).sum())
        (chosen,) = [line for line in history if line["chosen"]]
        assert ("val_balanced_loss" in chosen) is bool(each)
    assert rare[mode] > 2 * rare["none"]
    assert chosen["val_balanced_loss"] == min(line["val_balanced_loss"] for line in history)
    losses = log_losses(logits(tail, data.inputs), targets)
    assert chosen["val_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert chosen["val_balanced_loss"] == pytest.approx(
        (losses[targets == 0].mean() + losses[targets == 1].mean()) / 2, rel=1e-5
    )


def test_training_may_start_from_a_solved_head() -> None:
    """Linear probing, then fine-tuning: Kumar et al. 2022 (arXiv:2202.10054)."""
    train, validation = halves(learnable(40), 20)
    tail = mlp()
    hidden = [torch.from_numpy(logits(tail[:2], part.inputs)) for part in (train, validation)]
    pairs = [(x, torch.from_numpy(part.targets)) for x, part in zip(hidden, (train, validation), strict=True)]
    fit = solve_head(pairs[0], pairs[1], classes=3)
    (solved,) = [line["val_loss"] for line in fit.history if line["chosen"]]
    with torch.no_grad():
        tail[2].weight.copy_(fit.solution.weight)
        tail[2].bias.copy_(fit.solution.bias)
    reference = log_losses(logits(tail, validation.inputs), validation.targets)
    assert reference.mean() == pytest.approx(solved, abs=1e-4)
    loop = Loop(epochs=5, batch=8, lr=1e-4)
    history = train_tail(tail, train, validation, loop)
    assert history[0]["val_loss"] == pytest.approx(solved, abs=0.02)
    cold = train_tail(mlp(), train, validation, loop)
    assert cold[-1]["val_loss"] > history[0]["val_loss"] + 0.1
