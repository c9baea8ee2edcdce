"""Files that were inspected before, so that those that have not changed since are not read again.

A file counts as unchanged as long as its size, its inode and both of its times (of its content and of its entry) are
what they were: the rule of git's index. With it goes git's caution: of a file that changed within two seconds before
it was inspected nothing is kept, since a second change might bear the same time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import PIL
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headstart import __version__
from headstart.data.decode import Inspection
from headstart.files import replacing

__all__ = ["Seen", "Stamp", "stamp"]

_SETTLED = 2_000_000_000  # nanoseconds; the coarsest clock of a file system in use, FAT's, has steps of two seconds
_MADE_BY = {b"headstart": __version__.encode(), b"pillow": PIL.__version__.encode()}  # others may judge otherwise


class Stamp(NamedTuple):
    """By what a file is known to be the same."""

    size: int  # bytes
    inode: int
    modified: int  # nanoseconds since 1970: when the content changed last
    changed: int  # when the content, the name or the rights changed last

    def settled(self, now: int) -> bool:
        """Whether a change from now on would bear another time."""
        return now - max(self.modified, self.changed) > _SETTLED


_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        *((name, pa.uint64() if name == "inode" else pa.int64()) for name in Stamp._fields),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("hash", pa.string()),
    ],
    metadata=_MADE_BY,
)


def stamp(path: Path) -> Stamp | None:
    """What a file looks like from outside; None where it cannot be looked at."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return Stamp(found.st_size, found.st_ino & (1 << 64) - 1, found.st_mtime_ns, found.st_ctime_ns)


class Seen:
    """Inspections of usable files, kept in one Parquet file; one that is damaged, or of another version, is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = _SCHEMA.empty_table()
        with suppress(OSError, pa.ArrowException):
            kept = pq.ParquetFile(path).read()
            if kept.schema.equals(_SCHEMA, check_metadata=True):
                self._table = kept

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def find(self, uris: Sequence[str], stamps: Sequence[Stamp | None]) -> list[Inspection | None]:
        """What is known of each file; None where nothing is, or the file has changed."""
        rows = pc.index_in(pa.array(uris, pa.string()), value_set=self._table["uri"])
        kept = self._table.take(rows).to_pydict()
        of_row = zip(kept["width"], kept["height"], kept["hash"], strict=True)
        then = zip(*(kept[name] for name in Stamp._fields), strict=True)
        return [
            Inspection(digest, width, height, now.size, None) if now is not None and now == before else None
            for now, before, (width, height, digest) in zip(stamps, then, of_row, strict=True)
        ]

    def keep(self, uris: Sequence[str], stamps: Sequence[Stamp | None], inspections: Sequence[Inspection]) -> None:
        """Add what was found of files after their stamps were taken. That it cannot be written costs time alone."""
        now = time.time_ns()
        rows = [
            (uri, *mark, found.width, found.height, found.hash)
            for uri, mark, found in zip(uris, stamps, inspections, strict=True)
            if mark is not None and found.problem is None and mark.settled(now)
        ]
        if not rows:
            return
        columns = zip(zip(*rows, strict=True), _SCHEMA, strict=True)
        new = pa.table([pa.array(values, field.type) for values, field in columns], schema=_SCHEMA)
        old = self._table.filter(pc.invert(pc.is_in(self._table["uri"], value_set=new["uri"])))
        self._table = pa.concat_tables([old, new])
        with suppress(OSError), replacing(self._path) as beside:
            pq.write_table(self._table, beside)
