from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from headstart.data import inspection, inspection_cache
from headstart.data.decode import inspect
from headstart.data.inspection import check_problem_share, inspect_all
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.errors import DataError, TooManyProblems
from headstart.events import Event, Events, StageAdvanced, StageBegun


class CountStages(Events):
    """Keeps the stages, and how far the last one came."""

    def __init__(self) -> None:
        super().__init__(self.receive)
        self.stages: list[tuple[str, int, str]] = []
        self.done = 0

    def receive(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            self.stages.append((event.name, event.total, event.unit))
        elif isinstance(event, StageAdvanced):
            self.done = event.done


@pytest.mark.parametrize("workers", [None, 1, 5])
def test_every_row_is_filled_in_order(photo: Callable[..., Path], workers: int | None) -> None:
    paths = [photo(f"{i:03}.jpg", i, (i + 1, 9)) for i in range(70)]
    paths[33].write_bytes(b"")
    events = CountStages()
    manifest = inspect_all(Manifest.from_rows(paths), workers=workers, events=events)
    assert manifest.uris == [str(path) for path in paths]
    assert manifest.table["width"].to_pylist() == [None if i == 33 else i + 1 for i in range(70)]
    assert manifest.hashes == [inspect(path).hash for path in paths]
    assert manifest.table["bytes"].to_pylist() == [path.stat().st_size for path in paths]
    assert [i for i, problem in enumerate(manifest.problems) if problem] == [33]
    assert (events.stages, events.done) == ([("checking", 70, "image")], 70)


def test_processes_find_the_same(photo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """As they inspect many small images on a machine with many cores."""
    manifest = Manifest.from_rows([photo(f"{i:03}.jpg", i, (i + 1, 9)) for i in range(70)])
    expected = inspect_all(manifest)
    kinds = []
    monkeypatch.setattr("headstart.data.image_map.default_kind", lambda *_: kinds.append("processes") or kinds[-1])
    assert inspect_all(manifest, workers=2).table == expected.table
    monkeypatch.setattr("headstart.data.image_map._LARGE", 100)
    assert inspect_all(manifest, workers=2).table == expected.table
    assert kinds == ["processes"]  # files that count as large are not theirs


def test_blocks_of_many_images_are_put_together(
    photo: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [photo(f"{i:03}.jpg", i, (i + 1, 9)) for i in range(20)]
    paths[13].write_bytes(b"")
    for path in paths:
        os.utime(path, (1e9, 1e9))
    arrays = Manifest.from_arrays([np.full((4, number), number, np.uint16) for number in range(1, 10)])
    expected = [inspect_all(each).table for each in (Manifest.from_rows(paths), arrays)]
    monkeypatch.setattr("headstart.data.inspection._BLOCK", 6)
    assert inspect_all(Manifest.from_rows(paths)).table == expected[0]
    assert inspect_all(arrays).table == expected[1]
    monkeypatch.setattr("headstart.data.sources.base._SETTLED", 0)
    cache = InspectionCache(tmp_path / "cache.parquet")
    assert [inspect_all(Manifest.from_rows(paths), cache=cache).table for _ in range(2)] == [expected[0]] * 2
    assert len(InspectionCache(tmp_path / "cache.parquet")) == 19
    assert len(inspect_all(Manifest.from_rows([]))) == 0


def test_arrays_are_inspected_too() -> None:
    manifest = inspect_all(Manifest.from_arrays([np.zeros((4, 6), np.uint8), np.zeros((3, 4, 4), np.int8)]))
    assert manifest.table["width"].to_pylist() == [6, None]
    assert manifest.problems[1] == "an array must be of uint8, uint16, bool, or float in [0, 1], got int8"


def test_max_pixels_is_passed_on(photo: Callable[..., Path]) -> None:
    manifest = inspect_all(Manifest.from_rows([photo("a.jpg", 1, (20, 10))]), max_pixels=199)
    assert manifest.problems == ["20x10 is more than the 199 pixels allowed (--max-pixels)"]


def test_an_empty_manifest_has_no_usable_image() -> None:
    manifest = inspect_all(Manifest.from_rows([]))
    with pytest.raises(DataError) as caught:
        check_problem_share(manifest)
    assert str(caught.value) == "none of the 0 images can be used"


def _with_problems(good: int, bad: int) -> Manifest:
    uris = [f"/p/{i}.jpg" for i in range(good + bad)]
    return Manifest.from_rows(uris).with_column("problem", [None] * good + ["empty file"] * bad)


def test_a_share_at_the_limit_is_accepted() -> None:
    check_problem_share(_with_problems(9, 1))
    check_problem_share(_with_problems(1, 99), max_share=0.99)
    check_problem_share(_with_problems(5, 0), max_share=0.0)


def test_too_many_problems_are_listed() -> None:
    with pytest.raises(TooManyProblems) as few:
        check_problem_share(_with_problems(8, 2), max_share=0.1)
    assert str(few.value) == (
        "2 of 10 images cannot be used (20.0%); at most 10.0% are allowed (--max-problems):\n"
        "  /p/8.jpg: empty file\n  /p/9.jpg: empty file"
    )
    with pytest.raises(TooManyProblems) as many:
        check_problem_share(_with_problems(8000, 1021), max_share=0.1)
    lines = str(many.value).splitlines()
    assert lines[0] == "1,021 of 9,021 images cannot be used (11.3%); at most 10.0% are allowed (--max-problems):"
    assert lines[20:] == ["  /p/8019.jpg: empty file", "  and 1,001 more: headstart check PHOTOS lists all of them"]


def test_no_usable_image_at_all() -> None:
    with pytest.raises(DataError) as caught:
        check_problem_share(_with_problems(0, 1), max_share=1.0)
    assert not isinstance(caught.value, TooManyProblems)
    assert str(caught.value) == "none of the 1 images can be used:\n  /p/0.jpg: empty file"


def test_the_cache_is_not_written_after_each_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But when a fifth is new, at the end, and however it ends."""
    for number in range(100):
        Image.fromarray(np.full((9, 9), number, np.uint8)).save(tmp_path / f"{number:03}.png")
        os.utime(tmp_path / f"{number:03}.png", (10**9, 10**9))
    images = Manifest.from_rows(sorted(tmp_path.glob("*.png")))
    written: list[int] = []
    write = inspection_cache.write_parquet

    def count(path: Path, table: pa.Table) -> None:
        written.append(len(table))
        write(path, table)

    monkeypatch.setattr(inspection, "_BLOCK", 2)
    monkeypatch.setattr(inspection_cache, "write_parquet", count)
    monkeypatch.setattr("headstart.data.sources.base._SETTLED", 0)
    path = tmp_path / "cache.parquet"
    inspect_all(images, cache=InspectionCache(path))
    assert written[-1] == len(InspectionCache(path)) == 100
    assert len(written) < 25
    assert all(later >= 1.2 * earlier for earlier, later in itertools.pairwise(written[:-1]))

    path.unlink()
    look = inspection.map_images
    blocks: list[None] = []

    def stop_late(*words: Any, **options: Any) -> Any:
        blocks.append(None)
        if len(blocks) == 48:
            raise KeyboardInterrupt
        return look(*words, **options)

    monkeypatch.setattr(inspection, "map_images", stop_late)
    with pytest.raises(KeyboardInterrupt):
        inspect_all(images, cache=InspectionCache(path))
    assert len(InspectionCache(path)) == 94
