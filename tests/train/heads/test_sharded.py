"""Heads whose vectors the workers of a Ray cluster hold: the head of one process, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.data.spec import InputSpec
from headstart.errors import StoreError
from headstart.execution.cluster import Cluster
from headstart.features.key import FeatureSpace
from headstart.features.sources import AveragedViews, FeatureSource, InMemoryFeatures
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureRows, FeatureTable
from headstart.train.class_balance import Balance
from headstart.train.heads import HeadFit, HeadProblem, LabeledVectors, LinearHead
from headstart.train.heads.lbfgs import LbfgsSolver
from headstart.train.heads.sharded import MAX_SHARDS, open_sharded, shards_of
from headstart.train.heads.vectors import SHARD_ROWS, Scaling, ShardedVectors, VectorDataset

pytest.importorskip("ray", reason="Ray has no wheels for this Python")

SHARD = 1024  # rows, a batch
TRAIN, VALIDATION, FEATURES, CLASSES = 4 * SHARD + 300, SHARD + 200, 12, 4
PROBLEM = HeadProblem(CLASSES, blocks=(8, 4), kernel="none")


def table_of(folder: Path, count: int) -> tuple[FeatureTable, list[str], Tensor]:
    """A table of overlapping clusters, off the origin and not of unit scale; its images and their targets."""
    space = FeatureSpace("blobs", "0" * 32, "pool", InputSpec(), "float32", "float16", (FEATURES,))
    table = FeatureStore(folder).table(space)
    rng = np.random.default_rng(0)
    targets = rng.integers(0, CLASSES, count)
    centers = rng.normal(size=(CLASSES, FEATURES))
    images = [f"{number:032x}" for number in rng.permutation(count)]
    values = 7 + 3 * (centers[targets] + 1.5 * rng.normal(size=(count, FEATURES)))
    table.append(images, values.astype(np.float32))
    return table, images, torch.from_numpy(targets)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> list[LabeledVectors]:
    """Training and validation images in the store."""
    table, images, targets = table_of(tmp_path_factory.mktemp("store"), TRAIN + VALIDATION)
    return [(table.rows(images[part]), targets[part]) for part in (slice(TRAIN), slice(TRAIN, None))]


@contextmanager
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.train.heads.sharded.SHARD_ROWS", SHARD)
        yield


def stored(splits: list[LabeledVectors]) -> list[tuple[FeatureSource, Tensor]]:
    return [(vectors, y) for vectors, y in splits if not isinstance(vectors, Tensor)]


def in_memory(splits: list[LabeledVectors]) -> list[LabeledVectors]:
    return [(torch.from_numpy(vectors.take(np.arange(len(y)))), y) for vectors, y in stored(splits)]


def solve(splits: list[LabeledVectors], problem: HeadProblem = PROBLEM) -> tuple[HeadFit, LinearHead]:
    """The fit, and the head that is solved once more on all images."""
    fit = LbfgsSolver().fit(splits[0], splits[1], problem)
    again = LbfgsSolver().refit(fit, *splits, problem=problem)
    assert isinstance(fit.head, LinearHead)
    assert isinstance(again, LinearHead)
    return fit, again


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Three cores on this machine, which all tests of this file use."""
    with Cluster("local", 3).connected():
        yield


@pytest.fixture(scope="module")
def sharded(cluster: None, splits: list[LabeledVectors]) -> Iterator[list[LabeledVectors]]:
    """The splits with two workers."""
    with small_shards(), open_sharded(Cluster("local", 2), splits) as opened:
        assert [len(vectors.shards) for vectors, _ in opened if isinstance(vectors, ShardedVectors)] == [5, 2]
        yield opened


@pytest.fixture(scope="module")
def solved(sharded: list[LabeledVectors]) -> tuple[HeadFit, LinearHead]:
    """By two workers."""
    return solve(sharded)


def bits(found: tuple[HeadFit, LinearHead]) -> list[Tensor]:
    fit, again = found
    assert isinstance(fit.head, LinearHead)
    return [fit.head.weight, fit.head.bias, fit.validation_logits, again.weight, again.bias]


def test_shards_depend_on_nothing_but_the_number_of_rows() -> None:
    rows = MAX_SHARDS * SHARD_ROWS + 1
    shards = shards_of(InMemoryFeatures(np.zeros((rows, 1), np.float16)), torch.zeros(rows))
    assert [len(each.targets) for each in shards] == [2 * SHARD_ROWS] * (MAX_SHARDS // 2) + [1]
    assert shards[0].nbytes == 4 * SHARD_ROWS


def test_the_head_is_that_of_one_process(splits: list[LabeledVectors], solved: tuple[HeadFit, LinearHead]) -> None:
    """L-BFGS stops where a step changes the objective by less than 1e-8: about so far above its minimum both may end.

    The objective is curved by the penalty at least, so that both heads are within sqrt(2 1e-8 / penalty) of the best.
    """
    here, again = solve(in_memory(splits))
    there, again_there = solved
    tried, tried_there = ([(each.l2, each.prior, each.stages) for each in fit.history] for fit in (here, there))
    assert tried_there == tried
    assert (there.l2, there.prior, there.stages) == (here.l2, here.prior, here.stages)
    assert here.l2 is not None
    for one, other in zip(here.history, there.history, strict=True):
        # The validation loss is not at its minimum: it follows the weights, which differ by little of their bound.
        assert other.val_loss == pytest.approx(one.val_loss, abs=1e-5)
        assert other.loss == pytest.approx(one.loss, abs=1e-6)
        assert other.accuracy == pytest.approx(one.accuracy, abs=2 / TRAIN)
    scaling = Scaling(VectorDataset(*in_memory(splits)), PROBLEM.blocks)
    for one, other in ((here.head, there.head), (again, again_there)):
        apart = [each.scaled(scaling).weight for each in (one, other) if isinstance(each, LinearHead)]
        assert float((apart[0] - apart[1]).norm()) < 2 * (2e-8 / here.l2) ** 0.5
    assert torch.allclose(here.validation_logits, there.validation_logits, atol=0.01)


def test_the_sum_of_a_killed_worker_is_computed_again(sharded: list[LabeledVectors], tmp_path: Path) -> None:
    problem, ones = replace(PROBLEM, discriminant=False, l2=0.01), torch.ones(CLASSES)
    undisturbed = bits(solve(sharded, replace(problem, balance=Balance(ones))))
    file = tmp_path / "kill"
    file.touch()
    killed = bits(solve(sharded, replace(problem, balance=Killing(ones, file=file))))
    assert not file.exists()
    assert all(torch.equal(*each) for each in zip(undisturbed, killed, strict=True))


def test_this_process_reads_no_features(sharded: list[LabeledVectors], monkeypatch: pytest.MonkeyPatch) -> None:
    read, take = [], FeatureRows.take
    monkeypatch.setattr(FeatureRows, "take", lambda self, rows: read.append(len(rows)) or take(self, rows))
    solve(sharded, replace(PROBLEM, l2=0.1))
    assert read == []


def test_one_worker_and_what_it_is_given(
    splits: list[LabeledVectors], solved: tuple[HeadFit, LinearHead], tmp_path: Path
) -> None:
    """One worker gives the bits of two; views are averaged as in this process; an error is told as it is."""
    rows, y = stored(splits)[0]
    part = torch.arange(1500)
    views = [
        (AveragedViews((rows.select(x.numpy()), rows.select(x.flip(0).numpy()))), y[x]) for x in (part, part + 1500)
    ]
    everything = [*splits, *views, damaged(tmp_path)]

    def use_one_worker() -> None:
        with small_shards(), open_sharded(Cluster("local", 1), everything) as given:
            assert all(torch.equal(*each) for each in zip(bits(solve(given[:2])), bits(solved), strict=True))
            (here, _), (there, _) = solve(list(views)), solve(given[2:4])
            assert (here.l2, here.prior) == (there.l2, there.prior)
            assert torch.allclose(here.validation_logits, there.validation_logits, atol=0.01)
            Scaling(VectorDataset(given[4]))

    with pytest.raises(StoreError, match="cannot read features"):
        use_one_worker()


@dataclass(frozen=True)
class Killing(Balance):
    """A loss that kills the worker that computes it, where a file is there."""

    file: Path = Path()

    def to(self, _: Any) -> Balance:  # type: ignore[override]
        return self

    def loss(self, logits: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        if self.file.exists():
            self.file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(logits, targets, label_smoothing=label_smoothing)


def damaged(folder: Path) -> LabeledVectors:
    """Rows of a table in which a value has changed."""
    table, images, targets = table_of(folder, 2000)
    rows = table.rows(images)
    (file,) = (rows.table.path / "data").glob("*.lance")
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 0xFF
    file.write_bytes(content)
    return rows, targets
