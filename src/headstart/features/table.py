"""The features of one feature space: a Lance dataset with one row per image and view.

Rows are only ever appended, and a commit is atomic: readers, other writers and a run that is killed see whole commits
only. Two runs that add the same row at the same time leave it twice with the same content; readers take the first, and
:meth:`FeatureTable.prune` removes the other.
"""

from __future__ import annotations

import errno
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.errors import StoreError
from headstart.features.key import FeatureSpace, stored_view
from headstart.features.location import Location, lance_options, remove_all, short_reason, size_of
from headstart.features.missing import keys_from_hex
from headstart.features.rows import (
    checksums_of,
    corrupt_rows,
    duplicates_of,
    keys_of,
    parts_of_keys,
    positions_of,
    values_of,
)
from headstart.features.scratch import scratch_array
from headstart.features.values import to_stored_dtype

__all__ = ["FULL", "REMOVED", "FeatureRows", "FeatureTable", "remove_dataset"]

_ARROW = {"float16": pa.float16(), "float32": pa.float32(), "uint8": pa.uint8()}
_MAX_FRAGMENTS = 64  # each commit adds one; beyond this number, reading them costs more than joining them
_READ_ROWS = 1024  # rows per read
_KEEP = timedelta(hours=1)  # age of the versions that another run may still read
FULL = "No space left on device"  # in what Lance reports
REMOVED = ".removed"  # folder of tables that are being removed
_REMEDY = "headstart cache prune --model NAME removes a model's features; the next run computes them again"


@dataclass(frozen=True)
class FeatureTable:
    """The rows of one feature space."""

    path: Location
    space: FeatureSpace

    @property
    def space_file(self) -> Location:
        """The JSON file that describes the feature space."""
        return self.path.with_suffix(".json")

    def create(self) -> None:
        """Create the dataset if there is none; another process may do so at the same time."""
        if not self._exists():
            try:
                self._write(self._schema.empty_table(), mode="create")
            except OSError as failure:
                if "already exists" not in str(failure):
                    raise

    def _exists(self) -> bool:
        """A folder alone is no dataset: a process may have been killed while it created the dataset."""
        with _store_errors(self.path, "cannot be opened", _REMEDY):
            try:
                self._dataset()
            except ValueError as failure:
                if "was not found" not in str(failure):
                    raise
                return False
            return True

    @property
    def bytes(self) -> int:
        """Size, including older versions."""
        return size_of(self.path)

    def __len__(self) -> int:
        with _store_errors(self.path, "cannot count the rows", _REMEDY):
            return int(self._dataset().count_rows())

    def append(self, images: Sequence[str], features: NDArray[Any], *, view: int | Sequence[int] = 0) -> None:
        """Add one row per image, in one commit.

        :param images: content hashes, 32 hexadecimal digits each.
        :param features: (N, *shape), finite.
        :param view: the number of the view, or one number per image.
        :raises StoreError: a value is not finite, or the folder cannot be written (for example, the disk is full).
        """
        table = self._rows_of(images, features, view)
        with _store_errors(self.path, "cannot add features"):
            self._write(table, mode="append")

    def write_fragments(
        self, images: Sequence[str], features: NDArray[Any], *, view: int | Sequence[int] = 0
    ) -> list[str]:
        """Write rows as :meth:`append` does, which nobody sees before :meth:`commit` is given what this returns.

        :raises StoreError: as of :meth:`append`.
        """
        table = self._rows_of(images, features, view)
        with _store_errors(self.path, "cannot add features"):
            fragments = lance.fragment.write_fragments(
                table, str(self.path), schema=self._schema, mode="append", storage_options=lance_options(self.path)
            )
        return [json.dumps(each.to_json()) for each in fragments]

    def commit(self, fragments: Sequence[str]) -> None:
        """Add the rows of fragments that any process has written, in one commit.

        :raises StoreError: the folder cannot be written.
        """
        if not fragments:
            return
        with _store_errors(self.path, "cannot add features"):
            found = [lance.FragmentMetadata.from_json(each) for each in fragments]
            operation = lance.LanceOperation.Append(found)
            now = self._dataset()
            options = lance_options(self.path)
            lance.LanceDataset.commit(now.uri, operation, read_version=now.version, storage_options=options)

    def _write(self, rows: pa.Table, *, mode: str) -> None:
        lance.write_dataset(rows, str(self.path), mode=mode, storage_options=lance_options(self.path))

    def _rows_of(self, images: Sequence[str], features: NDArray[Any], view: int | Sequence[int]) -> pa.Table:
        values = to_stored_dtype(np.ascontiguousarray(features).reshape(len(images), -1), self.space.dtype)
        keys = [bytes.fromhex(image) for image in images]
        views = [stored_view(number) for number in np.broadcast_to(view, len(keys)).tolist()]
        return pa.table(
            [
                pa.array(keys, pa.binary(16)),
                pa.array(views, pa.int32()),
                pa.array(checksums_of(keys, views, values)),
                pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
            ],
            schema=self._schema,
        )

    def missing(self, images: Sequence[str], *, view: int = 0) -> list[str]:
        """The images that have no row yet, each once, in the given order."""
        return list(self.missing_views(images, (view,)))

    def missing_views(self, images: Sequence[str], views: Sequence[int]) -> dict[str, list[int]]:
        """The views that each image lacks, for images that lack any, in the given order.

        The table is listed once, whatever the number of views.
        """
        numbers = np.unique(views)
        missing = self.lacks(keys_from_hex(images), numbers.tolist())
        return {images[index]: numbers[missing[index]].tolist() for index in np.flatnonzero(missing.any(1)).tolist()}

    def lacks(self, images: pa.FixedSizeBinaryArray, views: Sequence[int]) -> NDArray[np.bool_]:
        """Whether there is no row of an image and a view, (N, V).

        :param images: content hashes, 16 bytes each (:func:`headstart.features.missing.keys_from_hex`).
        """
        distinct = images.dictionary_encode()
        lacks = np.ones((len(distinct.dictionary), len(views)), bool)
        with _store_errors(self.path, "cannot list the rows", _REMEDY):
            for keys in parts_of_keys(self._dataset()):
                at = pc.index_in(keys["image"], value_set=distinct.dictionary)
                for column, view in enumerate(views):
                    stored = at.filter(pc.equal(keys["view"], stored_view(view))).drop_null()
                    lacks[stored.to_numpy(), column] = False
        of_images: NDArray[np.bool_] = lacks[distinct.indices.to_numpy()]
        return of_images

    def rows(self, images: Sequence[str] | pa.ChunkedArray, *, view: int = 0) -> FeatureRows:
        """The features of these images, in this order.

        :param images: content hashes, 32 hexadecimal digits each.
        :raises StoreError: an image has no row.
        """
        with _store_errors(self.path, "cannot list the rows", _REMEDY):
            # Opened once for both, since positions belong to one version of the dataset.
            dataset = self._dataset()
            positions = positions_of(keys_of(dataset), keys_from_hex(images), view)
        if (positions < 0).any():
            image = images[int(np.argmin(positions))]
            raise StoreError(f"{self.path}: no features of the image with hash {image}")
        return FeatureRows(self, dataset, positions)

    def verify(self) -> int:
        """Count the rows whose checksum is wrong.

        :raises StoreError: a file is so damaged that its rows cannot be read.
        """
        with _store_errors(self.path, "a file is damaged", _REMEDY):
            batches = self._dataset().to_batches(batch_size=_READ_ROWS)
            return sum(int(corrupt_rows(batch, self.space.dtype).sum()) for batch in batches)

    def compact(self) -> None:
        """Join the fragments of small commits once there are more than 64."""
        with suppress(OSError, ValueError):  # another process compacts the table, or has removed it
            dataset = self._dataset()
            if len(dataset.get_fragments()) > _MAX_FRAGMENTS:
                dataset.optimize.compact_files()

    def prune(self, *, alone: bool = False) -> bool:
        """Remove older versions, duplicate rows, and what killed writers left.

        Return whether all of it was removed: on a full disk only the first is, since the others need some space.

        :param alone: no other process uses the store. Otherwise the versions of the last hour are kept, since another
            run may still read them, and small fragments are not joined, which would need space without freeing any.
        :raises StoreError: another process changes the same rows, or the rows cannot be read.
        """
        with _store_errors(self.path, "cannot be pruned", "if another process is changing it, try again later"):
            dataset = self._dataset()
            old = {"older_than": timedelta(0) if alone else _KEEP, "delete_unverified": alone}
            dataset.cleanup_old_versions(**old)  # first, since it needs no space on a full disk
            try:
                if duplicates := duplicates_of(dataset):
                    dataset.delete(f"_rowid IN ({', '.join(map(str, duplicates))})")
                if alone:
                    dataset.optimize.compact_files()
                complete = True
            except OSError as failure:
                if FULL not in str(failure):
                    raise
                complete = False
            dataset.cleanup_old_versions(**old)
            return complete

    def remove(self) -> None:
        """Delete the table."""
        self.space_file.unlink(missing_ok=True)
        remove_dataset(self.path)

    @property
    def _schema(self) -> pa.Schema:
        features = pa.list_(_ARROW[self.space.dtype], math.prod(self.space.shape))
        return pa.schema({"image": pa.binary(16), "view": pa.int32(), "crc": pa.uint32(), "features": features})

    def _dataset(self) -> Any:
        # It may be pickled for a process in another folder.
        return lance.dataset(str(self.path.absolute()), storage_options=lance_options(self.path))


@dataclass(frozen=True)
class FeatureRows:
    """Features in a fixed order, read from disk as they are taken."""

    table: FeatureTable
    dataset: Any
    positions: NDArray[np.int64]  # in the dataset

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, rows: NDArray[np.int64]) -> FeatureRows:
        """See :class:`~headstart.features.sources.FeatureSource`."""
        return replace(self, positions=self.positions[rows])

    @property
    def nbytes(self) -> int:
        """Memory that all rows need once they are read."""
        space = self.table.space
        return len(self) * math.prod(space.shape) * np.dtype(space.dtype).itemsize

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Read some rows, (len(rows), *shape).

        :raises StoreError: a row is damaged.
        """
        wanted = self.positions[np.asarray(rows, np.int64)]
        values = np.empty((len(wanted), *self.table.space.shape), self.table.space.dtype)
        self._read_into(values, wanted)
        return values

    def load(self, folder: Path) -> NDArray[Any]:
        """Read all rows, (len(self), *shape); many of them into a temporary file in the folder.

        :raises StoreError: a row is damaged.
        """
        space = self.table.space
        values = scratch_array((len(self), *space.shape), space.dtype, folder)
        self._read_into(values, self.positions)
        return values

    def _read_into(self, values: NDArray[Any], wanted: NDArray[np.int64]) -> None:
        disk_order = np.argsort(wanted, kind="stable")
        for start in range(0, len(wanted), _READ_ROWS):  # in chunks, so that the rows are not in memory twice
            chunk = disk_order[start : start + _READ_ROWS]
            positions, inverse = np.unique(wanted[chunk], return_inverse=True)
            values[chunk] = self._read(positions)[inverse]

    def _read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """Read one or more positions, ascending."""
        space = self.table.space
        with _store_errors(self.table.path, "cannot read features", _REMEDY):
            batches = self.dataset.take(positions.tolist()).to_batches()
            if any(corrupt_rows(batch, space.dtype).any() for batch in batches):
                raise ValueError("wrong checksum")
            return np.concatenate([values_of(batch, space.dtype) for batch in batches]).reshape(-1, *space.shape)


@contextmanager
def _store_errors(path: Location, what: str, remedy: str = "") -> Iterator[None]:
    """Turn whatever Lance raises, which may be anything if files are damaged, into a StoreError."""
    try:
        yield
    except BaseException as failure:
        # A panic of Rust code reaches Python as a BaseException of a type that cannot be imported.
        if not isinstance(failure, Exception) and type(failure).__name__ != "PanicException":
            raise
        reason = short_reason(failure)
        if not isinstance(path, Path):
            remedy = "check that it is there, and the credentials; the same command goes on from what was finished"
        if FULL in reason:
            reason, remedy = "the disk is full", "free some space, or choose another disk with --cache-dir"
        raise StoreError(f"{path}: {what} ({reason})" + f"; {remedy}" * bool(remedy)) from failure


def remove_dataset(path: Location) -> None:
    """Remove a dataset, or what a killed process left of one."""
    if not isinstance(path, Path):
        remove_all(path, first="_versions")  # without which it is no dataset
        return
    # Renamed first: if this is interrupted, a part of the dataset must not keep the name of a complete one.
    removed = path.with_name(REMOVED)
    try:
        removed.mkdir(exist_ok=True)
    except OSError as failure:
        if failure.errno != errno.ENOSPC:
            raise
        removed = path  # a full disk may have no space for a folder either
    else:
        with suppress(FileNotFoundError):
            path.rename(removed / uuid4().hex)
    shutil.rmtree(removed)
