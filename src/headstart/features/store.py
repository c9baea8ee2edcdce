"""Features on disk: a Lance data set for each feature space, with a row for each image and view.

Rows are only ever appended, and a commit is atomic: a reader, a second writer and a run that is killed see whole
commits and nothing else. Two runs that add the same row at once leave it twice with the same content; readers take
the first, and :meth:`Space.prune` drops the other.
"""

from __future__ import annotations

import json
import math
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
from headstart.features.values import as_kept
from headstart.files import write_json

__all__ = ["FeatureRows", "FeatureStore", "Space"]

_ARROW = {"float16": pa.float16(), "float32": pa.float32(), "uint8": pa.uint8()}
_MANY_FRAGMENTS = 64  # each commit leaves one; beyond this, reading them costs more than joining them
_ROWS_AT_A_TIME = 1024  # of many that are read
_REMEDY = "headstart cache prune --model NAME removes a model's features, and the next run computes them again"


@dataclass(frozen=True)
class FeatureStore:
    """A folder of feature spaces.

    >>> import tempfile
    >>> from headstart.data.spec import InputSpec
    >>> kept = FeatureSpace("net", "0" * 32, "pool", InputSpec(), "float32", "float16", (4,))
    >>> space = FeatureStore(Path(tempfile.mkdtemp())).space(kept)
    >>> space.append(["ab" * 16], np.ones((1, 4), np.float32))
    >>> space.missing(["ab" * 16, "cd" * 16])
    ['cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd']
    >>> space.rows(["ab" * 16]).take([0])
    array([[1., 1., 1., 1.]], dtype=float16)
    """

    folder: Path

    def space(self, space: FeatureSpace) -> Space:
        """The space's rows; its data set is made where it is not there.

        :raises StoreError: the folder cannot be written, or the data set is damaged.
        """
        facts = self.folder / f"{space.key}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            made = Space(self.folder / f"{space.key}.lance", facts, space.dtype, space.shape).created()
            if not facts.exists():
                write_json(facts, space.as_dict())
        except OSError as failure:
            raise StoreError(
                f"{self.folder}: the feature store cannot be written ({failure}); give another: --store"
            ) from failure
        return made

    def spaces(self) -> Iterator[Space]:
        """All spaces in the folder, by name.

        :raises StoreError: what tells of one is damaged.
        """
        yield from map(_read_space, sorted(self.folder.glob("*.json")))


@dataclass(frozen=True)
class Space:
    """The rows of one feature space."""

    path: Path
    facts_path: Path
    dtype: str
    shape: tuple[int, ...]

    def created(self) -> Space:
        """Make the data set where it is not there yet; another process may do so at the same time."""
        if not self._is_there():
            try:
                lance.write_dataset(self._schema.empty_table(), str(self.path), mode="create")
            except OSError as failure:
                if "already exists" not in str(failure):
                    raise
        return self

    def _is_there(self) -> bool:
        """A folder alone is none: a process may have been killed while it made the data set."""
        with _telling(self.path, "it cannot be opened", _REMEDY):
            try:
                self._dataset()
            except ValueError as failure:
                if "was not found" not in str(failure):
                    raise
                return False
            return True

    @property
    def facts(self) -> dict[str, Any]:
        """What the space is of: model, cut, input, precision."""
        return json.loads(self.facts_path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    @property
    def bytes(self) -> int:
        """On disk, older versions included."""
        total = 0
        for file in self.path.rglob("*"):
            with suppress(FileNotFoundError):  # another process may be pruning
                total += file.stat().st_size if file.is_file() else 0
        return total

    def __len__(self) -> int:
        with _telling(self.path, "its rows cannot be counted", _REMEDY):
            return int(self._dataset().count_rows())

    def append(self, images: Sequence[str], features: NDArray[Any], *, view: int | Sequence[int] = 0) -> None:
        """Add a row for each image, in one commit.

        :param images: content hashes, 32 hexadecimal digits each.
        :param features: (N, *shape), finite.
        :param view: the number of the view that they are of, or one for each image.
        :raises StoreError: a value is not finite, or the folder cannot be written (the disk is full).
        """
        values = as_kept(np.ascontiguousarray(features).reshape(len(images), -1), self.dtype)
        keys = [bytes.fromhex(image) for image in images]
        views = [stored_view(number) for number in np.broadcast_to(view, len(keys)).tolist()]
        table = pa.table(
            [
                pa.array(keys, pa.binary(16)),
                pa.array(views, pa.int32()),
                pa.array(_checksums(keys, views, values)),
                pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]),
            ],
            schema=self._schema,
        )
        with _telling(self.path, "features cannot be added"):
            lance.write_dataset(table, str(self.path), mode="append")

    def missing(self, images: Sequence[str], *, view: int = 0) -> list[str]:
        """Which of the images have no row yet, each once, in the given order."""
        return list(self.missing_views(images, (view,)))

    def missing_views(self, images: Sequence[str], views: Sequence[int]) -> dict[str, list[int]]:
        """The images that lack a row of any of these views, in the given order, with those that they lack.

        The store is listed once, however many views are asked for.
        """
        with _telling(self.path, "its rows cannot be listed", _REMEDY):
            keys, asked = _keys(self._dataset()), np.unique(views)
            lacks = np.array([_positions(keys, images, number) < 0 for number in asked.tolist()])  # (views, images)
        return {images[place]: asked[lacks[:, place]].tolist() for place in np.flatnonzero(lacks.any(0)).tolist()}

    def rows(self, images: Sequence[str], *, view: int = 0) -> FeatureRows:
        """The features of these images, in this order.

        :raises StoreError: one has no row.
        """
        with _telling(self.path, "its rows cannot be listed", _REMEDY):
            # One opening for both: positions are those of this version of the data set.
            dataset = self._dataset()
            positions = _positions(_keys(dataset), images, view)
        if (positions < 0).any():
            image = images[int(np.argmin(positions))]
            raise StoreError(f"{self.path}: no features of the image with hash {image}")
        return FeatureRows(self, dataset, positions)

    def verify(self) -> int:
        """Count the rows whose content is not what was written.

        :raises StoreError: a file is so damaged that its rows cannot be read.
        """
        with _telling(self.path, "a file is damaged", _REMEDY):
            batches = self._dataset().to_batches(batch_size=_ROWS_AT_A_TIME)
            return sum(int(_wrong(batch, self.dtype).sum()) for batch in batches)

    def tidy(self) -> None:
        """Join the fragments that many small commits leave, when there are many."""
        with suppress(OSError, ValueError):  # another process is at it, or has removed it
            dataset = self._dataset()
            if len(dataset.get_fragments()) > _MANY_FRAGMENTS:
                dataset.optimize.compact_files()

    def prune(self, keep_versions: timedelta = timedelta(hours=1)) -> None:
        """Drop rows that are there twice, and what older versions and killed writers left.

        :param keep_versions: a run that reads an older version may need it for so long.
        :raises StoreError: another process changes the same rows, or they cannot be read.
        """
        with _telling(self.path, "it cannot be pruned", "if another process changes it, try again later"):
            dataset = self._dataset()
            keys = dataset.to_table(columns=["image", "view"], with_row_id=True)
            first: dict[tuple[bytes, int], int] = {}
            columns = (keys[name].to_pylist() for name in ("image", "view", "_rowid"))
            twice = [
                row for image, view, row in zip(*columns, strict=True) if first.setdefault((image, view), row) != row
            ]
            if twice:
                dataset.delete(f"_rowid IN ({', '.join(map(str, twice))})")
            dataset.optimize.compact_files()
            dataset.cleanup_old_versions(older_than=keep_versions)

    def remove(self) -> None:
        """Delete the whole space."""
        self.facts_path.unlink(missing_ok=True)
        # Renamed first: half of a data set, should this be interrupted, must not have the name of a whole one.
        removed = self.path.with_name(".removed")
        removed.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):
            self.path.rename(removed / uuid4().hex)
        shutil.rmtree(removed)

    @property
    def _schema(self) -> pa.Schema:
        features = pa.list_(_ARROW[self.dtype], math.prod(self.shape))
        return pa.schema({"image": pa.binary(16), "view": pa.int32(), "crc": pa.uint32(), "features": features})

    def _dataset(self) -> Any:
        return lance.dataset(str(self.path))


@dataclass(frozen=True)
class FeatureRows:
    """Features in a fixed order, on disk until they are taken."""

    space: Space
    dataset: Any
    positions: NDArray[np.int64]  # in the data set

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def nbytes(self) -> int:
        """What they take in memory once taken."""
        return len(self) * math.prod(self.space.shape) * np.dtype(self.space.dtype).itemsize

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Read some, (len(rows), *shape).

        :raises StoreError: one is damaged.
        """
        wanted = self.positions[np.asarray(rows, np.int64)]
        values = np.empty((len(wanted), *self.space.shape), self.space.dtype)
        in_order = np.argsort(wanted, kind="stable")  # the disk is read in its own order
        for start in range(0, len(wanted), _ROWS_AT_A_TIME):  # so that they are in memory once, not twice
            some = in_order[start : start + _ROWS_AT_A_TIME]
            positions, back = np.unique(wanted[some], return_inverse=True)
            values[some] = self._read(positions)[back]
        return values

    def _read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        """At least one position, in the data set's order."""
        dtype = self.space.dtype
        with _telling(self.space.path, "features cannot be read", _REMEDY):
            batches = self.dataset.take(positions.tolist()).to_batches()
            if any(_wrong(batch, dtype).any() for batch in batches):
                raise ValueError("a checksum is wrong")
            return np.concatenate([_values(batch, dtype) for batch in batches]).reshape(-1, *self.space.shape)


@contextmanager
def _telling(path: Path, what: str, remedy: str = "") -> Iterator[None]:
    """What Lance raises, which may be anything where files are damaged, as an error of ours."""
    try:
        yield
    except BaseException as failure:
        # A panic of Rust code reaches Python as a BaseException of a type that cannot be imported.
        if not isinstance(failure, Exception) and type(failure).__name__ != "PanicException":
            raise
        raise StoreError(f"{path}: {what} ({failure})" + f"; {remedy}" * bool(remedy)) from failure


def _read_space(facts: Path) -> Space:
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
        return Space(facts.with_suffix(".lance"), facts, known["dtype"], tuple(known["shape"]))
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise StoreError(f"{facts}: damaged ({failure!r}); delete it and the folder with its name") from failure


def _keys(dataset: Any) -> pa.Table:
    """What each row is of, in the data set's order."""
    return dataset.to_table(columns=["image", "view"])


def _positions(keys: pa.Table, images: Sequence[str], view: int) -> NDArray[np.int64]:
    """Where each image's row is in the data set, the first if it is there twice; -1: nowhere."""
    of_view = pc.if_else(pc.equal(keys["view"], stored_view(view)), keys["image"], pa.scalar(None, pa.binary(16)))
    wanted = pa.array([bytes.fromhex(image) for image in images], pa.binary(16))
    return np.asarray(pc.index_in(wanted, value_set=of_view).fill_null(-1), np.int64)


def _values(batch: pa.RecordBatch, dtype: str) -> NDArray[Any]:
    """(rows, values)"""
    return np.asarray(batch["features"].flatten().to_numpy(zero_copy_only=False), dtype).reshape(len(batch), -1)


def _checksums(images: Sequence[bytes], views: Sequence[int], values: NDArray[Any]) -> NDArray[np.uint32]:
    """Of whole rows: features under the name of another image would be as wrong as other features."""
    keys = (image + view.to_bytes(4, "little", signed=True) for image, view in zip(images, views, strict=True))
    return np.fromiter(map(zlib.crc32, values, map(zlib.crc32, keys)), np.uint32, len(images))


def _wrong(batch: pa.RecordBatch, dtype: str) -> NDArray[np.bool_]:
    """Which rows are not what was written."""
    images, views = batch["image"].to_pylist(), batch["view"].to_pylist()
    return np.asarray(_checksums(images, views, _values(batch, dtype)) != batch["crc"].to_numpy())
