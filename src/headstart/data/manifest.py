"""The manifest: one row an image, as a pyarrow table with a face.

========  ======  ====================================================================================
uri       string  absolute path (see ``uri.py``), or ``array:7`` for the eighth picture given in memory
label     string  class name; null: not known
split     string  ``train``, ``validation`` or ``test``; null: not decided
group     string  rows of one group stay on one side of a split; null: none
width     int32   upright size in pixels; null: not inspected, or not readable
height    int32
bytes     int64   size of the file
hash      string  32 hexadecimal digits of the content
problem   string  why the image was set aside; null: usable
========  ======  ====================================================================================
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data.uri import to_path, to_uri
from headstart.errors import DataError, RunError
from headstart.files import replacing, write_text

__all__ = ["SCHEMA", "Manifest"]

SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        ("label", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("hash", pa.string()),
        ("problem", pa.string()),
    ]
)
_ARRAY = "array:"


class Manifest:
    """Images, their labels and what is known of them. Never changed in place: methods return a new one.

    >>> manifest = Manifest.from_rows(["/photos/a.jpg", "/photos/b.jpg"], labels=["cat", "dog"])
    >>> manifest.classes
    ('cat', 'dog')
    >>> manifest.select([1]).uris
    ['/photos/b.jpg']
    """

    def __init__(self, table: pa.Table, arrays: Sequence[npt.NDArray[Any]] | None = None) -> None:
        self.table = table
        self.arrays = arrays

    @classmethod
    def from_rows(
        cls,
        uris: Sequence[str | Path],
        *,
        labels: Sequence[str | None] | None = None,
        splits: Sequence[str | None] | None = None,
        groups: Sequence[str | None] | None = None,
        arrays: Sequence[npt.NDArray[Any]] | None = None,
    ) -> Manifest:
        """Columns as sequences of one length; a Path becomes its uri, a string is taken as it stands."""
        given: dict[str, Sequence[Any] | None] = {
            "uri": [to_uri(uri) if isinstance(uri, Path) else uri for uri in uris],
            "label": labels,
            "split": splits,
            "group": groups,
        }
        columns = [pa.array(given.get(field.name) or [None] * len(uris), type=field.type) for field in SCHEMA]
        return cls(pa.table(columns, schema=SCHEMA), arrays)

    @classmethod
    def from_arrays(cls, arrays: Sequence[npt.NDArray[Any]], labels: Sequence[str | None] | None = None) -> Manifest:
        """Pictures in memory, each as :func:`headstart.data.decode.decode` takes them."""
        return cls.from_rows([f"{_ARRAY}{i}" for i in range(len(arrays))], labels=labels, arrays=arrays)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"Manifest({len(self)} images, {len(self.classes)} classes)"

    def _column(self, name: str) -> list[Any]:
        return self.table[name].to_pylist()  # type: ignore[no-any-return]

    @property
    def uris(self) -> list[str]:
        """What names each image."""
        return self._column("uri")

    @property
    def labels(self) -> list[str | None]:
        """The class name of each image; None where it is not known."""
        return self._column("label")

    @property
    def splits(self) -> list[str | None]:
        """The part of each image: "train", "validation", "test" or None."""
        return self._column("split")

    @property
    def hashes(self) -> list[str | None]:
        """The content hash of each image; None before :func:`headstart.data.checkup.inspect_all`."""
        return self._column("hash")

    @property
    def problems(self) -> list[str | None]:
        """Why each image cannot be used; None where it can."""
        return self._column("problem")

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted as strings."""
        return tuple(sorted({label for label in self.labels if label is not None}))

    @property
    def usable(self) -> Manifest:
        """The rows without a problem."""
        return self.select(np.array([problem is None for problem in self.problems], dtype=bool))

    @property
    def unusable(self) -> Manifest:
        """The rows with a problem."""
        return self.select(np.array([problem is not None for problem in self.problems], dtype=bool))

    def part(self, split: str) -> Manifest:
        """The rows of "train", "validation" or "test"."""
        return self.select(np.array([value == split for value in self.splits], dtype=bool))

    def select(self, rows: npt.ArrayLike) -> Manifest:
        """Some rows: a boolean mask, or row numbers in the order wanted."""
        chosen = np.asarray(rows)
        numbers = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return Manifest(self.table.take(pa.array(numbers)), self.arrays)

    def with_column(self, name: str, values: Iterable[Any]) -> Manifest:
        """A column of the schema replaced; one value a row, None for null."""
        position = SCHEMA.names.index(name)
        array = pa.array(list(values), type=SCHEMA.field(position).type)
        return Manifest(self.table.set_column(position, SCHEMA.field(position), array), self.arrays)

    def targets(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Labels as positions in ``classes``, shape (N,). DataError: a label that is not among them, or none."""
        position = {name: i for i, name in enumerate(classes)}
        labels = self.labels
        for row, label in enumerate(labels):
            if label not in position:
                if label is None:
                    raise DataError(f"{self.uris[row]} has no label")
                text = f"{self.uris[row]} has the label {label!r}"
                raise DataError(f"{text}, which is not one of the {len(position)} classes")
        return np.array([position[label] for label in labels if label is not None], dtype=np.int64)

    def source(self, row: int) -> Path | npt.NDArray[Any]:
        """What :func:`headstart.data.decode.decode` takes for this row. DataError: an array that is gone."""
        uri: str = self.table["uri"][row].as_py()
        if not uri.startswith(_ARRAY):
            return to_path(uri)
        if self.arrays is None:
            raise DataError(f"{uri} was a picture in memory, which a file does not keep: give the arrays again")
        return self.arrays[int(uri[len(_ARRAY) :])]

    def write(self, path: Path) -> None:
        """Keep the table as Parquet."""
        with replacing(path) as beside:
            pq.write_table(self.table, beside)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Back from :meth:`write`. RunError: no such file, not Parquet, or not a manifest."""
        try:
            # A plain file, not a data set: folders named like a=1 above it must not become columns.
            table = pq.ParquetFile(path).read()
        except FileNotFoundError:
            raise RunError(f"{path}: no such manifest") from None
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{path} is damaged, or not a Parquet file: {error}") from error
        if table.schema.names != SCHEMA.names:
            raise RunError(f"{path} is not a manifest: its columns are {', '.join(table.schema.names)}")
        try:
            return cls(table.cast(SCHEMA))
        except (pa.ArrowException, ValueError) as error:
            raise RunError(f"{path} is not a manifest: {error}") from error

    def write_problems(self, path: Path) -> None:
        """List the unusable rows as CSV: path, reason."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(("path", "reason"))
        bad = self.unusable
        writer.writerows(zip(bad.uris, bad.problems, strict=True))
        write_text(path, text.getvalue())
