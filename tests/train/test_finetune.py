from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
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
from headstart.evaluate.schema import EpochRecord
from headstart.features.key import FeatureSpace
from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.features.store import FeatureStore
from headstart.inference.engine import Normalized, open_engine
from headstart.inference.memory_format import prefers_channels_last, to_channels_last
from headstart.inference.network import logits
from headstart.train.batches import split_batches
from headstart.train.class_balance import class_balance
from headstart.train.finetune import TrainConfig, finetune
from headstart.train.heads import HeadProblem, head_solver

if TYPE_CHECKING:
    from conftest import Case

Make = Callable[..., "Case"]
Pixels = Callable[["Case", int], np.ndarray]

TARGETS = np.random.default_rng(1).integers(0, 3, 40)


def halves(inputs: Any, count: int = 25) -> tuple[FeatureDataset, FeatureDataset]:
    """The training split, and the validation split."""
    return (
        FeatureDataset(InMemoryFeatures(inputs[:count]), TARGETS[:count]),
        FeatureDataset(InMemoryFeatures(inputs[count:]), TARGETS[count : len(inputs)]),
    )


def without_seconds(history: Sequence[EpochRecord]) -> list[EpochRecord]:
    return [replace(record, seconds=0.0) for record in history]


def bytes_of(module: nn.Module) -> dict[str, bytes]:
    """Parameters and statistics, to the byte."""
    return {name: value.detach().cpu().numpy().tobytes() for name, value in module.state_dict().items()}


# -- stored features and the whole network ---------------------------------------------------------------------------


class Contiguous(nn.Module):
    """Gives the whole network the memory format that stored features have at the cut.

    The engine computes with channels last, and the store returns channels first. The values are identical, but
    convolutions round differently for the two formats.
    """

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.last = prefers_channels_last(tail, "float32")

    def forward(self, features: Tensor) -> Tensor:
        return to_channels_last(features.contiguous(), last=self.last)


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
def test_training_on_stored_features_equals_training_the_whole_network(
    case: Make, pixels: Pixels, tmp_path: Path, model: str, train: str, batchnorm: str
) -> None:
    cached, live = case(model, train), case(model, train)
    images = pixels(cached, 32)
    # The same batch size of 8 everywhere: for another one oneDNN may choose kernels that round differently.
    config = TrainConfig(epochs=3, batch_size=8, lr=1e-2, batchnorm=batchnorm)

    space = FeatureStore(tmp_path).table(
        FeatureSpace(model, "", cached.parts.name, cached.spec, "float32", "float32", cached.parts.feature_shape)
    )
    names = [f"{number:032x}" for number in range(32)]
    run = open_engine(cached.parts.prefix, cached.spec, batch_size=8, precision="float32", engine="torch")
    space.append(names, run(images))
    train_split, validation_split = halves(images, 24)
    through_store = finetune(
        cached.parts.tail,
        FeatureDataset(space.rows(names[:24]), train_split.targets),
        FeatureDataset(space.rows(names[24:]), validation_split.targets),
        config,
    )
    network = nn.Sequential(Normalized(live.parts.prefix, live.spec), Contiguous(live.parts.tail), live.parts.tail)
    through_network = finetune(network, train_split, validation_split, config)
    assert without_seconds(through_store) == without_seconds(through_network)
    assert len({record.loss for record in through_store}) == 3  # training did something
    assert bytes_of(cached.network) == bytes_of(live.network)


# -- frozen layers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["head", "last:1", "last:3", "from:layer4.0.conv2", "all"])
@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_frozen_layers_do_not_change(case: Make, pixels: Pixels, train: str, batchnorm: str) -> None:
    made = case("test_resnet", train)
    images = pixels(made, 12)
    tail: nn.Module = made.parts.tail
    inputs: np.ndarray = images
    if made.parts.at_image:
        tail = Normalized(made.network, made.spec)
    else:
        inputs = open_engine(made.parts.prefix, made.spec, precision="float32", engine="torch")(images)
    before = bytes_of(made.network)
    finetune(tail, *halves(inputs, 8), TrainConfig(epochs=2, batch_size=4, batchnorm=batchnorm))
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
def test_running_statistics_of_other_norms_are_frozen_too(batchnorm: str) -> None:
    tail = nn.Sequential(EvoNorm2dB0(3), nn.Flatten(), nn.Linear(3 * 16, 3))
    before = bytes_of(tail)
    inputs = np.random.default_rng(0).normal(size=(12, 3, 4, 4)).astype(np.float32)
    finetune(tail, *halves(inputs, 8), TrainConfig(epochs=1, batch_size=4, batchnorm=batchnorm))
    after = bytes_of(tail)
    assert (after["0.running_var"] == before["0.running_var"]) == (batchnorm == "frozen")
    assert after["0.weight"] != before["0.weight"]


def test_a_norm_without_parameters_is_never_trained() -> None:
    tail = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3))
    before = bytes_of(tail)
    inputs = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    finetune(tail, *halves(inputs, 8), TrainConfig(epochs=1, batch_size=4, batchnorm="train"))
    assert {name for name, value in bytes_of(tail).items() if before[name] != value} == {"1.weight", "1.bias"}


# -- a plain loop as the oracle --------------------------------------------------------------------------------------


def mlp() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def numbers(count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(count, 6)).astype(np.float32)


def by_hand(tail: nn.Module, x: Tensor, y: Tensor, *, optimizer: str, schedule: str, epochs: int = 3) -> list[float]:
    """22 images in batches of 7: the remainder of one image joins the third batch."""
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
def test_training_equals_a_plain_loop(optimizer: str, schedule: str) -> None:
    x = numbers(30)
    config = TrainConfig(
        epochs=3,
        batch_size=7,
        optimizer=optimizer,
        lr=0.05,
        weight_decay=0.1,
        momentum=0.8,
        schedule=schedule,
        seed=4,
    )
    ours, theirs = mlp(), mlp()
    last: dict[str, Tensor] = {}
    history = finetune(
        ours,
        *halves(x, 22),
        config,
        on_epoch=lambda _: last.update({k: v.clone() for k, v in ours.state_dict().items()}),
    )
    expected = by_hand(theirs, torch.from_numpy(x), torch.from_numpy(TARGETS), optimizer=optimizer, schedule=schedule)
    assert [record.loss for record in history] == expected
    for name, value in theirs.state_dict().items():
        assert torch.equal(last[name], value)
    first_rates = [0.05 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in range(3)]
    assert [record.lr for record in history] == pytest.approx(first_rates if schedule == "cosine" else [0.05] * 3)


@pytest.mark.parametrize(("optimizer", "rate"), [("adamw", 0.001), ("sgd", 0.01)])
def test_default_learning_rates(optimizer: str, rate: float) -> None:
    assert TrainConfig(1, 1, optimizer).base_lr == rate
    assert TrainConfig(1, 1, optimizer, lr=0.5).base_lr == 0.5


@given(st.integers(1, 200), st.integers(1, 50))
def test_batches_are_full_and_none_has_a_single_image(count: int, size: int) -> None:
    order = np.random.default_rng(0).permutation(count)
    batches = split_batches(order, size)
    assert np.array_equal(np.concatenate(batches), order)
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches[-1]) <= size + 1
    assert count == 1 or size == 1 or len(batches[-1]) > 1


# -- history and the kept epoch --------------------------------------------------------------------------------------


def test_the_weights_of_the_best_epoch_are_restored() -> None:
    tail, x = mlp(), numbers(40)
    train, validation = halves(x, 22)
    states: list[dict[str, Tensor]] = []
    history = finetune(
        tail,
        train,
        validation,
        TrainConfig(epochs=12, batch_size=8, lr=0.003, schedule="constant"),
        on_epoch=lambda _: states.append({name: value.clone() for name, value in tail.state_dict().items()}),
    )
    losses = [record.val_loss for record in history]
    best = losses.index(min(losses))
    assert 0 < best < 11  # neither the first nor the last: labels are noise
    assert [record.chosen for record in history] == [epoch == best for epoch in range(12)]
    for name, value in tail.state_dict().items():
        assert torch.equal(value, states[best][name])
    assert not tail.training
    given_logits = torch.from_numpy(logits(tail, validation.inputs))
    assert float(F.cross_entropy(given_logits, torch.from_numpy(validation.targets))) == losses[best]
    accuracy = (given_logits.argmax(1).numpy() == validation.targets).mean()
    assert history[best].val_accuracy == pytest.approx(accuracy)


def test_the_running_statistics_of_the_best_epoch_are_restored(case: Make, pixels: Pixels) -> None:
    made = case("test_resnet", "last:1")
    features = open_engine(made.parts.prefix, made.spec, precision="float32", engine="torch")(pixels(made, 20))
    train, validation = halves(features, 14)
    history = finetune(
        made.parts.tail,
        train,
        validation,
        TrainConfig(epochs=6, batch_size=7, lr=0.02, schedule="constant", batchnorm="train"),
    )
    (chosen,) = [record for record in history if record.chosen]
    assert chosen is not history[-1]
    loss = F.cross_entropy(
        torch.from_numpy(logits(made.parts.tail, validation.inputs)), torch.from_numpy(validation.targets)
    )
    assert float(loss) == chosen.val_loss


def test_history_records_are_complete() -> None:
    seen: list[EpochRecord] = []
    history = finetune(mlp(), *halves(numbers(20), 12), TrainConfig(epochs=3, batch_size=4), on_epoch=seen.append)
    assert seen == [replace(record, chosen=False) for record in history]
    for epoch, record in enumerate(history, 1):
        unset = {name for name, value in asdict(record).items() if value in (None, "")}
        assert unset == {"trial", "val_balanced_loss", "l2", "prior", "stages", "kernel"}
        assert (record.stage, record.epoch) == ("finetune", epoch)
        assert 0 <= record.accuracy <= 1
        assert record.seconds >= 0
    assert sum(record.chosen for record in history) == 1


def test_training_is_reproducible_and_leaves_the_global_generator_alone() -> None:
    def history(seed: int) -> list[EpochRecord]:
        tail = mlp()
        tail.insert(1, nn.Dropout(0.5))
        return without_seconds(finetune(tail, *halves(numbers(40)), TrainConfig(epochs=3, batch_size=8, seed=seed)))

    first = history(1)
    torch.rand(3)
    state = torch.get_rng_state()
    assert history(1) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert history(2) != first


def test_a_diverging_loss_is_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        finetune(mlp(), *halves(numbers(40) * 1e6), TrainConfig(epochs=3, batch_size=8, optimizer="sgd", lr=1e35))
    assert str(caught.value) == "the loss is not finite in epoch 1: use a smaller --lr, it is 1e+35"


def test_logits_do_not_depend_on_the_number_of_inputs() -> None:
    tail, x = mlp(), numbers(600)  # more than are computed at a time
    whole = logits(tail, InMemoryFeatures(x))
    assert (whole.shape, whole.dtype) == ((600, 3), np.float32)
    with torch.no_grad():
        assert np.allclose(whole, tail(torch.from_numpy(x)).numpy(), atol=1e-6)


def test_float16_features_are_converted_to_float32() -> None:
    tail, x = mlp(), numbers(10).astype(np.float16)
    assert np.array_equal(logits(tail, InMemoryFeatures(x)), logits(tail, InMemoryFeatures(x.astype(np.float32))))


def test_restore_best_chooses_between_best_and_last_epoch(case: Make, pixels: Pixels) -> None:
    kept = {}
    for restore_best in (True, False):
        made = case("test_resnet", "last:1")
        features = made.parts.prefix(torch.from_numpy(pixels(made, 40)).permute(0, 3, 1, 2) / 255.0).detach().numpy()
        train, validation = halves(features)
        history = finetune(
            made.parts.tail, train, validation, TrainConfig(epochs=6, batch_size=8, lr=0.05, restore_best=restore_best)
        )
        kept[restore_best] = [record.epoch for record in history if record.chosen]
        given = logits(made.parts.tail, validation.inputs)
        loss = F.cross_entropy(torch.from_numpy(given), torch.from_numpy(validation.targets))
        assert math.isclose(loss, history[kept[restore_best][0] - 1].val_loss, rel_tol=1e-5)
    assert kept[False] == [6]
    assert kept[True] != [6]


# -- mixup, noise, label smoothing, views ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"mixup": 0.4}, {"feature_noise": 0.2}, {"label_smoothing": 0.1}, {"layer_decay": 0.5}, {"precision": "bfloat16"}],
)
def test_regularization_changes_training_and_is_reproducible(changes: dict[str, Any]) -> None:
    def history(**more: Any) -> list[EpochRecord]:
        config = TrainConfig(epochs=3, batch_size=8, **{"seed": 1, **more})
        return without_seconds(finetune(mlp(), *halves(numbers(40)), config))

    first = history(**changes)
    assert history(**changes) == first
    assert history() != first
    assert history(**changes, seed=2) != first


def test_mixup_equals_a_computation_by_hand() -> None:
    """With one batch per epoch, loss and accuracy before the first step follow from the recorded inputs."""
    given: list[Tensor] = []

    class Recorder(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                given.append(x.clone())
            return super().forward(x)

    tail, x, y = Recorder(6, 3), 10 * np.eye(6, dtype=np.float32), np.arange(6) % 3
    start = {name: value.clone() for name, value in tail.state_dict().items()}
    dataset = FeatureDataset(InMemoryFeatures(x), y)
    record, *_ = finetune(tail, dataset, dataset, TrainConfig(epochs=1, batch_size=6, mixup=1.0, label_smoothing=0.1))
    (mixed,) = given
    shares = mixed / 10  # (B, images): how much of each image is in each input
    assert torch.allclose(shares.sum(1), torch.ones(6))
    targets = shares @ F.one_hot(torch.from_numpy(y)).float()  # (B, C)
    logits = F.linear(mixed, start["weight"], start["bias"])
    smooth = 0.9 * targets + 0.1 / 3
    assert record.loss == pytest.approx(float(F.cross_entropy(logits, smooth)), rel=1e-5)
    right = logits.argmax(1) == torch.from_numpy(y)[shares.argmax(1)]
    assert record.accuracy == pytest.approx(float(right.float().mean()))


@pytest.mark.parametrize(
    "changes", [{"mixup": 0.4}, {"feature_noise": 0.1}, {"mixup": 0.4, "feature_noise": 0.1, "layer_decay": 0.7}]
)
def test_mixup_and_noise_on_pixels_leave_frozen_layers_alone(
    case: Make, pixels: Pixels, changes: dict[str, Any]
) -> None:
    made = case("test_resnet", "all")
    images, before = pixels(made, 12), bytes_of(made.network)
    data = halves(images, 8)
    (record,) = finetune(Normalized(made.network, made.spec), *data, TrainConfig(epochs=1, batch_size=4, **changes))
    assert math.isfinite(record.loss)
    changed = {name for name, value in bytes_of(made.network).items() if before[name] != value}
    assert changed == set(made.parts.trainable)  # no statistics among them
    assert np.array_equal(images, pixels(made, 12))


def test_views_are_drawn_in_training_but_not_in_validation() -> None:
    seen: dict[bool, list[Tensor]] = {True: [], False: []}

    class Recorder(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen[self.training].append(x.clone())
            return super().forward(x)

    views = [np.stack([np.arange(40), np.full(40, view)], 1).astype(np.float16) for view in range(3)]
    data = FeatureDataset(InMemoryFeatures(views[0]), TARGETS, tuple(InMemoryFeatures(each) for each in views[1:]))
    config = TrainConfig(epochs=12, batch_size=8)
    history = finetune(Recorder(2, 3), data, data, config)
    for epoch in torch.cat(seen[True]).split(40):
        assert sorted(epoch[:, 0].tolist()) == list(range(40))  # each image once
        assert set(epoch[:, 1].tolist()) == {0, 1, 2}
    pairs = {tuple(row) for row in torch.cat(seen[True]).tolist()}
    assert len(pairs) > 110  # of 120: 12 draws of 3 miss a view of an image once in 130 times
    assert set(torch.cat(seen[False])[:, 1].tolist()) == {0}

    first, seen[True] = torch.cat(seen[True]), []
    with torch.random.fork_rng():
        finetune(Recorder(2, 3), data, data, config)
    assert torch.equal(torch.cat(seen[True]), first)
    assert len(history) == 12


# -- learning rates by depth, and precision --------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_layer_decay_scales_the_steps_of_deeper_blocks(case: Make, pixels: Pixels, optimizer: str) -> None:
    """One step from the same weights: with decay, the step of each parameter is scaled."""
    steps = []
    for decay in (1.0, 0.5):
        made = case("test_efficientnet", "last:3")
        features = made.parts.prefix(torch.from_numpy(pixels(made, 16)).permute(0, 3, 1, 2) / 255.0).detach().numpy()
        before = {name: value.clone() for name, value in made.parts.tail.named_parameters()}
        config = TrainConfig(
            epochs=1,
            batch_size=16,
            optimizer=optimizer,
            lr=1e-2,
            weight_decay=0,
            schedule="constant",
            layer_decay=decay,
        )
        (record,) = finetune(made.parts.tail, *halves(features, 12), config)
        assert record.lr == 1e-2
        after = dict(made.parts.tail.named_parameters())
        steps.append({name: float((after[name] - value).detach().norm()) for name, value in before.items()})
    for module, share in {"blocks.3": 0.25, "blocks.4": 0.5, "conv_head": 1, "bn2": 1, "classifier": 1}.items():
        whole, decayed = (
            math.hypot(*(size for name, size in each.items() if name.startswith(f"{module}."))) for each in steps
        )
        assert decayed / whole == pytest.approx(share, rel=0.01)


def test_bfloat16_is_for_computation_and_not_for_weights() -> None:
    types: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    tail = mlp()
    tail[0].register_forward_hook(lambda module, _, out: types[module.training].add(out.dtype))
    train, validation = halves(numbers(40))
    history = finetune(tail, train, validation, TrainConfig(epochs=2, batch_size=8, precision="bfloat16"))
    assert types == {True: {torch.bfloat16}, False: {torch.bfloat16}}
    assert {value.dtype for value in tail.state_dict().values()} == {torch.float32}
    plain = finetune(mlp(), train, validation, TrainConfig(epochs=2, batch_size=8))
    assert history[1].val_loss == pytest.approx(plain[1].val_loss, abs=0.01)
    types[False].clear()
    logits(tail, validation.inputs)  # the final evaluation
    assert types[False] == {torch.float32}


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(SettingsError) as caught:
        TrainConfig(epochs=1, batch_size=1, precision="auto")
    assert str(caught.value) == "the precision of training must be float32 or bfloat16, got 'auto'"


# -- the deadline ----------------------------------------------------------------------------------------------------


def log_losses(given: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Log-loss per image, (N,)."""
    losses = torch.nn.functional.cross_entropy(torch.from_numpy(given), torch.from_numpy(targets), reduction="none")
    return losses.double().numpy()


def learnable(count: int) -> np.ndarray:
    """Inputs that show the first ``count`` targets, with noise."""
    x = numbers(count)
    x[:, :3] += 2 * np.eye(3, dtype=np.float32)[TARGETS[:count]]
    return x


def test_no_epoch_is_begun_that_would_end_after_the_deadline() -> None:
    data = halves(numbers(40))
    config = TrainConfig(epochs=4, batch_size=8)
    alone = finetune(mlp(), *data, config)
    in_time = finetune(mlp(), *data, config, deadline=time.monotonic() + 3600)
    assert without_seconds(in_time) == without_seconds(alone)
    tail = mlp()
    late = finetune(tail, *data, config, deadline=time.monotonic() - 1)
    (record,) = without_seconds(late)
    # Its learning rate is that of a schedule of four epochs.
    assert record == replace(without_seconds(alone)[0], chosen=True)
    assert not tail.training


def test_no_epoch_follows_one_that_is_hopeless() -> None:
    data, config, seen = halves(numbers(40)), TrainConfig(epochs=4, batch_size=8), []

    def is_hopeless(given: np.ndarray) -> bool:
        seen.append(log_losses(given, data[1].targets).mean())
        return len(seen) == 2

    ended = finetune(mlp(), *data, config, is_hopeless=is_hopeless)
    alone = without_seconds(finetune(mlp(), *data, config))
    # The rates of the two epochs are those of a schedule of four.
    assert [replace(each, chosen=False) for each in without_seconds(ended)] == [
        replace(each, chosen=False) for each in alone[:2]
    ]
    assert seen == pytest.approx([each.val_loss for each in ended], rel=1e-5)


# -- imbalanced classes, and a start from a solved head --------------------------------------------------------------


@pytest.mark.parametrize("mode", ["weights", "logit-adjust"])
def test_balance_raises_the_recall_of_the_rare_class(mode: str) -> None:
    rng = np.random.default_rng(0)
    targets = np.array(([0] * 9 + [1]) * 40)
    x = (rng.normal(size=(400, 2)) + 1.2 * targets[:, None]).astype(np.float32)
    data = FeatureDataset(InMemoryFeatures(x), targets)
    balance = class_balance(torch.from_numpy(targets), 2, mode)
    config = TrainConfig(epochs=10, batch_size=40, lr=0.05)
    rare = {}
    for name, each in (("none", None), (mode, balance)):
        torch.manual_seed(0)
        tail = nn.Linear(2, 2)
        history = finetune(tail, data, data, config, balance=each)
        rare[name] = int((logits(tail, data.inputs).argmax(1) == 1).sum())
        (chosen,) = [record for record in history if record.chosen]
        assert (chosen.val_balanced_loss is not None) is bool(each)
    assert rare[mode] > 2 * rare["none"]
    assert chosen.val_balanced_loss == min(record.val_balanced_loss for record in history)
    losses = log_losses(logits(tail, data.inputs), targets)
    assert chosen.val_loss == pytest.approx(losses.mean(), rel=1e-5)
    assert chosen.val_balanced_loss == pytest.approx(
        (losses[targets == 0].mean() + losses[targets == 1].mean()) / 2, rel=1e-5
    )


def test_training_may_start_from_a_solved_head() -> None:
    """Linear probing, then fine-tuning: Kumar et al. 2022 (arXiv:2202.10054)."""
    train, validation = halves(learnable(40), 20)
    tail = mlp()
    hidden = [torch.from_numpy(logits(tail[:2], split.inputs)) for split in (train, validation)]
    pairs = [(x, torch.from_numpy(split.targets)) for x, split in zip(hidden, (train, validation), strict=True)]
    fit = head_solver("lbfgs").fit(pairs[0], pairs[1], HeadProblem(classes=3))
    (solved,) = [record.val_loss for record in fit.history if record.chosen]
    with torch.no_grad():
        tail[2].weight.copy_(fit.head.weight)
        tail[2].bias.copy_(fit.head.bias)
    reference = log_losses(logits(tail, validation.inputs), validation.targets)
    assert reference.mean() == pytest.approx(solved, abs=1e-4)
    config = TrainConfig(epochs=5, batch_size=8, lr=1e-4)
    history = finetune(tail, train, validation, config)
    assert history[0].val_loss == pytest.approx(solved, abs=0.02)
    cold = finetune(mlp(), train, validation, config)
    assert cold[-1].val_loss > history[0].val_loss + 0.1
