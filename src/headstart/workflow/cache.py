"""Listing, verifying and pruning the cache folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from headstart import paths
from headstart.errors import StoreError
from headstart.features.location import Location, feature_location, size_of
from headstart.features.store import FeatureStore
from headstart.features.table import FeatureTable
from headstart.features.usage import only_user
from headstart.files import clear_remains

__all__ = ["list_tables", "prune", "verify_tables"]

_WRITING = 3600  # seconds after which an incomplete network is not being written any more


def list_tables(cache_dir: str | None, feature_store: str | None = None) -> Iterator[str]:
    """Yield a line for the feature store, and one for each of its tables."""
    folder = feature_location(cache_dir, feature_store)
    store = FeatureStore(folder)
    tables = list(store.tables())
    yield f"{folder}: {len(tables)} feature tables, {sum(table.bytes for table in tables) / 1e6:,.1f} MB"
    for table in tables:
        yield f"{_describe(table)}  {len(table):,} rows, {table.bytes / 1e6:,.1f} MB"
    yield from map(str, store.damaged().values())


def verify_tables(cache_dir: str | None, feature_store: str | None = None) -> Iterator[str]:
    """Check every row of the feature store, and yield a line for each table.

    :raises StoreError: after the last table, if any row is corrupt or a description is damaged.
    """
    folder = feature_location(cache_dir, feature_store)
    store, damaged = FeatureStore(folder), False
    for table in store.tables():
        finding, valid = _verify(table)
        damaged = damaged or not valid
        yield f"{_describe(table)}  {finding}"
    descriptions = store.damaged()
    yield from map(str, descriptions.values())
    if damaged:
        raise StoreError(
            f"{folder}: contains corrupt rows; headstart cache prune --model NAME removes the rows of a model"
        )
    if descriptions:
        raise StoreError(f"{folder}: contains damaged descriptions of tables; headstart cache prune removes the tables")


def _verify(table: FeatureTable) -> tuple[str, bool]:
    try:
        corrupt = table.verify()
        return f"{len(table):,} rows, {corrupt} corrupt", not corrupt
    except StoreError as failure:  # the table cannot be read at all; the others are still verified
        return str(failure), False


def prune(cache_dir: str | None, *, model: str | None, everything: bool, feature_store: str | None = None) -> str:
    """Remove data from the cache folder, and return a line with the size that was freed.

    By default, old versions, duplicate rows and the leftovers of killed runs are removed.

    :param feature_store: remove data from there alone. At an address nobody knows who else uses it, so that versions of
        the last hour are kept unless all is removed.
    :param model: remove all features of this model instead.
    :param everything: remove all features, and everything else that headstart has written there. Weights that users
        provide are kept.
    :raises OSError: something cannot be removed, for example since the folder is read-only.
    """
    store, complete = FeatureStore(feature_location(cache_dir, feature_store)), True
    place: Location = paths.root(cache_dir) if feature_store is None else store.folder
    size = partial(_size, cache_dir) if feature_store is None else partial(size_of, place)
    before = size()
    with only_user(store.folder) as alone:
        if everything or (alone and model is None):
            store.clear(everything=everything)
        for table in store.tables():
            if model == table.space.model:
                table.remove()
            elif model is None:
                complete = table.prune(alone=alone) and complete
    if feature_store is None:
        _prune_others(cache_dir, everything=everything)
    after = size()
    text = f"{place}: {max(before - after, 0) / 1e6:,.1f} MB freed, {after / 1e6:,.1f} MB kept"
    if not alone and not everything and model is None:
        who = "another process uses" if isinstance(store.folder, Path) else "another process may use"
        text += f"; {who} it, so that what it may need was kept"
    return text + "; the disk is full: for removing duplicate rows, free some space and prune again" * (not complete)


def _prune_others(cache_dir: str | None, *, everything: bool) -> None:
    """Remove what killed runs left beside the features, or all of it."""
    clear_remains(paths.root(cache_dir), paths.prepared(cache_dir), paths.imported(cache_dir))
    _remove_incomplete(paths.prepared(cache_dir))
    if everything:
        for folder in _folders(cache_dir):
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)
        for file in _files(cache_dir):
            file.unlink(missing_ok=True)


def _remove_incomplete(prepared: Path) -> None:
    """Remove networks whose JSON file, which is written last, was not written by a process that was killed."""
    for path in (*prepared.glob("*.xml"), *prepared.glob("*.bin")):
        with suppress(FileNotFoundError):
            if not path.with_suffix(".json").exists() and time.time() - path.stat().st_mtime > _WRITING:
                path.unlink()


def _folders(cache_dir: str | None) -> tuple[Path, ...]:
    """What can be made or fetched again, beside the feature store."""
    prepared, imported = paths.prepared(cache_dir), paths.imported(cache_dir)
    return prepared, imported, paths.remote(cache_dir), paths.runs(cache_dir), paths.checkpoints(cache_dir)


def _files(cache_dir: str | None) -> tuple[Path, ...]:
    """What is known of images by their content."""
    return paths.inspections(cache_dir), paths.pixel_statistics(cache_dir), paths.gray_thumbnails(cache_dir)


def _size(cache_dir: str | None) -> int:
    """Bytes of everything that headstart writes into the cache folder, without weights that users provide."""
    return sum(map(size_of, (paths.features(cache_dir), *_folders(cache_dir), *_files(cache_dir))))


def _describe(table: FeatureTable) -> str:
    space = table.space
    decoder = "" if space.decoder == "pillow" else f" {space.decoder}"
    shape = tuple(space.shape)
    return f"{table.path.stem[:8]}  {space.model} at {space.cut or 'image'} {shape} {space.precision}{decoder}"
