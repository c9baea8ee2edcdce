"""Features that the workers of a Ray cluster compute: the rows of one machine, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headstart.config import FitSettings
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.data.spec import InputSpec
from headstart.errors import ClusterError, ModelError, SettingsError, StoreError
from headstart.events import Events
from headstart.execution.cluster import Cluster, parse_cluster
from headstart.execution.cluster_watch import ClusterWatch
from headstart.features.extractor import extract_features
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.workflow.candidates import open_candidate
from headstart.workflow.fit import fit

pytest.importorskip("ray", reason="Ray has no wheels for this Python")

SPEC = InputSpec(height=8, width=8)
SPACE = FeatureSpace("sums", "0" * 32, "pool", SPEC, "float32", "float32", (3,))
TWO = Cluster("local", 2)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two one-core workers on this machine, which all tests of this file use."""
    with TWO.connected():
        yield TWO


@pytest.fixture
def images(tmp_path: Path) -> Manifest:
    """Forty images of noise, of which one is damaged after it was inspected."""
    rng = np.random.default_rng(0)
    uris = [tmp_path / f"{number:02}.png" for number in range(40)]
    for uri in uris:
        Image.fromarray(rng.integers(0, 256, (10, 10, 3), np.uint8)).save(uri)
    inspected = inspect_all(Manifest.from_rows(uris))
    uris[7].write_bytes(b"damaged")
    return inspected


@dataclass(frozen=True)
class Sums:
    """An engine that adds up pixels; at its first batch it may do something else."""

    mark: Path | None = None  # a file that is there once it has failed
    fail: str = ""

    def __call__(self) -> Callable[[Any], NDArray[np.float32]]:
        if self.fail == "open":
            raise ModelError("no such engine")
        return self.run

    def run(self, images: Any) -> NDArray[np.float32]:
        if self.mark is not None and not self.mark.exists():
            self.mark.touch()
            if self.fail == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        if self.fail == "wait":
            time.sleep(3)
        sums = np.asarray(images, np.float32).sum((1, 2))
        return sums * np.nan if self.fail == "nan" else sums


def table_of(folder: Path) -> FeatureTable:
    return FeatureStore(folder).table(SPACE)


def extract(images: Manifest, table: FeatureTable, engine: Sums, cluster: Cluster | None) -> list[tuple[int, str]]:
    return extract_features(
        images, table, SPEC, open_engine=engine, batch_size=4, max_pixels=10**6, views=(0, -1), cluster=cluster
    )


def test_the_rows_are_those_of_one_machine(images: Manifest, tmp_path: Path, cluster: Cluster) -> None:
    here, there = table_of(tmp_path / "here"), table_of(tmp_path / "there")
    problems = extract(images, here, Sums(), None)
    assert extract(images, there, Sums(), cluster) == problems
    assert [row for row, _ in problems] == [7]
    readable = [str(images.hashes[row]) for row in range(40) if row != 7]
    for view in (0, -1):
        rows = [table.rows(readable, view=view).take(np.arange(39)) for table in (here, there)]
        assert np.array_equal(*rows)
    assert len(here) == len(there) == 78
    assert there.verify() == 0
    assert [each.name for each in there.path.parent.iterdir() if each.name.startswith(".headstart")] == []


def test_the_shard_of_a_killed_worker_is_computed_again(images: Manifest, tmp_path: Path, cluster: Cluster) -> None:
    table = table_of(tmp_path / "store")
    extract(images, table, Sums(tmp_path / "killed", "kill"), cluster)
    assert (tmp_path / "killed").exists()
    readable = [str(images.hashes[row]) for row in range(40) if row != 7]
    assert table.missing_views(readable, (0, -1)) == {}
    assert len(table) == 78  # no row twice


def test_a_worker_without_a_core_holds_nothing_up(images: Manifest, tmp_path: Path, cluster: Cluster) -> None:
    # As one whose machine was lost: it has a shard, and waits for a place.
    import ray

    class Other:
        def is_there(self) -> bool:
            return True

    other = ray.remote(num_cpus=1)(Other).remote()
    assert ray.get(other.is_there.remote())
    table = table_of(tmp_path / "store")
    try:
        extract(images, table, Sums(), cluster)
    finally:
        ray.kill(other)
    assert len(table) == 78


def test_without_a_machine_for_its_workers_a_command_ends(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    import ray

    monkeypatch.setattr("headstart.execution.cluster_watch._WITHOUT_MACHINES", 0.0)
    ClusterWatch(ray, cluster.workers or 0).look()
    with pytest.raises(ClusterError, match=r"no machine of the cluster has had 3 cores .* the same command goes on"):
        ClusterWatch(ray, 3).look()


def test_without_the_head_node_a_command_ends_before_ray_ends_it(
    images: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    for name, seconds in (("cluster_watch._WITHOUT_HEAD", 0.5), ("cluster_watch._SECONDS", 0.5)):
        monkeypatch.setattr(f"headstart.execution.{name}", seconds)
    monkeypatch.setattr("headstart.execution.workers.SECONDS_PER_LOOK", 0.3)
    monkeypatch.setattr("headstart.execution.cluster_watch.socket.create_connection", fail)
    with pytest.raises(ClusterError, match=r"head node of the cluster has not answered .* the same command goes on"):
        extract(images, table_of(tmp_path / "store"), Sums(fail="wait"), cluster)


def test_what_was_committed_is_not_computed_again(images: Manifest, tmp_path: Path, cluster: Cluster) -> None:
    table = table_of(tmp_path / "store")
    extract(images.select(range(20)), table, Sums(), cluster)
    before = len(table)
    told: list[int] = []

    class Counting(Events):
        """Counts what is computed."""

    events = Counting(lambda event: told.append(event.total) if hasattr(event, "total") else None)
    extract_features(
        images, table, SPEC, open_engine=Sums(), batch_size=4, max_pixels=10**6, cluster=cluster, events=events
    )
    assert before == 38
    assert told[0] == 21  # twenty others, and the one that could not be read


def test_an_error_of_a_worker_is_told_as_it_is(images: Manifest, tmp_path: Path, cluster: Cluster) -> None:
    with pytest.raises(StoreError, match="finite"):
        extract(images, table_of(tmp_path / "store"), Sums(fail="nan"), cluster)
    with pytest.raises(ModelError, match="no such engine"):
        extract(images, table_of(tmp_path / "store"), Sums(fail="open"), cluster)


def test_a_network_gives_the_same_bits(tmp_path: Path, cluster: Cluster) -> None:
    assert cluster == parse_cluster("local:2")
    rng = np.random.default_rng(1)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / f"{number}.png")
    images = inspect_all(Manifest.from_rows(sorted(tmp_path.glob("*.png"))))
    found = []
    for where in (None, "local:2"):
        settings = FitSettings.of(weights="random", cache_dir=str(tmp_path / str(where)), cluster=where)
        extractor = open_candidate("test_resnet", settings, classes=2, events=Events()).extractor
        assert extractor.compute(images, events=Events()) == []
        found.append(extractor.table.rows([str(each) for each in images.hashes]).take(np.arange(12)))
    assert np.array_equal(*found)


def test_a_fit_is_that_of_one_machine(red_and_blue: Path, tmp_path: Path, cluster: Cluster) -> None:
    assert cluster == parse_cluster("local:2")
    found = []
    for where in (None, "local:2"):
        settings = FitSettings.of(
            model="test_resnet", weights="random", train="head", cluster=where, cache_dir=str(tmp_path / str(where))
        )
        found.append(fit(read_images(red_and_blue), settings))
    one, other = found
    assert np.array_equal(one.probabilities, other.probabilities)
    assert one.evaluation.log_loss == other.evaluation.log_loss


def test_images_in_memory_are_refused(tmp_path: Path) -> None:
    images = inspect_all(Manifest.from_arrays([np.zeros((9, 9, 3), np.uint8)]))
    with pytest.raises(SettingsError, match="write them to files"):
        extract(images, table_of(tmp_path / "store"), Sums(), TWO)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.extras.find_spec", lambda _: None)
    with (
        pytest.raises(SettingsError, match=r'--cluster needs ray: run "pip install headstart\[ray\]"'),
        TWO.connected(),
    ):
        pass


@pytest.mark.parametrize("value", ["local", "local:0", "here", "ray://", "http://a:1", "a b:1"])
def test_other_values_are_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"cluster must be auto, local:N, ray://HOST:PORT or HOST:PORT"):
        FitSettings.of(cluster=value)


def test_no_cluster_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with (
        pytest.raises(ClusterError, match=r"--cluster ray://127\.0\.0\.1:1: cannot connect"),
        Cluster("ray://127.0.0.1:1").connected(),
    ):
        pass
