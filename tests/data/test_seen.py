"""Files that were inspected before: not read again, unless anything about them has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from headstart.data import seen as module
from headstart.data.checkup import inspect_all
from headstart.data.decode import inspect
from headstart.data.manifest import Manifest
from headstart.data.seen import Seen, stamp
from headstart.progress import Progress

Photo = Callable[..., Path]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this very moment count as old ones; a test cannot set back when an entry changed."""
    monkeypatch.setattr(module, "_SETTLED", -(10**12))


class Reads(Progress):
    """How many files are read."""

    def __init__(self) -> None:
        self.files = 0

    def stage(self, name: str, *, total: int, unit: str = "image"):  # type: ignore[no-untyped-def]
        self.files += total
        return super().stage(name, total=total, unit=unit)


def read(paths: list[Path], place: Path, **options: int) -> tuple[Manifest, int]:
    """The manifest, and how many files it took to read."""
    progress = Reads()
    found = inspect_all(Manifest.from_rows(paths), seen=Seen(place), progress=progress, **options)
    return found, progress.files


@pytest.mark.usefixtures("settled")
def test_what_has_not_changed_is_not_read_again(photo: Photo, tmp_path: Path) -> None:
    paths, place = [photo(f"{i}.jpg", i, (i + 1, 9)) for i in range(5)], tmp_path / "seen.parquet"
    first, files = read(paths, place)
    assert files == 5
    more = photo("more.jpg", 9)
    again, files = read([more, *paths[::-1]], place)
    assert files == 1
    assert again.select(range(5, 0, -1)).table.equals(first.table)
    assert again.hashes[0] == inspect(more).hash
    assert read([more, *paths], place)[1] == 0


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_change_is_seen_also_where_size_and_time_are_put_back(photo: Photo, tmp_path: Path, how: str) -> None:
    path, place = photo("a.bmp", 1), tmp_path / "seen.parquet"
    read([path], place)
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 255
    if how == "in place":
        path.write_bytes(content)
    else:
        (tmp_path / "other").write_bytes(content)
        (tmp_path / "other").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    found, files = read([path], place)
    assert (found.hashes, files) == ([inspect(path).hash], 1)


@pytest.mark.usefixtures("settled")
def test_a_file_that_is_gone_is_a_problem(photo: Photo, tmp_path: Path) -> None:
    path, place = photo("a.jpg", 1), tmp_path / "seen.parquet"
    read([path], place)
    path.unlink()
    found, _ = read([path], place)
    assert found.problems == ["no such file"]


@pytest.mark.usefixtures("settled")
def test_what_cannot_be_used_is_looked_at_again(photo: Photo, tmp_path: Path) -> None:
    bad, place = tmp_path / "bad.jpg", tmp_path / "seen.parquet"
    bad.write_bytes(b"nothing")
    paths = [bad, photo("a.jpg", 1, (30, 20))]
    assert read(paths, place)[1] == 2
    assert read(paths, place)[1] == 1
    found, files = read(paths, place, max_pixels=599)
    assert files == 2
    assert found.problems[1] == "30x20 is more than the 599 pixels allowed (--max-pixels)"
    assert len(Seen(place)) == 1


def test_a_file_that_changed_just_now_is_not_kept(photo: Photo, tmp_path: Path) -> None:
    path, place = photo("a.jpg", 1), tmp_path / "seen.parquet"
    read([path], place)
    assert len(Seen(place)) == 0
    mark = stamp(path)
    assert mark is not None
    last = max(mark.modified, mark.changed)
    assert not mark.settled(last + 2_000_000_000)
    assert mark.settled(last + 2_000_000_001)


@pytest.mark.usefixtures("settled")
def test_a_damaged_file_or_one_of_another_version_is_as_none(photo: Photo, tmp_path: Path) -> None:
    path, place = photo("a.jpg", 1), tmp_path / "seen.parquet"
    read([path], place)
    table = pq.ParquetFile(place).read()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"pillow": b"1.0"}), place)
    assert len(Seen(place)) == 0
    place.write_bytes(b"PAR1")
    assert read([path], place)[1] == 1
    assert read([path], place)[1] == 0


@pytest.mark.usefixtures("settled")
def test_that_it_cannot_be_kept_is_no_error(photo: Photo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found, _ = read([photo("a.jpg", 1)], tmp_path / "file" / "seen.parquet")
    assert found.problems == [None]
