"""Training by several workers: the steps of one process, whatever becomes of a worker.

Sums in another order round differently. After 3 epochs of a small network in float32 the losses, about 1, agree to a
few units of the last of 24 bits (6e-8), which training has enlarged: 1e-5 leaves room, and a batch that is divided
wrongly differs by more than 1e-3.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.data.spec import InputSpec
from headstart.errors import ClusterError, OutputError, StoreError
from headstart.evaluate.schema import EpochRecord
from headstart.execution.cluster import Cluster
from headstart.features.key import FeatureSpace
from headstart.features.sources import FeatureDataset, InMemoryFeatures
from headstart.features.store import FeatureStore
from headstart.inference.engine import Normalized
from headstart.train import distributed
from headstart.train.class_balance import class_balance
from headstart.train.finetune import TrainConfig, finetune

if TYPE_CHECKING:
    from conftest import Case

pytest.importorskip("ray", reason="Ray has no wheels for this Python")

SPEC = InputSpec(height=8, width=8)
ROUNDING = 1e-5
COUNT, VALIDATION = 30, 10
TARGETS = np.random.default_rng(1).integers(0, 3, COUNT)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two one-core workers on this machine, which all tests of this file use."""
    two = Cluster("local", 2)
    with two.connected():
        yield two


def mlp() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def numbers(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


def data(inputs: Any = None, *views: Any) -> tuple[FeatureDataset, FeatureDataset]:
    inputs = InMemoryFeatures(numbers(COUNT)) if inputs is None else inputs
    return (
        FeatureDataset(inputs, TARGETS, views),
        FeatureDataset(InMemoryFeatures(numbers(VALIDATION, 6)), TARGETS[:VALIDATION]),
    )


def losses(history: tuple[EpochRecord, ...]) -> list[float]:
    return [value for record in history for value in (record.loss, record.val_loss)]


def assert_equal(first: nn.Module, second: nn.Module) -> None:
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], rtol=1e-4, atol=ROUNDING, msg=name)


# 30 images in batches of 8: the last batch has 6 images, of which each worker has 3.
PLAIN = TrainConfig(epochs=3, batch_size=8, lr=0.02, optimizer="sgd", nesterov=True)


# -- gradient accumulation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("changes", [{}, {"mixup": 0.4, "label_smoothing": 0.1}, {"optimizer": "adamw"}])
def test_accumulated_gradients_are_those_of_the_batch(micro_batch_size: int, changes: dict[str, Any]) -> None:
    whole, parts = mlp(), mlp()
    config = replace(PLAIN, **changes)
    views = [InMemoryFeatures(numbers(COUNT, 7)), InMemoryFeatures(numbers(COUNT, 8))]
    balance = class_balance(torch.from_numpy(TARGETS), 3, "weights")
    expected = finetune(whole, *data(None, *views), config, balance=balance)
    found = finetune(parts, *data(None, *views), replace(config, micro_batch_size=micro_batch_size), balance=balance)
    assert losses(found) == pytest.approx(losses(expected), abs=ROUNDING)
    assert [record.accuracy for record in found] == pytest.approx([record.accuracy for record in expected])
    assert_equal(parts, whole)


def test_batchnorm_has_the_statistics_of_micro_batches(case: Callable[..., Case]) -> None:
    """As of the workers of Goyal et al. 2017; where its statistics are frozen, parts make no difference."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), np.uint8)
    for batchnorm, same in (("frozen", True), ("train", False)):
        found = []
        for micro_batch_size in (None, 4):
            made = case("test_resnet", "all")
            train = FeatureDataset(InMemoryFeatures(images), TARGETS)
            config = replace(PLAIN, epochs=1, lr=0.01, batchnorm=batchnorm, micro_batch_size=micro_batch_size)
            found.append(losses(finetune(Normalized(made.network, made.spec), train, train, config)))
        assert (found[0] == pytest.approx(found[1], abs=1e-4)) is same


# -- several workers --------------------------------------------------------------------------------------------------


def test_two_workers_take_the_steps_of_one(cluster: Cluster, tmp_path: Path) -> None:
    here, there = mlp(), mlp()
    # 30 images in batches of 9: the last one has three, too few for two workers.
    config = replace(PLAIN, batch_size=9, mixup=0.4, micro_batch_size=2)
    table = FeatureStore(tmp_path).table(FeatureSpace("m", "", "c", SPEC, "float32", "float32", (6,)))
    names = [f"{number:032x}" for number in range(COUNT)]
    for view in range(3):
        table.append(names, numbers(COUNT, 7 + view), view=view)
    stored = [table.rows(names, view=view) for view in range(3)]
    balance = class_balance(torch.from_numpy(TARGETS), 3, "logit-adjust")
    expected = finetune(here, *data(*stored), config, balance=balance)
    found = finetune(there, *data(*stored), config, balance=balance, cluster=cluster)
    assert losses(found) == pytest.approx(losses(expected), abs=ROUNDING)
    for field in ("lr", "accuracy", "val_accuracy", "chosen"):
        assert [getattr(each, field) for each in found] == [getattr(each, field) for each in expected]
    assert_equal(there, here)


def test_a_network_with_batchnorm_on_two_workers(cluster: Cluster, case: Callable[..., Case]) -> None:
    """Two workers have the statistics of four images each, as micro-batches of four have."""
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
    train = FeatureDataset(InMemoryFeatures(images), TARGETS[:24])
    config = replace(PLAIN, epochs=2, lr=0.01, batchnorm="train")
    found = []
    for changes, where in (({"micro_batch_size": 4}, None), ({}, cluster), ({}, None)):
        made = case("test_resnet", "all")
        tail = Normalized(made.network, made.spec)
        found.append(
            [record.loss for record in finetune(tail, train, train, replace(config, **changes), cluster=where)]
        )
        assert not tail.training
    assert found[1] == pytest.approx(found[0], abs=1e-4)
    assert found[1] != pytest.approx(found[2], abs=1e-3)


# -- failures ---------------------------------------------------------------------------------------------------------


@dataclass
class Failing:
    """Features that fail when a worker reads them, once for each mark, a file that is then there."""

    values: np.ndarray
    marks: tuple[Path, ...]
    kill: bool = True
    taken: int = 0
    driver: int = os.getpid()

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Any) -> np.ndarray:
        self.taken += 1
        missing = next((mark for mark in self.marks if not mark.exists()), None)
        # An epoch has four batches: first in the second epoch, then soon after a new group has begun it again.
        fails = missing is not None and self.taken == (6 if missing is self.marks[0] else 2)
        if fails and os.getpid() != self.driver:
            missing.touch()
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise StoreError("the features are damaged")
        return self.values[np.asarray(rows)]


def failing(folder: Path, times: int, **more: Any) -> Failing:
    return Failing(numbers(COUNT), tuple(folder / f"failed-{number}" for number in range(times)), **more)


def test_a_lost_worker_does_not_change_the_result(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is killed in the second epoch, and there is a place for one only then."""
    here, there = mlp(), mlp()
    source, places, counts = failing(tmp_path, 1), distributed.worker_places, list[int]()

    def fewer(*arguments: Any) -> Any:
        found = places(*arguments)
        found = found[:1] if source.marks[0].exists() else found
        counts.append(len(found))
        return found

    monkeypatch.setattr(distributed, "worker_places", fewer)
    found = finetune(there, *data(source), PLAIN, cluster=cluster)
    assert counts == [2, 2, 1]
    assert losses(found) == pytest.approx(losses(finetune(here, *data(), PLAIN)), abs=ROUNDING)
    assert_equal(there, here)


def test_after_several_failures_the_same_training_goes_on_from_its_checkpoint(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.train.finetune._SECONDS_PER_CHECKPOINT", 0)
    monkeypatch.setattr(distributed, "_MAX_FAILURES", 2)
    checkpoint, seen = tmp_path / "checkpoints" / "training.pt", list[int]()
    source = failing(tmp_path, 2)

    def train(tail: nn.Module, on: Cluster | None) -> list[float]:
        more: Any = {"checkpoint": checkpoint, "on_epoch": lambda record: seen.append(record.epoch)}
        return losses(finetune(tail, *data(source), PLAIN, cluster=on, **more))

    with pytest.raises(ClusterError, match="the same command goes on from there"):
        train(mlp(), cluster)
    assert all(mark.exists() for mark in source.marks)
    assert seen == [1]
    assert checkpoint.is_file()
    here, there = mlp(), mlp()
    found = train(there, cluster)
    assert seen == [1, 1, 2, 3]
    assert not checkpoint.exists()
    assert found == pytest.approx(train(here, None), abs=ROUNDING)
    assert_equal(there, here)


def test_an_error_of_a_worker_is_told_as_it_is(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the features are damaged"):
        finetune(mlp(), *data(failing(tmp_path, 1, kill=False)), PLAIN, cluster=cluster)


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    """To the bit, with everything that is drawn at random."""
    monkeypatch.setattr("headstart.train.finetune._SECONDS_PER_CHECKPOINT", 0)
    config = replace(PLAIN, epochs=5, optimizer=optimizer, nesterov=False, mixup=0.4, feature_noise=0.1)
    views = [InMemoryFeatures(numbers(COUNT, 7))]

    def network() -> nn.Module:
        tail = mlp()
        tail.insert(1, nn.Dropout(0.5))
        return tail

    def interrupt(record: EpochRecord) -> None:
        if record.epoch == 3:
            raise KeyboardInterrupt

    path, whole, resumed = tmp_path / "training.pt", network(), network()
    expected = finetune(whole, *data(None, *views), config)
    with pytest.raises(KeyboardInterrupt):
        finetune(network(), *data(None, *views), config, checkpoint=path, on_epoch=interrupt)
    found = finetune(resumed, *data(None, *views), config, checkpoint=path)
    assert [replace(record, seconds=0) for record in found] == [replace(record, seconds=0) for record in expected]
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"damaged", b"PK\x03\x04"])
def test_a_damaged_checkpoint_is_as_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "training.pt"
    path.write_bytes(content)
    assert losses(finetune(mlp(), *data(), PLAIN, checkpoint=path)) == losses(finetune(mlp(), *data(), PLAIN))
    assert not path.exists()


def test_a_checkpoint_that_cannot_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.train.finetune._SECONDS_PER_CHECKPOINT", 0)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write the checkpoint .*choose another disk with --cache-dir"):
        finetune(mlp(), *data(), PLAIN, checkpoint=tmp_path / "file" / "training.pt")
