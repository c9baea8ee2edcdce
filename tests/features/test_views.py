from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.data.checkup import inspect_all
from headstart.data.decode import content_hash, decode
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.transforms import MIRROR, evaluation_view, view
from headstart.data.views import Views, read_views

SPEC = InputSpec(height=16, width=16)


class Watched(Manifest):
    """Counts what is read, and may dawdle."""

    reads = 0
    dawdle = 0.0

    def source(self, row: int) -> Path | np.ndarray[Any, Any]:
        time.sleep(random.random() * self.dawdle)
        self.reads += 1
        return super().source(row)


def grey(count: int) -> Watched:
    """Pictures in memory, each of one shade by which it is known."""
    manifest = Manifest.from_arrays([np.full((16, 16), number, np.uint8) for number in range(count)])
    return Watched(manifest.table, manifest.arrays)


def read(manifest: Manifest, rows: Sequence[int], **options: Any) -> Any:
    return read_views(manifest, rows, SPEC, **{"batch": 4, "max_pixels": 10_000, **options})


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("headstart-decode")]


@pytest.mark.parametrize("workers", [1, 2, 32])
@pytest.mark.parametrize("batch", [1, 3, 8, 64, 500])
def test_all_come_in_order_in_full_batches(workers: int, batch: int) -> None:
    manifest = grey(200)
    manifest.dawdle = 0.0005
    rows = np.random.default_rng(0).permutation(200).tolist()
    got = list(read(manifest, rows, batch=batch, workers=workers))
    assert [len(views.rows) for views in got[:-1]] == [batch] * (len(got) - 1)
    assert [row for views in got for row in views.rows] == rows
    assert [int(image[0, 0, 0]) for views in got for image in views.images] == rows
    assert not threads()


def test_no_rows_give_no_batches() -> None:
    assert list(read(grey(3), [])) == []


def test_pixels_are_those_of_the_evaluation_view(pictures: Callable[..., list[Path]]) -> None:
    paths = pictures(5)
    (views,) = read(Manifest.from_rows(paths), range(5), batch=8)
    for path, image in zip(paths, views.images, strict=True):
        assert np.array_equal(image, evaluation_view(decode(path), SPEC))


@pytest.mark.parametrize("inspect", [True, False])
def test_each_picture_is_read_once_for_all_its_views(pictures: Callable[..., list[Path]], inspect: bool) -> None:
    paths = pictures(11)
    manifest = inspect_all(Manifest.from_rows(paths)) if inspect else Manifest.from_rows(paths)
    watched = Watched(manifest.table)
    numbers = (0, 1, MIRROR, 2, 7)
    got = list(read(watched, range(11), views=numbers))
    assert watched.reads == 11
    assert [len(views.images) for views in got] == [4] * 13 + [3]  # a batch is of views
    assert [row for views in got for row in views.rows] == [row for row in range(11) for _ in numbers]
    assert [number for views in got for number in views.numbers] == [*numbers] * 11
    images = [image for views in got for image in views.images]
    for path, start in zip(paths, range(0, 55, 5), strict=True):
        for number, image in zip(numbers, images[start : start + 5], strict=True):
            assert np.array_equal(image, view(decode(path), SPEC, number, content_hash(path.read_bytes())))


def test_each_row_may_have_views_of_its_own() -> None:
    asked = {row: [0, 1, 2, 3][: 1 + row % 4] for row in range(40)}
    got = list(read(grey(40), range(40), batch=7, workers=3, views=asked))
    pairs = [pair for views in got for pair in zip(views.rows, views.numbers, strict=True)]
    assert pairs == [(row, number) for row, numbers in asked.items() for number in numbers]
    assert [len(views.images) for views in got] == [7] * 14 + [2]


def test_a_picture_that_cannot_be_read_is_one_problem_whatever_its_views(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([tmp_path / "gone.png"])
    assert list(read(manifest, [0], views=(0, 1, 2))) == [Views(problems=[(0, "no such file")])]


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 4), range(20)])
def test_memory_stays_flat_with_many_views(numbers: Sequence[int]) -> None:
    manifest, workers, batch, taken = grey(120), 2, 10, 0
    for views in read(manifest, range(120), batch=batch, workers=workers, views=numbers):
        time.sleep(0.001)
        taken += len(views.rows)
        chunk = len(numbers)  # one picture's: two would be more than eight views
        assert manifest.reads * chunk - taken <= batch + chunk * (workers + 2 * -(-batch // chunk) + 1)
    assert taken == 120 * len(numbers)


@pytest.mark.parametrize("batch", [1, 5, 8, 50])
def test_memory_stays_flat(batch: int) -> None:
    """Whoever is slow to compute does not find all images waiting."""
    manifest, workers, taken = grey(250), 2, 0
    for views in read(manifest, range(250), batch=batch, workers=workers):
        time.sleep(0.001)
        taken += len(views.rows)
        chunks_ahead = workers + 2 * -(-batch // 8)
        assert manifest.reads - taken <= batch + 8 * (chunks_ahead + 1)
    assert taken == 250


@pytest.mark.parametrize("leave", ["close", "forget", "raise"])
def test_who_stops_early_leaves_no_thread(leave: str) -> None:
    manifest = grey(250)
    manifest.dawdle = 0.002
    views = read(manifest, range(250), workers=4)
    next(views)
    assert threads()
    if leave == "close":
        views.close()
    elif leave == "forget":
        del views
    else:
        with pytest.raises(KeyboardInterrupt):
            views.throw(KeyboardInterrupt)
    assert not threads()
    assert manifest.reads < 200


def test_what_cannot_be_read_is_told_and_the_others_come(pictures: Callable[..., list[Path]], tmp_path: Path) -> None:
    paths = pictures(12)
    paths[0].write_bytes(b"")
    paths[5].write_bytes(paths[5].read_bytes()[:200])
    paths[11].unlink()
    got = list(read(Manifest.from_rows(paths), range(12)))
    assert [row for views in got for row in views.rows] == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert sorted(problem for views in got for problem in views.problems) == [
        (0, "empty file"),
        (5, "truncated: the file ends before the picture does"),
        (11, "no such file"),
    ]


def test_only_problems(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([tmp_path / f"{number}.png" for number in range(20)])
    (views,) = read(manifest, range(20))
    assert views == Views(problems=[(row, "no such file") for row in range(20)])


def test_a_picture_too_large_is_told(pictures: Callable[..., list[Path]]) -> None:
    (views,) = read(Manifest.from_rows(pictures(1)), [0], max_pixels=1000)
    assert views.problems == [(0, "48x40 is more than the 1,000 pixels allowed (--max-pixels)")]


def test_processes_give_what_threads_give(pictures: Callable[..., list[Path]], tmp_path: Path) -> None:
    manifest = inspect_all(Manifest.from_rows([*pictures(21), tmp_path / "gone.png"]))
    (tmp_path / "gone.png").write_bytes(b"")
    options: dict[str, Any] = {"views": (0, MIRROR, 1), "workers": 2}
    there, here = (list(read(manifest, range(22), kind=kind, **options)) for kind in ("processes", "threads"))
    for one, other in zip(there, here, strict=True):
        assert (one.rows, one.numbers) == (other.rows, other.numbers)
        assert np.array_equal(one.images, other.images)
    assert sorted(each for views in there for each in views.problems) == [(21, "empty file")]


def test_content_must_be_what_was_inspected(pictures: Callable[..., list[Path]]) -> None:
    paths = pictures(3)
    manifest = inspect_all(Manifest.from_rows(paths))
    paths[1].write_bytes(paths[0].read_bytes())
    (views,) = read(manifest, range(3))
    assert (views.rows, views.problems) == ([0, 2], [(1, "it changed after it was inspected")])


def test_an_error_that_is_no_problem_of_an_image_stops_all() -> None:
    manifest = Manifest(grey(20).table)  # as read from a file: the arrays are gone
    with pytest.raises(Exception, match=r"^array:0 was a picture in memory, which a file does not keep"):
        list(read(manifest, range(20)))
    assert not threads()
