"""Inspections of earlier runs, so that images that have not changed since are not read again.

An image counts as unchanged while its stamp is the same: for a file, its size, its inode and its times of modification
and of status change, as in git's index. Git's precaution is taken as well: an image that changed within two seconds
before it was inspected is not cached, since a second change might have the same time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import PIL
import pyarrow as pa
import pyarrow.compute as pc

from headstart import __version__
from headstart.data.decode import Inspection
from headstart.data.manifest import SCHEMA
from headstart.data.parquet import read_parquet, write_parquet
from headstart.data.sources.base import Stamp
from headstart.data.value_range import PixelValues
from headstart.errors import RunError

__all__ = ["InspectionCache"]

_UNWRITTEN = 0.2  # share of the rows that a killed process may lose
_MADE_BY = {b"headstart": __version__.encode(), b"pillow": PIL.__version__.encode()}  # others may decide differently
_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        *((name, pa.uint64() if name == "inode" else pa.int64()) for name in Stamp._fields),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),  # of the image, which is not the size of its stamp if that is of an archive
        ("hash", pa.string()),
        SCHEMA.field("values"),
    ],
    metadata=_MADE_BY,
)


class InspectionCache:
    """Inspections of usable images in one Parquet file; a file that is damaged or of another version counts as empty.

    Used through :func:`headstart.data.inspection.inspect_all`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = _SCHEMA.empty_table()
        self._unwritten = 0  # rows
        with suppress(OSError, RunError):
            table = read_parquet(path)
            if table.schema.equals(_SCHEMA, check_metadata=True):
                self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def find(self, uris: Sequence[str], stamps: Sequence[Stamp | None]) -> list[Inspection | None]:
        """Return the inspection of each image; None if it is not cached, or the image has changed."""
        rows = pc.index_in(pa.array(uris, pa.string()), value_set=self._table["uri"])
        cached = self._table.take(rows).to_pydict()
        facts = zip(*(cached[name] for name in ("hash", "width", "height", "bytes", "values")), strict=True)
        before = zip(*(cached[name] for name in Stamp._fields), strict=True)
        return [
            Inspection(digest, width, height, size, None, values and PixelValues(**values))
            if now is not None and now == then
            else None
            for now, then, (digest, width, height, size, values) in zip(stamps, before, facts, strict=True)
        ]

    def add(self, uris: Sequence[str], stamps: Sequence[Stamp | None], inspections: Sequence[Inspection]) -> None:
        """Add the inspections of images that were read after their stamps were taken.

        The file is written once it lacks a fifth of the rows: written whole each time, a million images added in
        blocks would otherwise take many times their size. See :meth:`write`.
        """
        now = time.time_ns()
        rows = [
            (uri, *stamp, found.width, found.height, found.bytes, found.hash, found.values and asdict(found.values))
            for uri, stamp, found in zip(uris, stamps, inspections, strict=True)
            if stamp is not None and found.problem is None and stamp.settled(now)
        ]
        if not rows:
            return
        columns = zip(zip(*rows, strict=True), _SCHEMA, strict=True)
        new = pa.table([pa.array(values, field.type) for values, field in columns], schema=_SCHEMA)
        known = pc.is_in(self._table["uri"], value_set=new["uri"])
        # Without a copy where nothing is replaced.
        old = self._table.filter(pc.invert(known)) if pc.any(known).as_py() else self._table
        self._table = pa.concat_tables([old, new])
        self._unwritten += len(new)
        if self._unwritten >= _UNWRITTEN * len(self._table):
            self.write()

    def forget(self, uris: Sequence[str]) -> None:
        """Remove the inspections of images that proved wrong: their content is another one."""
        wrong = pc.is_in(self._table["uri"], value_set=pa.array(uris, pa.string()))
        if pc.any(wrong).as_py():
            self._table = self._table.filter(pc.invert(wrong))
            self._unwritten += 1
            self.write()

    def write(self) -> None:
        """Write what was added since the last time.

        A file that cannot be written is not an error: the next run only takes longer.
        """
        if self._unwritten:
            with suppress(OSError):
                write_parquet(self._path, self._table)
            self._unwritten = 0
