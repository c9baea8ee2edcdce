"""Features at an address: a local server of S3's protocol that runs here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.config import FitSettings
from headstart.data.sources import remote
from headstart.data.sources.read import read_images
from headstart.data.spec import InputSpec
from headstart.errors import SettingsError, StoreError
from headstart.features.key import FeatureSpace
from headstart.features.location import feature_location
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.workflow.cache import list_tables, prune, verify_tables
from headstart.workflow.fit import fit
from headstart.workflow.neighbors import read_stored_images
from headstart.workflow.runs import save_run

SPACE = FeatureSpace("net", "0" * 32, "pool", InputSpec(), "float32", "float32", (3,))
KEYS = [f"{number:032x}" for number in range(40)]
VALUES = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file system of an empty bucket, s3://features."""
    import s3fs

    files = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=s3, use_listings_cache=False)
    files.mkdir("features")
    monkeypatch.setattr(remote, "_SYSTEMS", {})
    s3fs.S3FileSystem.clear_instance_cache()
    yield files
    files.rm("features", recursive=True)


def opened(where: str = "s3://features/mine") -> FeatureTable:
    return FeatureStore(feature_location(feature_store=where)).table(SPACE)


def test_a_table_at_an_address_is_that_of_a_folder(bucket: Any, tmp_path: Path) -> None:
    for table in (opened(), opened(str(tmp_path))):
        table.append(KEYS[:10], VALUES[:10])
        table.append(KEYS[:4], -VALUES[:4], view=1)
        fragments = [table.write_fragments(KEYS[at : at + 10], VALUES[at : at + 10])[0] for at in (10, 20)]
        assert len(table) == 14
        table.commit(fragments)
        assert len(table) == 34
        assert table.missing(KEYS) == KEYS[30:]
        assert table.missing_views(KEYS[:6], (0, 1)) == {KEYS[4]: [1], KEYS[5]: [1]}
        assert np.array_equal(table.rows(KEYS[:30][::-1]).take(np.arange(30)), VALUES[:30][::-1])
        assert np.array_equal(table.rows(KEYS[:4], view=1).take([3, 0]), -VALUES[[3, 0]])
        assert table.verify() == 0
        assert table.bytes > 34 * 12
    assert {each.split("/")[2] for each in bucket.find("features/mine")} == {f"{SPACE.key}.lance", f"{SPACE.key}.json"}


def test_several_writers_at_an_address(bucket: Any) -> None:
    opened()

    def write(at: int) -> None:
        opened().append(KEYS[at : at + 4], VALUES[at : at + 4])

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(write, range(0, 40, 4)))
    assert len(opened()) == 40
    assert np.array_equal(opened().rows(KEYS).take(np.arange(40)), VALUES)
    assert len(bucket.find("features/mine")) > 10


def test_what_is_not_needed_is_pruned_at_an_address(bucket: Any) -> None:
    table = opened()
    for _ in range(2):
        table.append(KEYS, VALUES)
    place = "s3://features/mine"
    assert len(table) == 80
    text = prune(None, model=None, everything=False, feature_store=place)
    assert text.startswith(f"{place}: ")
    assert text.endswith("another process may use it, so that what it may need was kept")
    assert len(opened()) == 40  # each row once
    assert np.array_equal(opened().rows(KEYS).take(np.arange(40)), VALUES)
    assert list(verify_tables(None, place)) == [f"{SPACE.key[:8]}  net at pool (3,) float32  40 rows, 0 corrupt"]
    prune(None, model="net", everything=False, feature_store=place)
    assert list(list_tables(None, place)) == [f"{place}: 0 feature tables, 0.0 MB"]
    assert [each for each in bucket.find("features/mine") if bucket.isfile(each)] == []


def test_a_removal_that_was_interrupted_leaves_no_rows(bucket: Any) -> None:
    table = opened()
    table.append(KEYS, VALUES)
    bucket.rm(f"features/mine/{SPACE.key}.lance/_versions", recursive=True)  # which goes first
    assert len(opened()) == 0
    opened().append(KEYS[:5], VALUES[:5])
    assert opened().missing(KEYS) == KEYS[5:]


def test_a_damaged_description_is_written_anew(bucket: Any) -> None:
    opened().append(KEYS, VALUES)
    bucket.pipe(f"features/mine/{SPACE.key}.json", b"{")
    with pytest.raises(StoreError, match="contains damaged descriptions"):
        list(verify_tables(None, "s3://features/mine"))
    assert len(opened()) == 40
    assert [str(each.path) for each in FeatureStore(feature_location(feature_store="s3://features/mine")).tables()] == [
        f"s3://features/mine/{SPACE.key}.lance"
    ]


def test_a_fit_with_features_at_an_address(bucket: Any, red_and_blue: Path, tmp_path: Path) -> None:
    """And images there, with the workers of a cluster, which have no folder in common."""
    bucket.put(str(red_and_blue), "features/photos", recursive=True)
    same = {"model": "test_resnet", "weights": "random", "train": "head"}
    here = fit(read_images(red_and_blue), FitSettings.of(**same, cache_dir=str(tmp_path / "here")))
    there = {"cluster": "local:2", "cache_dir": str(tmp_path / "there"), "feature_store": "s3://features/of/fits"}
    result = fit(read_images("s3://features/photos"), FitSettings.of(**same, **there))
    assert result.evaluation.log_loss == here.evaluation.log_loss
    assert np.array_equal(np.sort(result.probabilities, 0), np.sort(here.probabilities, 0))
    assert not (tmp_path / "there" / "features").exists()
    before = bucket.find("features/of/fits")
    fit(read_images("s3://features/photos"), FitSettings.of(**same, **there))
    assert bucket.find("features/of/fits") == before  # nothing was computed, no cluster was needed
    save_run(result, tmp_path / "run")
    stored = read_stored_images(tmp_path / "run", result.classifier, ("train",))
    assert stored.total == len(stored.uris) == 24


def test_addresses_that_cannot_be_used(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"The specified bucket does not exist\); check"):
        opened("s3://not-there/mine")
    assert bucket.exists("features")
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(
        SettingsError, match=r'--feature-store s3://features/mine: .*run pip install "headstart\[remote]"'
    ):
        opened()


def test_without_credentials(bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert bucket.exists("features")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(StoreError, match=r"^s3://features/mine.*credentials"):
        opened()
    with pytest.raises(StoreError, match=r"^s3://features/mine.*credentials"):
        list(list_tables(None, "s3://features/mine"))


@pytest.mark.parametrize("value", ["s3://bucket", "s3://bucket/", "https://a/b", "s3:///a", ""])
def test_other_places_are_refused(value: str) -> None:
    with pytest.raises(
        SettingsError, match=r"feature_store must be a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
    ):
        FitSettings.of(feature_store=value)
