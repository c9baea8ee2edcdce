from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from headstart.data import transforms
from headstart.data.decode import decode
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.sources import ImageReference
from headstart.data.transforms import FLIPPED_VIEW
from headstart.errors import StoreError
from headstart.events import Event, Events, StageAdvanced, StageBegun
from headstart.features import extractor as module
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable

if TYPE_CHECKING:
    from conftest import Network

Pictures = Callable[..., list[Path]]
Inspected = Callable[[Sequence[Path]], Manifest]


def features(table: FeatureTable, manifest: Manifest, view: int = 0) -> np.ndarray:
    return table.rows([str(each) for each in manifest.hashes], view=view).take(np.arange(len(manifest)))


class Reads(Manifest):
    """Counts how often an image is read."""

    reads = 0

    def source(self, row: int) -> ImageReference:
        self.reads += 1
        return super().source(row)


def test_only_missing_features_are_computed(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    paths = pictures(10)
    manifest, run = inspected(paths), network.counting()
    assert network.extract(manifest, table, run) == []
    assert (run.images, run.opened, len(table)) == (10, 1, 10)
    first = features(table, manifest)
    assert (first.dtype, first.shape) == (np.float16, (10, *network.parts.feature_shape))

    network.extract(manifest, table, run)
    assert (run.images, run.opened) == (10, 1)

    paths[3].write_bytes(pictures(1, seed=1)[0].read_bytes())  # other content
    os.utime(paths[4], (0, 0))
    paths[5] = paths[5].rename(paths[5].with_name("renamed.png"))
    changed = inspected(paths)
    network.extract(changed, table, run)
    assert (run.images, len(table)) == (11, 11)
    second = features(table, changed)
    same = np.arange(10) != 3
    assert second[same].tobytes() == first[same].tobytes()
    assert not np.array_equal(second[3], first[3])


def test_images_in_two_manifests_are_computed_once(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    run = network.counting()
    some, others = pictures(6), pictures(5, seed=1)
    network.extract(inspected(some), table, run)
    network.extract(inspected([*others, *some[:3]]), table, run)
    assert (run.images, len(table)) == (11, 11)


def test_copies_are_computed_once(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    paths = pictures(3)
    copies = [path.with_suffix(".copy.png") for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    run = network.counting()
    network.extract(inspected([*paths, *copies]), table, run)
    assert (run.images, len(table)) == (3, 3)


def test_arrays_are_identified_by_content(network: Network, table: FeatureTable) -> None:
    arrays = list(np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), np.uint8))
    run = network.counting()
    for given in (arrays, arrays[::-1]):
        network.extract(inspect_all(Manifest.from_arrays(given)), table, run)
    assert (run.images, len(table)) == (5, 5)


def test_features_do_not_depend_on_batches(
    pictures: Pictures, inspected: Inspected, networks: Sequence[Network], tmp_path: Path
) -> None:
    """Interrupted twice and resumed, so that images fall into other batches: the same, bit for bit."""
    manifest = inspected(pictures(14))
    for network in networks:
        one = FeatureStore(tmp_path / "one").table(network.space)
        network.extract(manifest, one, network.counting())
        two = FeatureStore(tmp_path / "two").table(network.space)
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


def test_features_computed_before_an_interruption_are_kept(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    manifest, run = inspected(pictures(12)), network.counting()
    run.stop_at = 8
    with pytest.raises(KeyboardInterrupt):
        network.extract(manifest, table, run)
    assert len(table) == 8
    run.stop_at = None
    network.extract(manifest, table, run)
    assert (run.images, len(table)) == (12, 12)


def test_an_interrupted_commit_is_not_written_again(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_PER_COMMIT", 0.0)
    append = FeatureTable.append

    def interrupted(*given: object, **options: object) -> None:
        append(*given, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    manifest = inspected(pictures(8))
    with monkeypatch.context() as patch:
        patch.setattr(FeatureTable, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            network.extract(manifest, table, network.counting())
    assert len(table) == 4
    network.extract(manifest, table, network.counting())
    assert len(table) == 8


def test_many_commits_are_readable(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_PER_COMMIT", 0.0)
    manifest = inspected(pictures(20))
    network.extract(manifest, table, network.counting())
    assert table._dataset().count_rows() == 20
    assert len(table._dataset().get_fragments()) == 5  # one commit per batch
    assert table.verify() == 0


def test_files_that_changed_after_inspection(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    paths = pictures(9)
    manifest = inspected(paths)
    paths[2].write_bytes(pictures(1, seed=1)[0].read_bytes())
    paths[5].write_bytes(b"no image any more")
    paths[7].unlink()
    problems = network.extract(manifest, table, network.counting())
    changed = "it changed after it was inspected"
    assert problems == [(2, changed), (5, changed), (7, "no such file")]
    assert len(table) == 6
    assert table.missing([str(each) for each in manifest.hashes]) == [manifest.hashes[row] for row in (2, 5, 7)]
    readable = manifest.select([0, 1, 3, 4, 6, 8])
    assert features(table, readable).shape[0] == 6


def test_blocks_of_a_large_manifest(
    pictures: Pictures,
    inspected: Inspected,
    network: Network,
    table: FeatureTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows keep their numbers, an image that two blocks have is computed once, and the engine is opened once."""
    monkeypatch.setattr(module, "_BLOCK", 4)
    paths, opened = pictures(9), []
    manifest = inspected([*paths[:5], paths[0], *paths[5:], tmp_path / "gone.png"])
    paths[3].write_bytes(b"no image any more")
    paths[6].unlink()
    run = network.counting()

    def open_engine() -> Callable[[np.ndarray], np.ndarray]:
        opened.append(1)
        return run

    problems = module.extract_features(
        manifest, table, network.spec, open_engine=open_engine, batch_size=4, max_pixels=10_000
    )
    assert problems == [(3, "it changed after it was inspected"), (7, "no such file")]
    assert (len(opened), run.images, len(table)) == (1, 7, 7)
    assert features(table, manifest.select([0, 1, 2, 4, 5, 6, 8, 9])).shape[0] == 8


def test_an_unchanged_copy_is_read_in_place_of_a_changed_one(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    paths = pictures(3)
    copy = paths[0].with_name("z.png")
    copy.write_bytes(paths[0].read_bytes())
    manifest = inspected([*paths, copy])
    paths[0].write_bytes(b"")
    problems = network.extract(manifest, table, network.counting())
    assert problems == [(0, "it changed after it was inspected")]
    assert table.missing([str(each) for each in manifest.hashes]) == []


def test_an_array_that_changed_after_inspection(network: Network, table: FeatureTable) -> None:
    arrays = list(np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8))
    manifest = inspect_all(Manifest.from_arrays(arrays))
    arrays[1][:] = 0
    problems = network.extract(manifest, table, network.counting())
    assert problems == [(1, "it changed after it was inspected")]
    assert len(table) == 2


def test_rows_with_a_problem_are_skipped(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable, tmp_path: Path
) -> None:
    manifest = inspected([*pictures(2), tmp_path / "gone.png"])
    assert manifest.problems == [None, None, "no such file"]
    assert network.extract(manifest, table, network.counting()) == []
    assert len(table) == 2


def test_a_manifest_must_be_inspected(network: Network, table: FeatureTable, pictures: Pictures) -> None:
    with pytest.raises(ValueError, match=r"^the manifest must be inspected first: an image has no content hash$"):
        network.extract(Manifest.from_rows(pictures(1)), table, network.counting())


def test_nan_from_the_network_raises(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    run = network.counting()
    nan = np.full((1, *network.parts.feature_shape), np.nan, np.float32)
    with pytest.raises(StoreError, match=r"^the network returned values that are not finite; use --precision float32$"):
        module.extract_features(
            inspected(pictures(4)),
            table,
            network.spec,
            open_engine=lambda: lambda images: np.concatenate([run(images)[1:], nan]),
            batch_size=4,
            max_pixels=10_000,
        )
    assert len(table) == 0


VIEWS = (0, FLIPPED_VIEW, 1, 2)


def test_views_are_computed_from_one_decoding_and_stored_separately(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    manifest, run = Reads(inspected(pictures(9)).table), network.counting()
    network.extract(manifest, table, run, VIEWS)
    assert (manifest.reads, run.images, len(table)) == (9, 36, 36)
    for view in VIEWS:
        shown = [
            transforms.make_view(decode(manifest.source(row)), network.spec, view, str(manifest.hashes[row]))
            for row in range(9)
        ]
        assert np.array_equal(features(table, manifest, view), run(np.stack(shown)).astype(np.float16))
    assert len({features(table, manifest, view).tobytes() for view in VIEWS}) == 4
    assert table.verify() == 0


def test_view_0_does_not_depend_on_other_views(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable, tmp_path: Path
) -> None:
    manifest, alone = inspected(pictures(7)), FeatureStore(tmp_path / "alone").table(network.space)
    network.extract(manifest, table, network.counting(), VIEWS)
    network.extract(manifest, alone, network.counting())
    assert features(table, manifest).tobytes() == features(alone, manifest).tobytes()


def test_only_missing_views_are_computed(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    manifest, run = Reads(inspected(pictures(10)).table), network.counting()
    network.extract(manifest.select(range(6)), table, run)  # six have view 0
    network.extract(manifest.select(range(4, 8)), table, run, (1,))  # four have view 1
    assert (run.images, len(table)) == (10, 10)
    manifest.reads = 0
    network.extract(manifest, table, run, (0, 1, 2))
    assert (manifest.reads, run.images, len(table)) == (10, 30, 30)
    network.extract(manifest, table, run, (2, 1))
    network.extract(manifest, table, run, ())
    assert (manifest.reads, run.images, run.opened) == (10, 30, 3)


def test_views_computed_before_an_interruption_are_kept(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable, tmp_path: Path
) -> None:
    manifest, run = Reads(inspected(pictures(10)).table), network.counting()
    run.stop_at = 8
    with pytest.raises(KeyboardInterrupt):
        network.extract(manifest, table, run, (0, 1, 2))
    assert len(table) == 8  # two images, and two views of a third
    run.stop_at, manifest.reads = None, 0
    network.extract(manifest, table, run, (0, 1, 2))
    assert (manifest.reads, run.images, len(table)) == (8, 30, 30)
    at_once = FeatureStore(tmp_path / "at_once").table(network.space)
    network.extract(manifest, at_once, network.counting(), (0, 1, 2))
    for view in (0, 1, 2):
        assert features(table, manifest, view).tobytes() == features(at_once, manifest, view).tobytes()


def test_unreadable_image_with_several_views(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable
) -> None:
    paths = pictures(4)
    manifest = inspected(paths)
    paths[2].write_bytes(b"no image any more")
    bars = Bars()
    problems = module.extract_features(
        manifest,
        table,
        network.spec,
        open_engine=network.counting,
        batch_size=4,
        max_pixels=10_000,
        events=bars,
        views=VIEWS,
    )
    assert problems == [(2, "it changed after it was inspected")]
    assert len(table) == 12
    assert (bars.total, bars.done) == (16, 16)


class Bars(Events):
    def __init__(self) -> None:
        super().__init__(self.hear)
        self.done = 0

    def hear(self, event: Event) -> None:
        if isinstance(event, StageBegun):
            self.name, self.total = event.name, event.total
        elif isinstance(event, StageAdvanced):
            self.done = event.done


def test_commits_happen_during_extraction(
    pictures: Pictures, inspected: Inspected, network: Network, table: FeatureTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_PER_COMMIT", 0.01)
    seen: list[int] = []
    run = network.counting()

    def slow(images: np.ndarray) -> np.ndarray:
        seen.append(len(table))
        time.sleep(0.02)
        return run(images)

    bars = Bars()
    module.extract_features(
        inspected(pictures(12)),
        table,
        network.spec,
        open_engine=lambda: slow,
        batch_size=4,
        max_pixels=10_000,
        events=bars,
    )
    assert seen[0] == 0
    assert seen[2] in (4, 8)  # a thread writes, one commit after the other
    assert len(table) == 12
    assert (bars.name, bars.total, bars.done) == ("computing features", 12, 12)


def test_the_table_states_the_decoder(
    network: Network, inspected: Inspected, photo: Callable[..., Path], tmp_path: Path
) -> None:
    """Features of another decoder's pixels are in another table, and are computed of those pixels."""
    manifest = inspected([photo(f"{number}.jpg", 30 * number, size=(60, 50)) for number in range(7)])
    store, run = FeatureStore(tmp_path / "store"), network.counting()
    tables = [store.table(replace(network.space, decoder=decoder)) for decoder in ("pillow", "torchvision")]
    for table in tables:
        assert network.extract(manifest, table, run, views=(0, FLIPPED_VIEW)) == []
        assert len(table) == 14
    assert run.images == 28
    one, other = (features(table, manifest, FLIPPED_VIEW).astype(np.float32).reshape(7, -1) for table in tables)
    cosines = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > 0.999
    assert [table.space.decoder for table in store.tables()] in (["pillow", "torchvision"], ["torchvision", "pillow"])
