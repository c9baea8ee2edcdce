from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pytest

from headstart import paths
from headstart.data.spec import InputSpec
from headstart.errors import StoreError
from headstart.features.key import FeatureSpace
from headstart.features.store import FeatureStore
from headstart.workflow.cache import list_tables, prune, verify_tables
from headstart.workflow.fit import FitResult

Photos = Callable[..., Path]
Fit = Callable[..., FitResult]


@pytest.fixture
def cache_dir(photos: Photos, fitted: Fit, tmp_path: Path) -> str:
    folder = photos(red=4, green=4)
    fitted(folder)
    fitted(folder, model="test_efficientnet")
    return str(tmp_path / "store")


def test_list_tables(cache_dir: str, tmp_path: Path) -> None:
    head, *lines = list_tables(cache_dir)
    assert head.startswith(f"{paths.features(cache_dir)}: 2 feature tables, ")
    assert sorted(line.split()[1] for line in lines) == ["test_efficientnet", "test_resnet"]
    assert all("8 rows" in line for line in lines)
    other = str(tmp_path / "none")
    assert list(list_tables(other)) == [f"{paths.features(other)}: 0 feature tables, 0.0 MB"]


def test_verify_an_intact_store(cache_dir: str) -> None:
    assert all(line.endswith("8 rows, 0 corrupt") for line in verify_tables(cache_dir))


def test_verify_reports_all_tables_before_it_raises(cache_dir: str) -> None:
    store = paths.features(cache_dir)
    (first,), (second,) = (sorted(table.glob("data/*")) for table in sorted(store.glob("*.lance")))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    second.write_bytes(second.read_bytes()[:100])
    lines: list[str] = []
    with pytest.raises(StoreError) as caught:
        lines.extend(verify_tables(cache_dir))
    assert str(caught.value) == (
        f"{store}: contains corrupt rows; headstart cache prune --model NAME removes the rows of a model"
    )
    # A list extended by a failing generator keeps the earlier elements.
    assert len(lines) == 2
    assert lines[0].endswith("8 rows, 1 corrupt")
    assert ": a file is damaged (" in lines[1]


def test_prune_one_model_or_everything(cache_dir: str) -> None:
    root, store = paths.root(cache_dir), paths.features(cache_dir)
    assert prune(cache_dir, model=None, everything=False).startswith(f"{root}: ")
    assert len(list(list_tables(cache_dir))) == 3
    assert prune(cache_dir, model="test_resnet", everything=False).endswith(" MB kept")
    assert [line.split()[1] for line in list(list_tables(cache_dir))[1:]] == ["test_efficientnet"]
    paths.prepared(cache_dir).mkdir()
    (paths.prepared(cache_dir) / "one.xml").write_bytes(bytes(10**6))
    for file in (paths.inspections, paths.pixel_statistics, paths.gray_thumbnails):
        file(cache_dir).write_bytes(bytes(10**6))
    (root / "weights").mkdir()
    (root / "weights" / "mine.safetensors").write_bytes(bytes(10**6))
    assert prune(cache_dir, model=None, everything=True).endswith(", 0.0 MB kept")
    assert {path.name for path in root.iterdir()} == {"features", "weights"}
    assert list(store.iterdir()) == []
    assert [path.name for path in (root / "weights").iterdir()] == ["mine.safetensors"]


def test_what_killed_runs_left_is_removed(cache_dir: str, tmp_path: Path) -> None:
    root, store = paths.root(cache_dir), paths.features(cache_dir)
    tables = sorted(store.glob("*.lance"))
    (store / ".half.json").write_text("{")  # hidden: no description of a table
    half = store / "0123.lance"  # killed after the data, before the description
    shutil.copytree(tables[0], half)
    (store / ".removed" / "part").mkdir(parents=True)
    for folder in (root, store, paths.prepared(cache_dir), paths.imported(cache_dir)):
        (folder / ".headstart-abc").mkdir(parents=True)
        (folder / ".headstart-abc" / "inspections.parquet").write_bytes(bytes(10**6))
    old = paths.prepared(cache_dir) / "network.bin"
    old.write_bytes(bytes(10**6))
    os.utime(old, (0, 0))
    assert len(list(list_tables(cache_dir))) == 3
    assert len(list(verify_tables(cache_dir))) == 2
    freed = prune(cache_dir, model=None, everything=False)
    assert float(freed.partition(": ")[2].split()[0]) >= 3
    assert sorted(store.glob("*.lance")) == tables
    assert not half.exists()
    assert not old.exists()
    assert [*root.rglob(".headstart-*"), *store.glob(".removed")] == []
    assert len(list(verify_tables(cache_dir))) == 2


def test_everything_is_removed_whatever_is_damaged(cache_dir: str) -> None:
    store = paths.features(cache_dir)
    first, second = sorted(store.glob("*.json"))
    first.write_text("{")
    second.unlink()
    prune(cache_dir, model=None, everything=True)
    assert list(store.iterdir()) == []


def test_a_store_that_is_in_use_keeps_what_its_user_may_need(cache_dir: str) -> None:
    store = paths.features(cache_dir)
    code = (
        "import sys; from pathlib import Path; from headstart.features.usage import use; "
        "use(Path(sys.argv[1])); print('using', flush=True); sys.stdin.read()"
    )
    versions = [len(lance.dataset(str(path)).versions()) for path in sorted(store.glob("*.lance"))]
    with subprocess.Popen([sys.executable, "-c", code, store], stdin=-1, stdout=-1, text=True) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "using\n"
        assert prune(cache_dir, model=None, everything=False).endswith(
            " MB kept; another process uses it, so that what it may need was kept"
        )
        assert [len(lance.dataset(str(path)).versions()) for path in sorted(store.glob("*.lance"))] == versions
        user.communicate()
    assert prune(cache_dir, model=None, everything=False).endswith(" MB kept")
    assert [len(lance.dataset(str(path)).versions()) for path in sorted(store.glob("*.lance"))] == [1, 1]


SPACE = FeatureSpace("net", "0" * 32, "pool", InputSpec(), "float32", "float16", (2000,))


def test_prune_on_a_full_disk_removes_what_needs_no_space(small_disk: Path, fill_disk: Callable[[Path], Path]) -> None:
    cache_dir = str(small_disk)
    table = FeatureStore(paths.features(cache_dir)).table(SPACE)
    images = [f"{number:032x}" for number in range(100)]
    for start in range(0, 100, 10):
        table.append(images[start : start + 10], np.full((10, 2000), start, np.float32))
    table.append(images[:10], np.zeros((10, 2000), np.float32))  # duplicates
    filler = fill_disk(small_disk)
    text = prune(cache_dir, model=None, everything=False)
    assert text.endswith("; the disk is full: for removing duplicate rows, free some space and prune again")
    assert table.rows(images).take(range(100)).shape == (100, 2000)
    filler.unlink()
    lance.dataset(str(table.path)).optimize.compact_files()  # the data are there twice: joined, and in older versions
    fill_disk(small_disk)
    text = prune(cache_dir, model=None, everything=False)
    assert float(text.partition(": ")[2].split()[0]) > 0.3
    filler.unlink()
    assert "the disk is full" not in prune(cache_dir, model=None, everything=False)
    assert (len(table), table.verify()) == (100, 0)


def test_a_damaged_description_is_listed_and_fails_the_verification(cache_dir: str) -> None:
    folder = paths.features(cache_dir)
    damaged, _ = sorted(folder.glob("*.json"))
    damaged.write_text("{")
    head, whole, broken = list_tables(cache_dir)
    assert head.startswith(f"{folder}: 1 feature tables, ")
    assert "8 rows" in whole
    assert broken.startswith(f"{damaged}: cannot be read (")
    with pytest.raises(StoreError, match="contains damaged descriptions of tables; headstart cache prune removes"):
        list(verify_tables(cache_dir))
    prune(cache_dir, model=None, everything=False)
    (line,) = verify_tables(cache_dir)
    assert line.endswith("8 rows, 0 corrupt")


def test_everything_is_removed_from_a_full_disk(small_disk: Path, fill_disk: Callable[[Path], Path]) -> None:
    cache_dir = str(small_disk)
    FeatureStore(paths.features(cache_dir)).table(SPACE).append(["ab" * 16], np.ones((1, 2000), np.float32))
    fill_disk(small_disk)
    with pytest.raises(StoreError, match=r"cannot write the feature store \(the disk is full\); free some space, or "):
        FeatureStore(paths.features(cache_dir)).table(replace(SPACE, model="other"))
    assert prune(cache_dir, model=None, everything=True).endswith(", 0.0 MB kept")
    assert list(paths.features(cache_dir).iterdir()) == []
