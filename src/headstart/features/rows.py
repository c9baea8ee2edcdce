"""The rows of a feature table: image, view, checksum and features."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.features.key import stored_view

__all__ = [
    "checksums_of",
    "corrupt_rows",
    "duplicates_of",
    "keys_of",
    "parts_of_keys",
    "positions_of",
    "sorted_by_view",
    "values_of",
]

_PART = 1 << 20  # rows


def sorted_by_view(
    computed: Mapping[tuple[int, str], NDArray[Any]],
) -> tuple[tuple[int, ...], tuple[str, ...], NDArray[Any]]:
    """Views (N,), images (N,) and features (N, *shape) of what was computed by view and image, in the order of views.

    Training reads view by view, and then finds long runs of rows.

    >>> sorted_by_view({(1, "a"): np.ones(2), (0, "b"): np.zeros(2)})[:2]
    ((0, 1), ('b', 'a'))
    """
    rows = sorted(computed.items(), key=lambda item: item[0][0])
    views, images = zip(*(key for key, _ in rows), strict=True)
    return views, images, np.stack([features for _, features in rows])


def keys_of(dataset: Any) -> pa.Table:
    """The image and view of each row, in the order of the dataset."""
    return dataset.to_table(columns=["image", "view"])


def parts_of_keys(dataset: Any) -> Iterator[pa.Table]:
    """The same, in parts of about a million rows: a value is looked up in all of a part at once."""
    parts: list[pa.RecordBatch] = []
    for batch in dataset.to_batches(columns=["image", "view"], batch_size=_PART):
        parts.append(batch)
        if sum(map(len, parts)) >= _PART:
            yield pa.Table.from_batches(parts)
            parts = []
    if parts:
        yield pa.Table.from_batches(parts)


def duplicates_of(dataset: Any) -> list[int]:
    """The identifiers of rows whose image and view an earlier row has."""
    keys = dataset.to_table(columns=["image", "view"], with_row_id=True)
    first: dict[tuple[bytes, int], int] = {}
    columns = (keys[name].to_pylist() for name in ("image", "view", "_rowid"))
    return [row for image, view, row in zip(*columns, strict=True) if first.setdefault((image, view), row) != row]


def positions_of(keys: pa.Table, images: pa.FixedSizeBinaryArray, view: int) -> NDArray[np.int64]:
    """The position of each image's first row in the dataset; -1 if there is none."""
    of_view = pc.if_else(pc.equal(keys["view"], stored_view(view)), keys["image"], pa.scalar(None, pa.binary(16)))
    return np.asarray(pc.index_in(images, value_set=of_view).fill_null(-1), np.int64)


def values_of(batch: pa.RecordBatch, dtype: str) -> NDArray[Any]:
    """The features of a batch, (rows, values)."""
    return np.asarray(batch["features"].flatten().to_numpy(zero_copy_only=False), dtype).reshape(len(batch), -1)


def checksums_of(images: Sequence[bytes], views: Sequence[int], values: NDArray[Any]) -> NDArray[np.uint32]:
    """CRC-32 of whole rows: features under the hash of another image are as wrong as corrupt features."""
    keys = (image + view.to_bytes(4, "little", signed=True) for image, view in zip(images, views, strict=True))
    return np.fromiter(map(zlib.crc32, values, map(zlib.crc32, keys)), np.uint32, len(images))


def corrupt_rows(batch: pa.RecordBatch, dtype: str) -> NDArray[np.bool_]:
    """Which rows differ from what was written."""
    images, views = batch["image"].to_pylist(), batch["view"].to_pylist()
    return np.asarray(checksums_of(images, views, values_of(batch, dtype)) != batch["crc"].to_numpy())
