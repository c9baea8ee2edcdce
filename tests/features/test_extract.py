from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headstart.data import transforms
from headstart.data.checkup import inspect_all
from headstart.data.decode import decode
from headstart.data.manifest import Manifest
from headstart.data.transforms import MIRROR
from headstart.errors import StoreError
from headstart.features import extract as module
from headstart.features.store import FeatureStore, Space
from headstart.progress import Progress

if TYPE_CHECKING:
    from conftest import Network

Pictures = Callable[..., list[Path]]
Inspected = Callable[[Sequence[Path]], Manifest]


def features(space: Space, manifest: Manifest, view: int = 0) -> np.ndarray:
    return space.rows([str(each) for each in manifest.hashes], view=view).take(np.arange(len(manifest)))


class Reads(Manifest):
    """Counts how often a picture is read."""

    reads = 0

    def source(self, row: int) -> Path | np.ndarray:
        self.reads += 1
        return super().source(row)


def test_only_what_is_missing_is_computed(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    paths = pictures(10)
    manifest, run = inspected(paths), network.counting()
    assert network.extract(manifest, space, run).problems == [None] * 10
    assert (run.images, run.opened, len(space)) == (10, 1, 10)
    first = features(space, manifest)
    assert (first.dtype, first.shape) == (np.float16, (10, *network.parts.feature_shape))

    network.extract(manifest, space, run)
    assert (run.images, run.opened) == (10, 1)

    paths[3].write_bytes(pictures(1, seed=1)[0].read_bytes())  # other content
    os.utime(paths[4], (0, 0))
    paths[5] = paths[5].rename(paths[5].with_name("renamed.png"))
    changed = inspected(paths)
    network.extract(changed, space, run)
    assert (run.images, len(space)) == (11, 11)
    second = features(space, changed)
    same = np.arange(10) != 3
    assert second[same].tobytes() == first[same].tobytes()
    assert not np.array_equal(second[3], first[3])


def test_manifests_share_the_rows_of_pictures_that_they_share(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    run = network.counting()
    some, others = pictures(6), pictures(5, seed=1)
    network.extract(inspected(some), space, run)
    network.extract(inspected([*others, *some[:3]]), space, run)
    assert (run.images, len(space)) == (11, 11)


def test_the_same_content_is_computed_once(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    paths = pictures(3)
    copies = [path.with_suffix(".copy.png") for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    run = network.counting()
    network.extract(inspected([*paths, *copies]), space, run)
    assert (run.images, len(space)) == (3, 3)


def test_pictures_in_memory_are_known_by_content_too(network: Network, space: Space) -> None:
    arrays = list(np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), np.uint8))
    run = network.counting()
    for given in (arrays, arrays[::-1]):
        network.extract(inspect_all(Manifest.from_arrays(given)), space, run)
    assert (run.images, len(space)) == (5, 5)


def test_features_are_those_of_the_network_whatever_the_batches(
    pictures: Pictures, inspected: Inspected, networks: Sequence[Network], tmp_path: Path
) -> None:
    """Stopped twice and gone on with, so that pictures fall into other batches: the same, bit for bit."""
    manifest = inspected(pictures(14))
    for network in networks:
        one = FeatureStore(tmp_path / "one").space(network.space)
        network.extract(manifest, one, network.counting())
        two = FeatureStore(tmp_path / "two").space(network.space)
        shuffled = manifest.select(np.random.default_rng(0).permutation(14))
        for stop_at in (4, 4, None):
            run = network.counting()
            run.stop_at = stop_at
            try:
                network.extract(shuffled, two, run)
            except KeyboardInterrupt:
                assert run.images == 4
        assert run.images == 6
        assert len(two) == 14
        assert features(one, manifest).tobytes() == features(two, manifest).tobytes()


def test_what_was_computed_before_an_interruption_is_kept(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    manifest, run = inspected(pictures(12)), network.counting()
    run.stop_at = 8
    with pytest.raises(KeyboardInterrupt):
        network.extract(manifest, space, run)
    assert len(space) == 8
    run.stop_at = None
    network.extract(manifest, space, run)
    assert (run.images, len(space)) == (12, 12)


def test_an_interruption_while_a_commit_is_written_does_not_write_it_again(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_A_COMMIT", 0.0)
    append = Space.append

    def interrupted(*given: object, **options: object) -> None:
        append(*given, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    manifest = inspected(pictures(8))
    with monkeypatch.context() as patch:
        patch.setattr(Space, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            network.extract(manifest, space, network.counting())
    assert len(space) == 4
    network.extract(manifest, space, network.counting())
    assert len(space) == 8


def test_many_commits_are_joined(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_A_COMMIT", 0.0)
    manifest = inspected(pictures(20))
    network.extract(manifest, space, network.counting())
    assert space._dataset().count_rows() == 20
    assert len(space._dataset().get_fragments()) == 5  # a commit a batch
    assert space.verify() == 0


def test_a_file_that_changed_after_it_was_inspected(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    paths = pictures(9)
    manifest = inspected(paths)
    paths[2].write_bytes(pictures(1, seed=1)[0].read_bytes())
    paths[5].write_bytes(b"no picture any more")
    paths[7].unlink()
    seen = network.extract(manifest, space, network.counting())
    changed = "it changed after it was inspected"
    assert seen.problems == [None, None, changed, None, None, changed, None, "no such file", None]
    assert seen.hashes == manifest.hashes
    assert len(space) == 6
    assert space.missing([str(each) for each in manifest.hashes]) == [manifest.hashes[row] for row in (2, 5, 7)]
    assert features(space, seen.usable).shape[0] == 6


def test_of_two_copies_of_which_one_changed_the_other_is_read(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    paths = pictures(3)
    copy = paths[0].with_name("z.png")
    copy.write_bytes(paths[0].read_bytes())
    manifest = inspected([*paths, copy])
    paths[0].write_bytes(b"")
    seen = network.extract(manifest, space, network.counting())
    assert seen.problems == ["it changed after it was inspected", None, None, None]
    assert space.missing([str(each) for each in manifest.hashes]) == []


def test_an_array_that_changed_after_it_was_inspected(network: Network, space: Space) -> None:
    arrays = list(np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8))
    manifest = inspect_all(Manifest.from_arrays(arrays))
    arrays[1][:] = 0
    seen = network.extract(manifest, space, network.counting())
    assert seen.problems == [None, "it changed after it was inspected", None]
    assert len(space) == 2


def test_rows_with_a_problem_are_passed_over(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space, tmp_path: Path
) -> None:
    manifest = inspected([*pictures(2), tmp_path / "gone.png"])
    seen = network.extract(manifest, space, network.counting())
    assert seen.problems == [None, None, "no such file"]
    assert len(space) == 2


def test_a_manifest_must_be_inspected(network: Network, space: Space, pictures: Pictures) -> None:
    with pytest.raises(ValueError, match=r"^the manifest must be inspected first: an image has no content hash$"):
        network.extract(Manifest.from_rows(pictures(1)), space, network.counting())


def test_a_network_that_gives_nan_is_told_once(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    run = network.counting()
    spoilt = np.full((1, *network.parts.feature_shape), np.nan, np.float32)
    with pytest.raises(StoreError, match=r"^the network gave values that are not finite: use --precision float32$"):
        module.extract(
            inspected(pictures(4)),
            space,
            network.spec,
            open_run=lambda: lambda images: np.concatenate([run(images)[1:], spoilt]),
            batch=4,
            max_pixels=10_000,
        )
    assert len(space) == 0


VIEWS = (0, MIRROR, 1, 2)


def test_views_are_computed_from_one_reading_and_kept_apart(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    manifest, run = Reads(inspected(pictures(9)).table), network.counting()
    network.extract(manifest, space, run, VIEWS)
    assert (manifest.reads, run.images, len(space)) == (9, 36, 36)
    for view in VIEWS:
        shown = [
            transforms.view(decode(manifest.source(row)), network.spec, view, str(manifest.hashes[row]))
            for row in range(9)
        ]
        assert np.array_equal(features(space, manifest, view), run(np.stack(shown)).astype(np.float16))
    assert len({features(space, manifest, view).tobytes() for view in VIEWS}) == 4
    assert space.verify() == 0


def test_view_0_is_the_same_with_others_and_alone(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space, tmp_path: Path
) -> None:
    manifest, alone = inspected(pictures(7)), FeatureStore(tmp_path / "alone").space(network.space)
    network.extract(manifest, space, network.counting(), VIEWS)
    network.extract(manifest, alone, network.counting())
    assert features(space, manifest).tobytes() == features(alone, manifest).tobytes()


def test_of_each_picture_only_the_views_that_are_missing_are_computed(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    manifest, run = Reads(inspected(pictures(10)).table), network.counting()
    network.extract(manifest.select(range(6)), space, run)  # six have view 0
    network.extract(manifest.select(range(4, 8)), space, run, (1,))  # four have view 1
    assert (run.images, len(space)) == (10, 10)
    manifest.reads = 0
    network.extract(manifest, space, run, (0, 1, 2))
    assert (manifest.reads, run.images, len(space)) == (10, 30, 30)
    network.extract(manifest, space, run, (2, 1))
    network.extract(manifest, space, run, ())
    assert (manifest.reads, run.images, run.opened) == (10, 30, 3)


def test_an_interruption_among_views_keeps_what_was_computed(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space, tmp_path: Path
) -> None:
    manifest, run = Reads(inspected(pictures(10)).table), network.counting()
    run.stop_at = 8
    with pytest.raises(KeyboardInterrupt):
        network.extract(manifest, space, run, (0, 1, 2))
    assert len(space) == 8  # two pictures, and two views of a third
    run.stop_at, manifest.reads = None, 0
    network.extract(manifest, space, run, (0, 1, 2))
    assert (manifest.reads, run.images, len(space)) == (8, 30, 30)
    at_once = FeatureStore(tmp_path / "at_once").space(network.space)
    network.extract(manifest, at_once, network.counting(), (0, 1, 2))
    for view in (0, 1, 2):
        assert features(space, manifest, view).tobytes() == features(at_once, manifest, view).tobytes()


def test_a_picture_with_several_views_that_cannot_be_read(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space
) -> None:
    paths = pictures(4)
    manifest = inspected(paths)
    paths[2].write_bytes(b"no picture any more")
    bars = Bars()
    seen = module.extract(
        manifest,
        space,
        network.spec,
        open_run=network.counting,
        batch=4,
        max_pixels=10_000,
        progress=bars,
        views=VIEWS,
    )
    assert seen.problems == [None, None, "it changed after it was inspected", None]
    assert len(space) == 12
    assert (bars.total, bars.done) == (16, 16)


class Bars(Progress):
    def __init__(self) -> None:
        self.done = 0

    @contextmanager
    def stage(self, name: str, *, total: int, **_: str) -> Iterator[Callable[[int], object]]:
        self.name, self.total = name, total
        yield self._add

    def _add(self, count: int) -> None:
        self.done += count


def test_commits_come_while_the_work_goes_on(
    pictures: Pictures, inspected: Inspected, network: Network, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_A_COMMIT", 0.01)
    seen: list[int] = []
    run = network.counting()

    def slow(images: np.ndarray) -> np.ndarray:
        seen.append(len(space))
        time.sleep(0.02)
        return run(images)

    bars = Bars()
    module.extract(
        inspected(pictures(12)),
        space,
        network.spec,
        open_run=lambda: slow,
        batch=4,
        max_pixels=10_000,
        progress=bars,
    )
    assert seen == [0, 4, 8]
    assert (bars.name, bars.total, bars.done) == ("computing features", 12, 12)
