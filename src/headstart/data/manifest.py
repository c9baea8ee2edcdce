"""The manifest: one row per image, as a pyarrow table with methods.

========  ======  ====================================================================================
uri       string  absolute path (see ``uri.py``), ``array:7`` for the eighth array in memory, or ``SCHEME:...``
label     string  class name; null: unknown
split     string  ``train``, ``validation`` or ``test``; null: not assigned
group     string  rows of one group stay in one split; null: none
width     int32   upright size in pixels; null: not inspected, or not readable
height    int32
bytes     int64   size of the file
hash      string  32 hexadecimal digits of the content
problem   string  why the image cannot be used; null: it can
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

from headstart.data.sources.arrays import ArraySource
from headstart.data.sources.base import ImageReference, reference
from headstart.data.uri import to_uri
from headstart.errors import DataError, RunError
from headstart.files import atomic_write, write_text

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
_ARRAY = f"{ArraySource.scheme}:"


class Manifest:
    """Images, their labels and what is known of them. Immutable: methods return a new manifest.

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
        """Build a manifest from columns of one length; a Path becomes its URI, a string is taken as a URI."""
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
        """Build a manifest of images in memory, each as :func:`headstart.data.decode.decode` accepts them."""
        return cls.from_rows([f"{_ARRAY}{i}" for i in range(len(arrays))], labels=labels, arrays=arrays)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"Manifest({len(self)} images, {len(self.classes)} classes)"

    def _column(self, name: str) -> list[Any]:
        return self.table[name].to_pylist()  # type: ignore[no-any-return]

    @property
    def uris(self) -> list[str]:
        """The URI of each image."""
        return self._column("uri")

    @property
    def labels(self) -> list[str | None]:
        """The class name of each image; None if unknown."""
        return self._column("label")

    @property
    def splits(self) -> list[str | None]:
        """The split of each image: "train", "validation", "test" or None."""
        return self._column("split")

    @property
    def hashes(self) -> list[str | None]:
        """The content hash of each image; None before :func:`headstart.data.inspection.inspect_all`."""
        return self._column("hash")

    @property
    def problems(self) -> list[str | None]:
        """Why each image cannot be used; None if it can."""
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

    def in_split(self, split: str) -> Manifest:
        """Return the rows of "train", "validation" or "test"."""
        return self.select(np.array([value == split for value in self.splits], dtype=bool))

    def select(self, rows: npt.ArrayLike) -> Manifest:
        """Return some rows, by a boolean mask or by row numbers in the order wanted."""
        chosen = np.asarray(rows)
        numbers = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return Manifest(self.table.take(pa.array(numbers)), self.arrays)

    def with_column(self, name: str, values: Iterable[Any]) -> Manifest:
        """Replace a column of the schema; one value per row, None for null."""
        position = SCHEMA.names.index(name)
        array = pa.array(list(values), type=SCHEMA.field(position).type)
        return Manifest(self.table.set_column(position, SCHEMA.field(position), array), self.arrays)

    def targets(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return labels as positions in ``classes``, shape (N,).

        :raises DataError: an image without a label, or with one that is not among ``classes``.
        """
        position = {name: i for i, name in enumerate(classes)}
        labels = self.labels
        for row, label in enumerate(labels):
            if label not in position:
                if label is None:
                    raise DataError(f"{self.uris[row]} has no label")
                text = f"{self.uris[row]} has the label {label!r}"
                raise DataError(f"{text}, which is not one of the {len(position)} classes")
        return np.array([position[label] for label in labels if label is not None], dtype=np.int64)

    def source(self, row: int) -> ImageReference:
        """Return the image of a row, as :func:`headstart.data.decode.decode` accepts it.

        :raises DataError: an array that the manifest no longer has.
        """
        uri: str = self.table["uri"][row].as_py()
        if not uri.startswith(_ARRAY):
            return reference(uri)
        if self.arrays is None:
            raise DataError(f"{uri} was an array in memory, which a manifest does not save: pass the arrays again")
        return ImageReference(uri, ArraySource({uri: self.arrays[int(uri[len(_ARRAY) :])]}))

    def write(self, path: Path) -> None:
        """Write the table as Parquet."""
        with atomic_write(path) as temporary:
            pq.write_table(self.table, temporary)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read what :meth:`write` wrote.

        :raises RunError: no such file, not Parquet, or not a manifest.
        """
        try:
            # As a file, not as a data set: parent folders named like a=1 must not become columns.
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
        """Write the unusable rows as CSV: path, reason."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(("path", "reason"))
        bad = self.unusable
        writer.writerows(zip(bad.uris, bad.problems, strict=True))
        write_text(path, text.getvalue())
