"""Extraction of the features that a table lacks, in commits so small that a crash costs seconds of work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.readers import view_reader
from headstart.data.spec import InputSpec
from headstart.data.views import Views
from headstart.events import Events
from headstart.execution import open_executor
from headstart.execution.cluster import Cluster
from headstart.features.distributed import Plan, compute_on_cluster
from headstart.features.joint import JointTables
from headstart.features.missing import MissingViews, first_rows, keys_from_hex
from headstart.features.rows import sorted_by_view
from headstart.features.table import FeatureTable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["extract_features", "find_missing"]

_SECONDS_PER_COMMIT = 2.0
_ROWS_PER_COMMIT = 4096  # which a GPU computes in less time
_BLOCK = 1 << 20
"""Images that are looked up in the table at a time, so that what is needed for it does not grow with the manifest."""

Network: TypeAlias = Callable[["NDArray[np.uint8] | Tensor"], NDArray[Any]]
"""A function from images (B, H, W, 3) to features (B, *shape)."""


def extract_features(  # noqa: PLR0913 - independent values, all but three of them keyword-only
    manifest: Manifest,
    table: FeatureTable | JointTables,
    spec: InputSpec,
    *,
    open_engine: Callable[[], Network],
    batch_size: int,
    max_pixels: int,
    workers: int | None = None,
    views: Sequence[int] = (0,),
    cluster: Cluster | None = None,
    device: str = "cpu",
    events: Events | None = None,
) -> list[tuple[int, str]]:
    """Compute the features that the table lacks for these views of these images, once per distinct content.

    Each image is decoded once for all of its missing views, by the decoder that the table states. Finished features are
    kept however the work ends; if the process is killed, those of the last seconds are lost.

    :param table: or two of them, for what both lack.
    :param manifest: inspected images, so that each row has a content hash. Rows with a problem are skipped.
    :param open_engine: opens the network; called only if features are missing.
    :param batch_size: views per batch.
    :param views: numbers of views, see :func:`headstart.data.transforms.make_view`.
    :param cluster: computes instead of this process; ``open_engine`` is then pickled, and called by each worker.
    :param device: of the settings, for which the cluster's workers are chosen.
    :returns: (row, reason) of the images that turned out to be unreadable, by row.
    :raises StoreError: the features cannot be written.
    :raises ClusterError: the cluster cannot be reached, or failed; what was finished is kept.
    :raises ValueError: a usable image has no content hash.
    """
    _require_hashes(manifest)
    opened, told = cache(open_engine), events or Events()
    read, problems = view_reader(table.space.decoder), list[tuple[int, str]]()
    for start, block in _blocks(manifest):
        keys, unreadable = keys_from_hex(block.table["hash"]), dict[int, str]()
        rows = np.flatnonzero(block.table["problem"].is_null().to_numpy())
        # A second round happens only if a file has changed in the meantime and another file has its former content.
        while missing := find_missing(table, keys, rows[~np.isin(rows, [*unreadable])], views):
            total = missing.total
            if cluster is not None and isinstance(table, FeatureTable):
                plan = Plan(table, spec, open_engine, batch_size, max_pixels, device)
                with told.stage("computing features", total=total) as advance:
                    unreadable.update(compute_on_cluster(block, missing, plan, cluster, advance=advance))
                continue
            engine = opened()
            batches = read(
                block,
                missing.rows.tolist(),
                spec,
                batch_size=batch_size,
                max_pixels=max_pixels,
                workers=workers,
                views=missing,
            )
            with closing(batches), told.stage("computing features", total=total) as advance:
                unreadable.update(_fill(table, batches, engine, missing, keys, advance))
        problems += [(start + row, reason) for row, reason in sorted(unreadable.items())]
    table.compact()
    return problems


def _require_hashes(manifest: Manifest) -> None:
    if pc.any(pc.and_(manifest.table["problem"].is_null(), manifest.table["hash"].is_null())).as_py():
        raise ValueError("the manifest must be inspected first: an image has no content hash")


def _blocks(manifest: Manifest) -> Iterator[tuple[int, Manifest]]:
    """Yield the manifest in blocks, each with its first row; a manifest of one block as it is."""
    if len(manifest) <= _BLOCK:
        yield 0, manifest
        return
    for start in range(0, len(manifest), _BLOCK):
        yield start, Manifest(manifest.table.slice(start, _BLOCK), manifest.arrays)


def find_missing(
    table: FeatureTable | JointTables, keys: pa.FixedSizeBinaryArray, rows: NDArray[np.int64], views: Sequence[int]
) -> MissingViews:
    """The first of the rows for each content that lacks views in the table, with the numbers of those views.

    :param keys: content hashes of all rows, as :func:`headstart.features.missing.keys_from_hex` returns them.
    """
    rows, numbers = first_rows(keys, rows), sorted({*views})
    lacks = table.lacks(keys.take(pa.array(rows)), numbers)
    some = lacks.any(1)
    return MissingViews(rows[some], tuple(numbers), lacks[some])


def _fill(
    table: FeatureTable | JointTables,
    batches: Iterable[Views],
    engine: Network,
    missing: MissingViews,
    images: pa.FixedSizeBinaryArray,
    advance: Callable[[int], object],
) -> list[tuple[int, str]]:
    """Compute and append batch by batch; return (row, reason) of the unreadable images.

    A thread writes while the next features are computed.
    """
    problems: list[tuple[int, str]] = []
    pending: dict[tuple[int, str], NDArray[Any]] = {}  # by view and image
    written: Future[None] | None = None
    last = time.monotonic()
    with open_executor(1, workers=1, kind="threads") as writer:
        try:
            for views in batches:
                problems += views.problems
                if views.rows:
                    shown = zip(views.numbers, views.rows, strict=True)
                    keys = [(number, images[row].as_py().hex()) for number, row in shown]
                    pending.update(zip(keys, engine(views.stacked()), strict=True))
                if time.monotonic() - last > _SECONDS_PER_COMMIT or len(pending) >= _ROWS_PER_COMMIT:
                    if written is not None:
                        written.result()
                    # Not kept here, so that an interruption does not write the same rows again.
                    rows, pending = pending, {}
                    written, last = writer.submit(_commit, table, rows), time.monotonic()
                advance(len(views.rows) + sum(len(missing[row]) for row, _ in views.problems))
        finally:
            if written is not None:
                written.result()
            _commit(table, pending)
    return problems


def _commit(table: FeatureTable | JointTables, pending: dict[tuple[int, str], NDArray[Any]]) -> None:
    # All views go into one commit, since each commit takes time.
    if pending:
        views, images, features = sorted_by_view(pending)
        table.append(images, features, view=views)
