from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.data.decode import content_hash, decode
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources import FoundImage, ImageReference, ImageSource, Stamp
from headstart.data.spec import InputSpec
from headstart.data.transforms import FLIPPED_VIEW, evaluation_view, make_view
from headstart.data.views import Views, read_views

SPEC = InputSpec(height=16, width=16)


class Watched(Manifest):
    """Counts how often an image is read; reading may take a random time."""

    reads = 0
    delay = 0.0

    def source(self, row: int) -> ImageReference:
        image = super().source(row)
        return ImageReference(image.uri, WatchedSource(image.source, self))


@dataclass(frozen=True)
class WatchedSource:
    """Reads from another source, in the thread that decodes."""

    inner: ImageSource
    manifest: Watched
    scheme: str = "watched"

    def list(self, root: str) -> Iterable[FoundImage]:
        return self.inner.list(root)

    def open(self, uri: str) -> bytes | np.ndarray[Any, Any]:
        time.sleep(random.random() * self.manifest.delay)
        self.manifest.reads += 1
        return self.inner.open(uri)

    def stamp(self, uri: str) -> Stamp | None:
        return self.inner.stamp(uri)


def gray(count: int) -> Watched:
    """Images in memory, each of one shade that identifies it."""
    manifest = Manifest.from_arrays([np.full((16, 16), number, np.uint8) for number in range(count)])
    return Watched(manifest.table, manifest.arrays)


def read(manifest: Manifest, rows: Sequence[int], **options: Any) -> Any:
    return read_views(manifest, rows, SPEC, **{"batch_size": 4, "max_pixels": 10_000, **options})


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("headstart-worker")]


@pytest.mark.parametrize("workers", [1, 2, 32])
@pytest.mark.parametrize("batch", [1, 3, 8, 64, 500])
def test_all_views_are_yielded_in_order_in_full_batches(workers: int, batch: int) -> None:
    manifest = gray(200)
    manifest.delay = 0.0005
    rows = np.random.default_rng(0).permutation(200).tolist()
    got = list(read(manifest, rows, batch_size=batch, workers=workers))
    assert [len(views.rows) for views in got[:-1]] == [batch] * (len(got) - 1)
    assert [row for views in got for row in views.rows] == rows
    assert [int(image[0, 0, 0]) for views in got for image in views.images] == rows
    assert not threads()


def test_no_rows_yield_no_batches() -> None:
    assert list(read(gray(3), [])) == []


def test_pixels_are_those_of_the_evaluation_view(pictures: Callable[..., list[Path]]) -> None:
    paths = pictures(5)
    (views,) = read(Manifest.from_rows(paths), range(5), batch_size=8)
    for path, image in zip(paths, views.images, strict=True):
        assert np.array_equal(image, evaluation_view(decode(path), SPEC))


@pytest.mark.parametrize("inspect", [True, False])
def test_each_image_is_read_once_for_all_of_its_views(pictures: Callable[..., list[Path]], inspect: bool) -> None:
    paths = pictures(11)
    manifest = inspect_all(Manifest.from_rows(paths)) if inspect else Manifest.from_rows(paths)
    watched = Watched(manifest.table)
    numbers = (0, 1, FLIPPED_VIEW, 2, 7)
    got = list(read(watched, range(11), views=numbers))
    assert watched.reads == 11
    assert [len(views.images) for views in got] == [4] * 13 + [3]  # batches count views
    assert [row for views in got for row in views.rows] == [row for row in range(11) for _ in numbers]
    assert [number for views in got for number in views.numbers] == [*numbers] * 11
    images = [image for views in got for image in views.images]
    for path, start in zip(paths, range(0, 55, 5), strict=True):
        for number, image in zip(numbers, images[start : start + 5], strict=True):
            assert np.array_equal(image, make_view(decode(path), SPEC, number, content_hash(path.read_bytes())))


def test_views_may_differ_between_rows() -> None:
    requested = {row: [0, 1, 2, 3][: 1 + row % 4] for row in range(40)}
    got = list(read(gray(40), range(40), batch_size=7, workers=3, views=requested))
    pairs = [pair for views in got for pair in zip(views.rows, views.numbers, strict=True)]
    assert pairs == [(row, number) for row, numbers in requested.items() for number in numbers]
    assert [len(views.images) for views in got] == [7] * 14 + [2]


def test_unreadable_image_is_one_problem_for_all_of_its_views(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([tmp_path / "gone.png"])
    assert list(read(manifest, [0], views=(0, 1, 2))) == [Views(problems=[(0, "no such file")])]


@pytest.mark.parametrize("numbers", [(0, 1, 2, 3, 4), range(20)])
def test_memory_stays_flat_with_many_views(numbers: Sequence[int]) -> None:
    manifest, workers, batch, taken = gray(120), 2, 10, 0
    for views in read(manifest, range(120), batch_size=batch, workers=workers, views=numbers):
        time.sleep(0.001)
        taken += len(views.rows)
        chunk = len(numbers)  # of one image: two would be more than eight views
        assert manifest.reads * chunk - taken <= batch + chunk * (workers + 2 * -(-batch // chunk) + 1)
    assert taken == 120 * len(numbers)


@pytest.mark.parametrize("batch", [1, 5, 8, 50])
def test_memory_stays_flat(batch: int) -> None:
    """A slow consumer does not make all images wait in memory."""
    manifest, workers, taken = gray(250), 2, 0
    for views in read(manifest, range(250), batch_size=batch, workers=workers):
        time.sleep(0.001)
        taken += len(views.rows)
        chunks_ahead = workers + 2 * -(-batch // 8)
        assert manifest.reads - taken <= batch + 8 * (chunks_ahead + 1)
    assert taken == 250


@pytest.mark.parametrize("how", ["close", "forget", "raise"])
def test_stopping_early_leaves_no_thread(how: str) -> None:
    manifest = gray(250)
    manifest.delay = 0.002
    views = read(manifest, range(250), workers=4)
    next(views)
    assert threads()
    if how == "close":
        views.close()
    elif how == "forget":
        del views
    else:
        with pytest.raises(KeyboardInterrupt):
            views.throw(KeyboardInterrupt)
    assert not threads()
    assert manifest.reads < 200


def test_unreadable_images_become_problems(pictures: Callable[..., list[Path]], tmp_path: Path) -> None:
    paths = pictures(12)
    paths[0].write_bytes(b"")
    paths[5].write_bytes(paths[5].read_bytes()[:200])
    paths[11].unlink()
    got = list(read(Manifest.from_rows(paths), range(12)))
    assert [row for views in got for row in views.rows] == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert sorted(problem for views in got for problem in views.problems) == [
        (0, "empty file"),
        (5, "truncated: the file ends before the image does"),
        (11, "no such file"),
    ]


def test_only_problems(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([tmp_path / f"{number}.png" for number in range(20)])
    (views,) = read(manifest, range(20))
    assert views == Views(problems=[(row, "no such file") for row in range(20)])


def test_image_with_too_many_pixels(pictures: Callable[..., list[Path]]) -> None:
    (views,) = read(Manifest.from_rows(pictures(1)), [0], max_pixels=1000)
    assert views.problems == [(0, "48x40 is more than the 1,000 pixels allowed (--max-pixels)")]


def test_processes_yield_the_same_as_threads(pictures: Callable[..., list[Path]], tmp_path: Path) -> None:
    manifest = inspect_all(Manifest.from_rows([*pictures(21), tmp_path / "gone.png"]))
    (tmp_path / "gone.png").write_bytes(b"")
    options: dict[str, Any] = {"views": (0, FLIPPED_VIEW, 1), "workers": 2}
    there, here = (list(read(manifest, range(22), kind=kind, **options)) for kind in ("processes", "threads"))
    for one, other in zip(there, here, strict=True):
        assert (one.rows, one.numbers) == (other.rows, other.numbers)
        assert np.array_equal(one.images, other.images)
    assert sorted(each for views in there for each in views.problems) == [(21, "empty file")]


def test_content_must_match_the_inspected_hash(pictures: Callable[..., list[Path]]) -> None:
    paths = pictures(3)
    manifest = inspect_all(Manifest.from_rows(paths))
    paths[1].write_bytes(paths[0].read_bytes())
    (views,) = read(manifest, range(3))
    assert (views.rows, views.problems) == ([0, 2], [(1, "it changed after it was inspected")])


def test_error_that_does_not_concern_one_image_stops_reading() -> None:
    manifest = Manifest(gray(20).table)  # as read from a file: the arrays are gone
    with pytest.raises(Exception, match=r"^array:0 was an array in memory, which a manifest does not save"):
        list(read(manifest, range(20)))
    assert not threads()
