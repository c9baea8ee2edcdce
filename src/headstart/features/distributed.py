"""Extraction by the workers of a cluster: each computes shards of the images and writes them, one place commits them.

A shard is some hundred images. The worker that computes it writes a fragment of the Lance dataset, which nobody sees
before it is committed; this process commits the fragments of finished shards together. A shard whose worker was lost is
computed again by another one, and its fragment is committed once: no row is there twice, none is missing. Whatever was
committed is there at the next start.

The workers must see the images and the feature store under the same paths or addresses as this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypedDict

import pyarrow as pa
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.readers import ViewReader, view_reader
from headstart.data.spec import InputSpec
from headstart.errors import SettingsError
from headstart.execution.cluster import Cluster
from headstart.execution.workers import find_workers, run_shards
from headstart.features.missing import MissingViews
from headstart.features.rows import sorted_by_view
from headstart.features.table import FeatureTable

__all__ = ["Plan", "compute_on_cluster"]

_SHARD = 512  # images, at most
_SHARDS_PER_WORKER = 8  # at least, so that the last ones are ready at about the same time
_SECONDS_PER_COMMIT = 5.0


class _Done(TypedDict):
    """What is left of a shard."""

    problems: list[tuple[int, str]]  # (row, reason) of the unreadable images
    fragments: list[str]  # what FeatureTable.commit is given
    views: int  # that were asked for


@dataclass(frozen=True)
class Plan:
    """What a worker needs; it is pickled."""

    table: FeatureTable
    spec: InputSpec
    open_engine: Callable[[], Callable[[Any], NDArray[Any]]]
    batch_size: int
    max_pixels: int
    device: str = "cpu"  # of the settings, by which workers are chosen
    cores: int = 1  # of each worker without a GPU


def compute_on_cluster(
    manifest: Manifest,
    missing: MissingViews,
    plan: Plan,
    cluster: Cluster,
    *,
    advance: Callable[[int], object],
) -> list[tuple[int, str]]:
    """Compute and commit the missing views of these rows; return (row, reason) of the unreadable images.

    :raises SettingsError: the images are in the memory of this process.
    :raises ClusterError: the cluster cannot be reached, or failed.
    :raises StoreError: the features cannot be written.
    """
    if manifest.arrays is not None:
        raise SettingsError(
            "cluster: the workers cannot read images in the memory of this process; write them to files"
        )
    plan = replace(plan, table=replace(plan.table, path=plan.table.path.absolute()))
    problems: list[tuple[int, str]] = []
    fragments: list[str] = []
    last = time.monotonic()
    try:
        with cluster.connected() as ray:
            workers = find_workers(ray, cluster, plan.device, cores=plan.cores)
            size = max(1, min(_SHARD, -(-len(missing) // (workers.count * _SHARDS_PER_WORKER))))
            workers = workers.at_most(-(-len(missing) // size))
            shards = _shards(manifest, missing, size)
            with closing(run_shards(ray, _Extraction(plan), shards, workers)) as finished:
                for part in finished:
                    problems += part["problems"]
                    fragments += part["fragments"]
                    advance(part["views"])
                    if time.monotonic() - last > _SECONDS_PER_COMMIT:
                        # Not kept here, so that an interruption does not commit the same fragments again.
                        complete, fragments = fragments, []
                        plan.table.commit(complete)
                        last = time.monotonic()
    finally:
        plan.table.commit(fragments)
    return problems


def _shards(manifest: Manifest, missing: MissingViews, size: int) -> Iterator[pa.Table]:
    """Yield parts of the manifest, with the rows that they are and the views that each lacks."""
    for start in range(0, len(missing), size):
        part = pa.array(missing.rows[start : start + size])
        views = pa.array([missing.at(start + number) for number in range(len(part))], pa.list_(pa.int32()))
        yield manifest.table.take(part).append_column("row", part).append_column("views", views)


@dataclass(frozen=True)
class _Extraction:
    """Computes shards and writes their fragments, in a worker."""

    plan: Plan

    @cached_property
    def _engine(self) -> Callable[[Any], NDArray[Any]]:
        return self.plan.open_engine()

    @cached_property
    def _read(self) -> ViewReader:
        from torch import cuda

        decoder = self.plan.table.space.decoder
        if decoder == "nvjpeg" and not cuda.is_available():
            raise SettingsError(
                "cluster: this machine has a GPU, which would decode images, and a worker has none: use --device cpu"
            )
        return view_reader(decoder)

    def __call__(self, shard: pa.Table) -> _Done:
        """Compute a shard, and write its fragment.

        :raises HeadstartError: as of what opens the engine; or the features cannot be written.
        """
        plan, engine = self.plan, self._engine
        rows = shard["row"].to_pylist()
        views = dict(enumerate(shard["views"].to_pylist()))
        manifest = Manifest(shard.drop_columns(["row", "views"]))
        hashes, problems = [str(each) for each in manifest.hashes], []
        computed: dict[tuple[int, str], NDArray[Any]] = {}  # by view and image
        batches = self._read(
            manifest,
            range(len(manifest)),
            plan.spec,
            batch_size=getattr(engine, "batch_size", plan.batch_size),  # of a GPU, that this machine may lack
            max_pixels=plan.max_pixels,
            views=views,
        )
        with closing(batches):
            for batch in batches:
                problems += [(rows[at], reason) for at, reason in batch.problems]
                if batch.rows:
                    keys = [(number, hashes[at]) for number, at in zip(batch.numbers, batch.rows, strict=True)]
                    computed.update(zip(keys, engine(batch.stacked()), strict=True))
        fragments = []
        if computed:
            numbers, images, features = sorted_by_view(computed)
            fragments = plan.table.write_fragments(images, features, view=numbers)
        return {
            "problems": problems,
            "fragments": fragments,
            "views": sum(map(len, views.values())),
        }
