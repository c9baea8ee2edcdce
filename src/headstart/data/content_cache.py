"""What was computed of images, in a Parquet file by their content: a column "key", and whatever else there is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from headstart.data.manifest import Manifest
from headstart.data.parquet import read_parquet
from headstart.data.value_range import ValueRange
from headstart.errors import RunError

__all__ = ["content_keys", "read_known", "rows_to_compute"]


def content_keys(manifest: Manifest, ranges: Sequence[ValueRange]) -> list[str]:
    """What a result for each image depends on: its content, and black and white if it is not of 8 bits."""
    of_deep = hashlib.blake2b(repr(tuple(ranges)).encode(), digest_size=8).hexdigest()
    found = zip(manifest.hashes, manifest.uris, manifest.values, strict=True)
    return [f"{content or uri}{'' if values is None else of_deep}" for content, uri, values in found]


def read_known(cache: Path | None, schema: pa.Schema) -> pa.Table:
    """The table of a file; an empty one if there is none, or it is damaged or has another schema."""
    if cache is not None:
        with suppress(OSError, RunError):
            table = read_parquet(cache)
            if table.schema.equals(schema, check_metadata=True):
                return table
    return schema.empty_table()


def rows_to_compute(keys: Sequence[str], known: pa.Table) -> dict[str, int]:
    """The keys that a table does not have, each with one of its rows.

    >>> rows_to_compute(["a", "b", "b"], pa.table({"key": ["a"]}))
    {'b': 2}
    """
    places = pc.index_in(pa.array(keys, pa.string()), value_set=known["key"]).to_pylist() if len(known) else []
    return {key: row for row, key in enumerate(keys) if not places or places[row] is None}
