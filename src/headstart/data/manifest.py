"""The manifest: one row per image, as a pyarrow table with methods.

========  ======  ====================================================================================
uri       string  absolute path (see ``uri.py``), ``array:7`` for the eighth image in memory, or ``SCHEME:...``
label     string  class name; null: unknown
split     string  ``train``, ``validation`` or ``test``; null: not assigned
group     string  rows of one group stay in one split; null: none
width     int32   upright size in pixels; null: not inspected, or not readable
height    int32
bytes     int64   size of the file
hash      string  32 hexadecimal digits of the content
problem   string  why the image cannot be used; null: it can
values    struct  of an image that is not 8-bit: ``dtype`` (string), ``low``, ``high`` (double) and ``stated`` (bool)
                  of its values, as in :class:`~headstart.data.value_range.PixelValues`; null: 8 bits, or unknown
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
import pyarrow.compute as pc

from headstart.data.parquet import read_parquet, write_parquet
from headstart.data.sources.arrays import ArraySource
from headstart.data.sources.base import Content, ImageReference, reference, source_of
from headstart.data.sources.local import LocalFiles
from headstart.data.uri import to_uri
from headstart.data.value_range import PixelValues
from headstart.description import Correction, DataDescription
from headstart.errors import DataError, RunError
from headstart.files import write_text

__all__ = ["SCHEMA", "SPLITS", "Manifest", "missing_files"]

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
        ("values", pa.struct({"dtype": pa.string(), "low": pa.float64(), "high": pa.float64(), "stated": pa.bool_()})),
    ]
)
_ARRAY = f"{ArraySource.scheme}:"
SPLITS = ("train", "validation", "test")


class Manifest:
    """Images, their labels and what is known of them. Immutable: methods return a new manifest.

    >>> manifest = Manifest.from_rows(["/photos/a.jpg", "/photos/b.jpg"], labels=["cat", "dog"])
    >>> manifest.classes
    ('cat', 'dog')
    >>> manifest.select([1]).uris
    ['/photos/b.jpg']
    """

    def __init__(
        self,
        table: pa.Table,
        arrays: Sequence[Content] | None = None,
        description: DataDescription | None = None,
        corrections: tuple[Correction, ...] = (),
    ) -> None:
        self.table = table
        self.arrays = arrays
        self.description = description  # how the images were read, also of a selection of them; not saved
        self.corrections = corrections  # of labels, that have been applied, also to images left out; not saved

    @classmethod
    def from_rows(
        cls,
        uris: Sequence[str | Path],
        *,
        labels: Sequence[str | None] | None = None,
        splits: Sequence[str | None] | None = None,
        groups: Sequence[str | None] | None = None,
        arrays: Sequence[Content] | None = None,
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
    def from_arrays(cls, arrays: Sequence[Content], labels: Sequence[str | None] | None = None) -> Manifest:
        """Build a manifest of images in memory, each as :func:`headstart.data.decode.decode` accepts them."""
        return cls.from_rows([f"{_ARRAY}{i}" for i in range(len(arrays))], labels=labels, arrays=arrays)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def shape(self) -> tuple[int]:
        """The number of images, as of an array: scikit-learn splits what has a shape by ``manifest[rows]``."""
        return (len(self),)

    def __getitem__(self, rows: Any) -> Manifest:
        """Return some rows by NumPy's indexing: a slice, row numbers or a boolean mask.

        >>> Manifest.from_rows(["/photos/a.jpg", "/photos/b.jpg", "/photos/c.jpg"])[1:].uris
        ['/photos/b.jpg', '/photos/c.jpg']
        """
        return self.select(np.atleast_1d(np.arange(len(self))[rows]))

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
    def groups(self) -> list[str | None]:
        """What each image belongs to, as a patient; None: to nothing."""
        return self._column("group")

    @property
    def hashes(self) -> list[str | None]:
        """The content hash of each image; None before :func:`headstart.data.inspection.inspect_all`."""
        return self._column("hash")

    @property
    def problems(self) -> list[str | None]:
        """Why each image cannot be used; None if it can."""
        return self._column("problem")

    @property
    def values(self) -> list[PixelValues | None]:
        """The values of each image that is not 8-bit, after inspection; None for the others."""
        return [None if each is None else PixelValues(**each) for each in self._column("values")]

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted as strings."""
        return tuple(sorted(self.table["label"].unique().drop_null().to_pylist()))

    @property
    def usable(self) -> Manifest:
        """The rows without a problem."""
        return self.select(self.table["problem"].is_null().to_numpy())

    @property
    def unusable(self) -> Manifest:
        """The rows with a problem."""
        return self.select(self.table["problem"].is_valid().to_numpy())

    def in_split(self, split: str) -> Manifest:
        """Return the rows of "train", "validation" or "test"."""
        return self.select(pc.equal(self.table["split"], split).fill_null(False).to_numpy())

    def select(self, rows: npt.ArrayLike) -> Manifest:
        """Return some rows, by a boolean mask or by row numbers in the order wanted."""
        chosen = np.asarray(rows)
        numbers = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return self._with(self.table.take(pa.array(numbers)))

    def with_column(self, name: str, values: Iterable[Any]) -> Manifest:
        """Replace a column of the schema: one value per row, None for null, or an Arrow array of the column's type."""
        position = SCHEMA.names.index(name)
        given = isinstance(values, pa.Array | pa.ChunkedArray)
        array = values if given else pa.array(list(values), type=SCHEMA.field(position).type)
        return self._with(self.table.set_column(position, SCHEMA.field(position), array))

    def described(self, description: DataDescription | None, corrections: Sequence[Correction] = ()) -> Manifest:
        """Return a copy that states how the images were read, and which labels were corrected besides others."""
        return Manifest(self.table, self.arrays, description, (*self.corrections, *corrections))

    def _with(self, table: pa.Table) -> Manifest:
        return Manifest(table, self.arrays, self.description, self.corrections)

    def targets(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return labels as positions in ``classes``, shape (N,).

        :raises DataError: an image without a label, or with one that is not among ``classes``.
        """
        found = pc.index_in(self.table["label"], value_set=pa.array(classes, pa.string()))
        if found.null_count:
            row = int(np.flatnonzero(found.is_null().to_numpy())[0])
            uri, label = self.table["uri"][row], self.table["label"][row].as_py()
            if label is None:
                raise DataError(f"{uri} has no label")
            raise DataError(f"{uri} has the label {label!r}, which is not one of the {len(classes)} classes")
        return np.asarray(found.to_numpy(), np.int64)

    def source(self, row: int) -> ImageReference:
        """Return the image of a row, as :func:`headstart.data.decode.decode` accepts it.

        :raises DataError: an image in memory that the manifest no longer has.
        """
        uri: str = self.table["uri"][row].as_py()
        if not uri.startswith(_ARRAY):
            return reference(uri)
        if self.arrays is None:
            raise DataError(f"{uri} was an array in memory, which a manifest does not save: pass the arrays again")
        return ImageReference(uri, ArraySource({uri: self.arrays[int(uri[len(_ARRAY) :])]}))

    def write(self, path: Path) -> None:
        """Write the table as Parquet."""
        write_parquet(path, self.table)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read what :meth:`write` wrote.

        :raises RunError: no such file, not Parquet, not a manifest, or its content was damaged.
        """
        try:
            table = read_parquet(path)
        except FileNotFoundError:
            raise RunError(f"{path}: no such manifest") from None
        if table.schema.names != SCHEMA.names:
            raise RunError(f"{path} is not a manifest: its columns are {', '.join(table.schema.names)}")
        try:
            table = table.cast(SCHEMA)
        except (pa.ArrowException, ValueError) as error:
            raise RunError(f"{path} is not a manifest: {error}") from error
        if mistake := _mistake_in_columns(table):
            raise RunError(f"{path} is not a manifest: {mistake}")
        return cls(table)

    def write_problems(self, path: Path) -> None:
        """Write the unusable rows as CSV: path, reason."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(("path", "reason"))
        writer.writerows(row for row in zip(self.uris, self.problems, strict=True) if row[1] is not None)
        write_text(path, text.getvalue())


def missing_files(manifest: Manifest) -> list[int]:
    """Rows of files of this machine that are not where they were; other sources are not asked."""
    found = [(row, uri, source_of(uri)) for row, uri in enumerate(manifest.uris)]
    return [row for row, uri, source in found if source.scheme == LocalFiles.scheme and source.stamp(uri) is None]


def _mistake_in_columns(table: pa.Table) -> str | None:
    """What the schema does not state; None if it holds."""
    if table["uri"].null_count:
        return "uri: a row has none"
    unknown = set(table["split"].unique().to_pylist()) - {*SPLITS, None}
    if unknown:
        return f"split: must be {', '.join(SPLITS)} or null, got {min(unknown)!r}"
    negative = [name for name in ("width", "height", "bytes") if (pc.min(table[name]).as_py() or 0) < 0]
    return f"{negative[0]}: must not be negative" if negative else None
