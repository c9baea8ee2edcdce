"""Listing, verifying and pruning the cache folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from headstart import paths
from headstart.errors import StoreError
from headstart.features.table import FeatureStore, FeatureTable

__all__ = ["list_tables", "prune", "verify_tables"]


def list_tables(cache_dir: str | None) -> Iterator[str]:
    """Yield a line for the feature store, and one for each of its tables."""
    folder = paths.features(cache_dir)
    tables = list(FeatureStore(folder).tables())
    yield f"{folder}: {len(tables)} feature tables, {sum(table.bytes for table in tables) / 1e6:,.1f} MB"
    for table in tables:
        yield f"{_describe(table)}  {len(table):,} rows, {table.bytes / 1e6:,.1f} MB"


def verify_tables(cache_dir: str | None) -> Iterator[str]:
    """Check every row of the feature store, and yield a line for each table.

    :raises StoreError: after the last table, if any row is corrupt.
    """
    folder = paths.features(cache_dir)
    damaged = False
    for table in FeatureStore(folder).tables():
        finding, valid = _verify(table)
        damaged = damaged or not valid
        yield f"{_describe(table)}  {finding}"
    if damaged:
        raise StoreError(
            f"{folder}: contains corrupt rows; headstart cache prune --model NAME removes the rows of a model"
        )


def _verify(table: FeatureTable) -> tuple[str, bool]:
    try:
        corrupt = table.verify()
        return f"{len(table):,} rows, {corrupt} corrupt", not corrupt
    except StoreError as failure:  # the table cannot be read at all; the others are still verified
        return str(failure), False


def prune(cache_dir: str | None, *, model: str | None, everything: bool) -> str:
    """Remove data from the cache folder, and return a line with the size that was freed.

    By default, old versions, duplicate rows and the leftovers of killed runs are removed.

    :param model: remove all features of this model instead.
    :param everything: remove all features, and everything else that headstart has written there. Weights that users
        provide are kept.
    """
    before = _size(cache_dir)
    for table in FeatureStore(paths.features(cache_dir)).tables():
        if everything or model == table.space.model:
            table.remove()
        elif model is None:
            table.prune()
    if everything:
        shutil.rmtree(paths.prepared(cache_dir), ignore_errors=True)
        paths.inspections(cache_dir).unlink(missing_ok=True)
    after = _size(cache_dir)
    return f"{paths.root(cache_dir)}: {(before - after) / 1e6:,.1f} MB freed, {after / 1e6:,.1f} MB kept"


def _size(cache_dir: str | None) -> int:
    """Bytes of everything that headstart writes into the cache folder, without weights that users provide."""
    written = (paths.features(cache_dir), paths.prepared(cache_dir), paths.inspections(cache_dir))
    files = [file for path in written for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def _describe(table: FeatureTable) -> str:
    space = table.space
    return f"{table.path.stem[:8]}  {space.model} at {space.cut or 'image'} {tuple(space.shape)} {space.precision}"
