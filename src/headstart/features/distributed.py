"""Extraction by the workers of a cluster: each computes shards of the images and writes them, one place commits them.

A shard is some hundred images. The worker that computes it writes a fragment of the Lance dataset, which nobody sees
before it is committed; this process commits the fragments of finished shards together. A shard whose worker was lost is
computed again by another one, and its fragment is committed once: no row is there twice, none is missing. Whatever was
committed is there at the next start.

Plain actors of Ray do this, not Ray Data: that needs pandas, which pyarrow then imports in every command.

The workers must see the images and the feature store under the same paths as this process.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.readers import view_reader
from headstart.data.spec import InputSpec
from headstart.errors import HeadstartError, SettingsError
from headstart.execution.base import limit_cores
from headstart.execution.cluster import Cluster
from headstart.execution.cluster_watch import ClusterWatch, head_answers
from headstart.features.rows import sorted_by_view
from headstart.features.table import FeatureTable
from headstart.files import temporary_folder

__all__ = ["Plan", "compute_on_cluster"]

_SHARD = 512  # images, at most
_SHARDS_PER_WORKER = 8  # at least, so that the last ones are ready at about the same time
_SECONDS_PER_COMMIT = 5.0
_SECONDS_PER_LOOK = 5.0  # at the cluster, while nothing is ready


class _Done(TypedDict):
    """What is left of a shard."""

    problems: list[tuple[int, str]]  # (row, reason) of the unreadable images
    fragments: list[str]  # what FeatureTable.commit is given
    views: int  # that were asked for
    error: bytes  # an error of ours, pickled; empty if there is none


@dataclass(frozen=True)
class Plan:
    """What a worker needs; it is pickled."""

    table: FeatureTable
    spec: InputSpec
    open_engine: Callable[[], Callable[[Any], NDArray[Any]]]
    batch_size: int
    max_pixels: int
    cores: int = 1  # of each worker


def compute_on_cluster(
    manifest: Manifest,
    missing: Mapping[int, Sequence[int]],
    plan: Plan,
    cluster: Cluster,
    *,
    advance: Callable[[int], object],
) -> list[tuple[int, str]]:
    """Compute and commit the missing views of these rows; return (row, reason) of the unreadable images.

    :param missing: the numbers of the views that each row lacks.
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
        with cluster.connected() as ray, _written(ray, plan) as path:
            workers = max(1, int(ray.cluster_resources().get("CPU", 1)) // plan.cores)
            for part in _run(ray, _shards(manifest, missing, workers), path, plan, workers):
                if part["error"]:
                    raise pickle.loads(part["error"])
                problems += part["problems"]
                fragments += part["fragments"]
                advance(part["views"])
                if time.monotonic() - last > _SECONDS_PER_COMMIT:
                    # Not kept here, so that an interruption does not commit the same fragments again.
                    finished, fragments = fragments, []
                    plan.table.commit(finished)
                    last = time.monotonic()
    finally:
        plan.table.commit(fragments)
    return problems


@contextmanager
def _written(ray: Any, plan: Plan) -> Iterator[Path]:
    """A file with the plan beside the tables, where every worker finds it, also one that is started again."""
    with temporary_folder(plan.table.path.parent) as folder:
        path = folder / "plan.pickle"
        path.write_bytes(ray.cloudpickle.dumps(plan))
        yield path


def _shards(manifest: Manifest, missing: Mapping[int, Sequence[int]], workers: int) -> Iterator[pa.Table]:
    """Yield parts of the manifest, with the rows that they are and the views that each lacks."""
    rows = np.sort(np.fromiter(missing, np.int64, len(missing)))
    size = max(1, min(_SHARD, -(-len(rows) // (workers * _SHARDS_PER_WORKER))))
    for start in range(0, len(rows), size):
        part = pa.array(rows[start : start + size])
        views = pa.array([list(missing[row]) for row in part.to_pylist()], pa.list_(pa.int32()))
        yield manifest.table.take(part).append_column("row", part).append_column("views", views)


def _run(ray: Any, shards: Iterator[pa.Table], path: Path, plan: Plan, workers: int) -> Iterator[_Done]:
    """What the workers return of the shards, as they are ready. Few shards more than workers are made ahead."""
    actor = ray.remote(num_cpus=plan.cores, max_restarts=-1, max_task_retries=-1)(_Worker)
    first = list(islice(shards, workers))  # there may be fewer shards than workers
    actors = [actor.remote(str(path)) for _ in first]
    pool, watch = ray.util.ActorPool(actors), ClusterWatch(ray, plan.cores)
    waiting = 0
    try:
        for shard in chain(first, shards):
            pool.submit(lambda worker, shard: worker.compute.remote(shard), shard)
            waiting += 1
            # As many again wait here, so that a worker is given its next shard before this process commits the last.
            if waiting >= 2 * workers:
                waiting -= 1
                yield _next(pool, watch)
        while pool.has_next():
            done = _next(pool, watch)
            # A worker whose machine was lost, with a shard, can start again where another one has ended.
            while (idle := pool.pop_idle()) is not None:
                ray.kill(idle)
            yield done
    finally:
        if head_answers(ray):  # else that waits until Ray ends this process
            for each in actors:
                ray.kill(each)


def _next(pool: Any, watch: ClusterWatch) -> _Done:
    while True:
        with suppress(TimeoutError):
            return cast(_Done, pool.get_next_unordered(timeout=_SECONDS_PER_LOOK))
        watch.look()


class _Worker:
    """One engine, which computes shard after shard."""

    def __init__(self, path: str) -> None:
        import torch

        self._plan: Plan = pickle.loads(Path(path).read_bytes())
        limit_cores(self._plan.cores)
        torch.set_num_threads(self._plan.cores)
        self._read = view_reader(self._plan.table.space.decoder)

    @cached_property
    def _engine(self) -> Callable[[Any], NDArray[Any]]:
        return self._plan.open_engine()

    def compute(self, shard: pa.Table) -> _Done:
        """Compute a shard, and write its fragment."""
        try:
            return self._compute(shard)
        except HeadstartError as error:  # Ray would wrap it
            return {"problems": [], "fragments": [], "views": 0, "error": pickle.dumps(error)}

    def _compute(self, shard: pa.Table) -> _Done:
        plan = self._plan
        rows = shard["row"].to_pylist()
        views = dict(enumerate(shard["views"].to_pylist()))
        manifest = Manifest(shard.drop_columns(["row", "views"]))
        hashes, problems = [str(each) for each in manifest.hashes], []
        computed: dict[tuple[int, str], NDArray[Any]] = {}  # by view and image
        batches = self._read(
            manifest,
            range(len(manifest)),
            plan.spec,
            batch_size=plan.batch_size,
            max_pixels=plan.max_pixels,
            views=views,
        )
        with closing(batches):
            for batch in batches:
                problems += [(rows[at], reason) for at, reason in batch.problems]
                if batch.rows:
                    keys = [(number, hashes[at]) for number, at in zip(batch.numbers, batch.rows, strict=True)]
                    computed.update(zip(keys, self._engine(batch.stacked()), strict=True))
        fragments = []
        if computed:
            numbers, images, features = sorted_by_view(computed)
            fragments = plan.table.write_fragments(images, features, view=numbers)
        return {
            "problems": problems,
            "fragments": fragments,
            "views": sum(map(len, views.values())),
            "error": b"",
        }
