"""What a feature table lacks of a manifest, in arrays: a hundred million images take gigabytes and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["MissingViews", "first_rows", "keys_from_hex"]

_NO_DIGIT = 255
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)  # by character
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


@dataclass(frozen=True)
class MissingViews(Mapping[int, list[int]]):
    """The views that rows lack, as a mapping from the rows, ascending, to the numbers of their views.

    >>> missing = MissingViews(np.array([3, 8]), (0, 1), np.array([[True, True], [False, True]]))
    >>> dict(missing), missing.total
    ({3: [0, 1], 8: [1]}, 3)
    """

    rows: NDArray[np.int64]  # (M,), ascending
    views: tuple[int, ...]  # V
    lacks: NDArray[np.bool_]  # (M, V), with a view in each row

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[int]:
        return iter(map(int, self.rows))

    def __getitem__(self, row: int) -> list[int]:
        at = int(np.searchsorted(self.rows, row))
        if at == len(self.rows) or self.rows[at] != row:
            raise KeyError(row)
        return self.at(at)

    def at(self, number: int) -> list[int]:
        """The views of the row with this number among the rows."""
        return [view for view, lacks in zip(self.views, self.lacks[number].tolist(), strict=True) if lacks]

    @property
    def total(self) -> int:
        """The number of views that are missing."""
        return int(self.lacks.sum())


def keys_from_hex(hashes: pa.ChunkedArray | Sequence[str]) -> pa.FixedSizeBinaryArray:
    """Content hashes, 32 hexadecimal digits each, as the 16 bytes that a feature table has; nulls stay.

    >>> keys_from_hex(["0f" * 16]).to_pylist() == [b"\\x0f" * 16]
    True

    :raises ValueError: a hash has something else.
    """
    texts = hashes if isinstance(hashes, pa.ChunkedArray) else pa.chunked_array([pa.array(hashes, pa.string())])
    known = texts.drop_null()
    mistake = ValueError("content hashes have 32 hexadecimal digits each")
    if len(known) and pc.min_max(pc.binary_length(known)).as_py() != {"min": 32, "max": 32}:
        raise mistake
    keys = np.empty((len(known), 16), np.uint8)
    start = 0
    for chunk in known.chunks:
        if not len(chunk):
            continue
        offset = np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset]
        letters = np.frombuffer(chunk.buffers()[2], np.uint8, 32 * len(chunk), offset).reshape(len(chunk), 32)
        digits = _DIGITS[letters]
        if (digits == _NO_DIGIT).any():
            raise mistake
        keys[start : start + len(chunk)] = digits[:, ::2] << 4 | digits[:, 1::2]
        start += len(chunk)
    found = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(keys), [None, pa.py_buffer(keys)])
    if not texts.null_count:
        return found
    places = np.cumsum(texts.is_valid().to_numpy()) - 1
    return found.take(pa.array(places, mask=texts.is_null().to_numpy()))


def first_rows(keys: pa.FixedSizeBinaryArray, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the rows, ascending, whose key no earlier one of them has."""
    some = keys.take(pa.array(rows))
    first = np.asarray(pc.index_in(some, value_set=some), np.int64)
    found: NDArray[np.int64] = rows[first == np.arange(len(rows))]
    return found
