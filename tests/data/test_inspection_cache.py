"""Images that were inspected before are not read again, unless anything about them has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from headstart.data.decode import inspect
from headstart.data.inspection import inspect_all
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.data.sources import Stamp, base
from headstart.events import Event, Events, StageBegun

Photo = Callable[..., Path]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this moment count as old; a test cannot set the time of the last status change."""
    monkeypatch.setattr(base, "_SETTLED", -(10**12))


class CountReads(Events):
    """Counts the files that are read."""

    def __init__(self) -> None:
        super().__init__(self.receive)
        self.files = 0

    def receive(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            self.files += event.total


def read(paths: list[Path], cache: Path, **options: int) -> tuple[Manifest, int]:
    """The inspected manifest, and the number of files that were read."""
    events = CountReads()
    found = inspect_all(Manifest.from_rows(paths), cache=InspectionCache(cache), events=events, **options)
    return found, events.files


@pytest.mark.usefixtures("settled")
def test_unchanged_files_are_not_read_again(photo: Photo, tmp_path: Path) -> None:
    paths, cache = [photo(f"{i}.jpg", i, (i + 1, 9)) for i in range(5)], tmp_path / "cache.parquet"
    first, files = read(paths, cache)
    assert files == 5
    more = photo("more.jpg", 9)
    again, files = read([more, *paths[::-1]], cache)
    assert files == 1
    assert again.select(range(5, 0, -1)).table.equals(first.table)
    assert again.hashes[0] == inspect(more).hash
    assert read([more, *paths], cache)[1] == 0


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_change_is_detected_even_if_size_and_time_are_restored(photo: Photo, tmp_path: Path, how: str) -> None:
    path, cache = photo("a.bmp", 1), tmp_path / "cache.parquet"
    read([path], cache)
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 255
    if how == "in place":
        path.write_bytes(content)
    else:
        (tmp_path / "other").write_bytes(content)
        (tmp_path / "other").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    found, files = read([path], cache)
    assert (found.hashes, files) == ([inspect(path).hash], 1)


@pytest.mark.usefixtures("settled")
def test_a_deleted_file_is_a_problem(photo: Photo, tmp_path: Path) -> None:
    path, cache = photo("a.jpg", 1), tmp_path / "cache.parquet"
    read([path], cache)
    path.unlink()
    found, _ = read([path], cache)
    assert found.problems == ["no such file"]


@pytest.mark.usefixtures("settled")
def test_unusable_images_are_inspected_again(photo: Photo, tmp_path: Path) -> None:
    bad, cache = tmp_path / "bad.jpg", tmp_path / "cache.parquet"
    bad.write_bytes(b"nothing")
    paths = [bad, photo("a.jpg", 1, (30, 20))]
    assert read(paths, cache)[1] == 2
    assert read(paths, cache)[1] == 1
    found, files = read(paths, cache, max_pixels=599)
    assert files == 2
    assert found.problems[1] == "30x20 is more than the 599 pixels allowed (--max-pixels)"
    assert len(InspectionCache(cache)) == 1


def test_a_file_that_changed_just_now_is_not_cached(photo: Photo, tmp_path: Path) -> None:
    path, cache = photo("a.jpg", 1), tmp_path / "cache.parquet"
    read([path], cache)
    assert len(InspectionCache(cache)) == 0
    stamp = Stamp.of_file(path)
    assert stamp is not None
    last = max(stamp.modified, stamp.changed)
    assert not stamp.settled(last + 2_000_000_000)
    assert stamp.settled(last + 2_000_000_001)


@pytest.mark.usefixtures("settled")
def test_a_cache_that_is_damaged_or_of_another_version_counts_as_empty(photo: Photo, tmp_path: Path) -> None:
    path, cache = photo("a.jpg", 1), tmp_path / "cache.parquet"
    read([path], cache)
    table = pq.ParquetFile(cache).read()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"pillow": b"1.0"}), cache)
    assert len(InspectionCache(cache)) == 0
    cache.write_bytes(b"PAR1")
    assert read([path], cache)[1] == 1
    assert read([path], cache)[1] == 0


@pytest.mark.usefixtures("settled")
def test_a_cache_that_cannot_be_written_is_no_error(photo: Photo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found, _ = read([photo("a.jpg", 1)], tmp_path / "file" / "cache.parquet")
    assert found.problems == [None]


@pytest.mark.usefixtures("settled")
def test_a_damaged_cache_is_rebuilt_and_never_believed(
    photo: Photo, tmp_path: Path, load_module: Callable[[Path], ModuleType]
) -> None:
    mutations = load_module(Path(__file__).parent.parent / "mutations.py")
    paths, cache = [photo(f"{i}.jpg", i, (i + 1, 9)) for i in range(5)], tmp_path / "cache.parquet"
    first, _ = read(paths, cache)
    for number, data in enumerate(list(mutations.bytes_of(cache, 400))):
        cache.write_bytes(data)
        known = len(InspectionCache(cache))
        assert known in (0, 5)
        found = InspectionCache(cache).find(list(map(str, paths)), [Stamp.of_file(path) for path in paths])
        hashes = [None if each is None else each.hash for each in found]
        assert hashes == (first.hashes if known else [None] * 5)
        if number % 40 == 0:
            again, files = read(paths, cache)
            assert (again.table.equals(first.table), files) == (True, 5 - known)
            assert read(paths, cache)[1] == 0


@pytest.mark.usefixtures("settled")
def test_a_row_that_proves_wrong_is_forgotten(photo: Photo, tmp_path: Path) -> None:
    paths, cache = [photo(f"{i}.jpg", i) for i in range(3)], tmp_path / "cache.parquet"
    read(paths, cache)
    InspectionCache(cache).forget([str(paths[1]), "/another.jpg"])
    assert len(InspectionCache(cache)) == 2
    found, files = read(paths, cache)
    assert (found.hashes[1], files) == (inspect(paths[1]).hash, 1)
