"""Parquet files whose content is checked when they are read: nothing that was damaged is believed.

Pages have the checksums of the format. They protect neither the headers of pages nor the footer with the number of rows
and the metadata; a checksum of the content, in the metadata of the table, does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headstart.errors import RunError
from headstart.files import atomic_write

__all__ = ["read_parquet", "table_checksum", "write_parquet"]

_CHECKSUM = b"checksum"


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table, atomically. Its columns are numbers, texts, lists of these, and structs."""
    metadata = {**(table.schema.metadata or {}), _CHECKSUM: table_checksum(table).encode()}
    with atomic_write(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, write_page_checksum=True)


def read_parquet(path: Path) -> pa.Table:
    """Read what :func:`write_parquet` wrote; a table that other software wrote has no checksum, and is not checked.

    :raises FileNotFoundError: there is no such file.
    :raises RunError: the file is damaged, or not Parquet.
    """
    try:
        # As a file, not as a data set, which would turn parent folders with names like a=1 into columns.
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
        table.validate(full=True)  # that texts are UTF-8, above all
        metadata = dict(table.schema.metadata or {})
        expected = metadata.pop(_CHECKSUM, None)
        table = table.replace_schema_metadata(metadata or None)
        found = table_checksum(table).encode() if expected is not None else None
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file makes pyarrow raise anything
        raise RunError(f"{path}: damaged, or not a Parquet file: {error}") from error
    if found != expected:
        raise RunError(f"{path}: damaged: its content was changed after it was written")
    return table


def table_checksum(table: pa.Table) -> str:
    """Return 32 hexadecimal digits of BLAKE2b over the names, types, values and metadata of a table.

    >>> one, other = pa.table({"a": ["x", None]}), pa.table({"a": pa.chunked_array([["x"], [None]], pa.string())})
    >>> table_checksum(one) == table_checksum(other)
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for key, text in sorted((table.schema.metadata or {}).items()):
        digest.update(repr((key, text)).encode())
    for name in table.schema.names:
        _update(digest, name, table[name].combine_chunks())
    return digest.hexdigest()


def _update(digest: hashlib.blake2b, name: str, values: pa.Array) -> None:
    """Add the values of a column; of structs, each field as a column."""
    digest.update(_packed(values.is_null()))
    if pa.types.is_struct(values.type):
        for field, each in zip(values.type, values.flatten(), strict=True):
            _update(digest, f"{name}.{field.name}", each)
        return
    if pa.types.is_list(values.type):
        digest.update(_packed(pc.fill_null(pc.list_value_length(values), 0)))
    if pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type):
        values = values.flatten()
    digest.update(repr((name, str(values.type), len(values))).encode())
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        empty = pa.scalar("" if pa.types.is_string(values.type) else b"")
        values = pc.fill_null(values, empty)
        digest.update(_packed(pc.binary_length(values)))
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(values)], values), empty)
        digest.update(joined[0].as_buffer())
    else:
        digest.update(_packed(pc.fill_null(values, pa.scalar(0).cast(values.type))))


def _packed(values: pa.Array) -> bytes:
    """Numbers or booleans without null as the bytes of a NumPy array."""
    return np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).tobytes()
