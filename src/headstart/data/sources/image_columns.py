"""The image sources of tables with images in a column: ``parquet:/photos.parquet!7`` is the image in row 7, from 0.

The layout is that of Hugging Face's ``datasets``, a structure of ``bytes`` and ``path``, or a column of bytes. Parquet
is read by row groups, of which few are in memory; Arrow is mapped into memory.
"""

from __future__ import annotations

import bisect
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from headstart.data.formats import begins_like_image
from headstart.data.sources.base import Content, FoundImage, Stamp
from headstart.data.sources.containers import files_of, split_files
from headstart.data.sources.locations import local_path, location_stamp
from headstart.data.sources.readings import ReadOptions, SourceReading, read_cells
from headstart.data.sources.table_file import Columns, TableFile, columns_of
from headstart.data.uri import display_name, to_uri
from headstart.errors import DataError, ImageProblem

__all__ = ["IMAGE_COLUMNS", "SUFFIXES", "ImageColumns", "has_images"]

SUFFIXES: Mapping[str, tuple[str, ...]] = {"parquet": (".parquet",), "arrow": (".arrow", ".feather")}
"""The suffixes of files by the scheme of their source."""

_KEPT = 512 << 20  # bytes of row groups in memory per process, and always the last one
_LARGE_GROUP = 1 << 30  # bytes


@dataclass(frozen=True)
class ImageColumns:
    """Tables in which each row has an image as bytes.

    :param scheme: "parquet" or "arrow".
    """

    scheme: str

    def list(self, root: str) -> Iterable[FoundImage]:
        """Return the images of a file, or of all in a folder.

        :raises DataError: a file cannot be read, or it is not clear which column has the images or labels.
        """
        return self.read(root, ReadOptions()).images

    def read(self, root: str, options: ReadOptions) -> SourceReading:
        """Return the images with the labels of the other columns; all but the images is read.

        :raises DataError: a file cannot be read, or it is not clear which column has the images or labels.
        """
        place = root.removeprefix(f"{self.scheme}:")
        if "!" in place and not Path(place).exists():
            return SourceReading([FoundImage(root)], "images")
        return self.read_files(place, files_of(display_name(place), SUFFIXES[self.scheme]), options)

    def read_files(self, place: str, files: Sequence[str], options: ReadOptions) -> SourceReading:
        """Return the images in files, of which ``files`` are the URIs; as :meth:`read`."""
        split = split_files(place, files, options.split_folders)
        chosen = options.columns.get("id_column")
        uris, splits, parts, labels, notes = [], [], [], set(), []
        for file, of_file in zip(split.files, split.splits, strict=True):
            table = _open(file)
            column = _image_column(table, chosen)
            suffix = f":{column}" if chosen else ""
            uris += [f"{self.scheme}:{file}!{row}{suffix}" for row in range(table.rows)]
            splits += [of_file] * table.rows
            cells, names = _other_columns(table, column) if options.table else (TableFile(Path(file), {}), [])
            parts.append((table.rows, cells))
            labels |= set(names)
            if (size := table.largest_group(column)) > _LARGE_GROUP:
                notes.append(
                    f"{Path(file).name} has row groups of {size / 1e9:.1f} GB of images, each of which is read as a "
                    "whole: written with row_group_size=1000, it needs less memory"
                )
        cells = _concatenated(Path(place), parts)
        options = _with_label_column(place, options, sorted(labels), cells)
        count = len(split.files)
        source = f"images in the column {column!r} of {count:,} {self.scheme.capitalize()} file{'s' * (count != 1)}"
        found = read_cells(cells, uris, splits, options, source=source)
        return replace(found, names=split.names, left_out=split.left_out, notes=(*found.notes, *notes))

    def open(self, uri: str) -> Content:
        """Return the bytes of an image.

        :raises ImageProblem: there is no such row, it has no bytes, or the file is damaged.
        """
        path, row, chosen = self._parted(uri)
        try:
            table = _open(path)
            data = table.cell(_image_column(table, chosen), row) if row < table.rows else None
        except (DataError, pa.ArrowException, OSError) as error:
            raise ImageProblem(uri, f"cannot be read: {error}") from error
        if data is None:
            raise ImageProblem(uri, "no bytes of an image in its row" if row < table.rows else "no such row")
        return data

    def stamp(self, uri: str) -> Stamp | None:
        """Return the stamp of the file with the mean size of a row; None if it cannot be read."""
        try:
            path, row, _ = self._parted(uri)
            table = _open(path)
        except (DataError, ImageProblem):
            return None
        of_file = location_stamp(path)
        if of_file is None or row >= table.rows:
            return None
        return of_file._replace(size=of_file.size // max(table.rows, 1))

    def _parted(self, uri: str) -> tuple[str, int, str | None]:
        found = re.fullmatch(rf"{self.scheme}:(.*)!(\d+)(?::(.+))?", uri, re.DOTALL)
        if found is None:
            raise ImageProblem(uri, f"must be {self.scheme}:FILE!ROW")
        return found[1], int(found[2]), found[3]


IMAGE_COLUMNS = tuple(ImageColumns(scheme) for scheme in SUFFIXES)


def has_images(path: Path) -> bool:
    """Whether a Parquet or Arrow file has a column of images; a table of labels has none."""
    try:
        return bool(_candidates(_open(to_uri(path))))
    except (DataError, OSError):
        return False


@dataclass(frozen=True, eq=False)
class _Table:
    """An open file: of Parquet the description alone, of Arrow the mapped columns."""

    path: str
    stamp: Stamp
    schema: pa.Schema
    rows: int
    parquet: pq.FileMetaData | None = None
    starts: tuple[int, ...] = ()  # of each row group that has rows
    groups: tuple[int, ...] = ()  # their numbers
    mapped: pa.Table | None = None
    features: Mapping[str, Any] = field(default_factory=dict)  # Hugging Face's description of the columns

    def read(self, columns: Sequence[str]) -> pa.Table:
        if self.mapped is not None:
            return self.mapped.select(columns)
        with pq.ParquetFile(self.path, metadata=self.parquet) as file:
            return file.read(columns=list(columns))

    def first(self, column: str) -> bytes | None:
        """The bytes of the first image that is not missing in the first rows."""
        if self.mapped is not None:
            cells = self.mapped[column].slice(0, 8)
        else:
            with pq.ParquetFile(self.path, metadata=self.parquet) as file:
                batch = next(file.iter_batches(8, columns=[column]), None)
                cells = None if batch is None else batch.column(0)
        values = [] if cells is None else [_bytes(cell) for cell in cells]
        return next((value for value in values if value is not None), None)

    def cell(self, column: str, row: int) -> bytes | None:
        if self.mapped is not None:
            return _bytes(self.mapped[column][row])
        position = bisect.bisect_right(self.starts, row) - 1
        cells = _GROUPS.get(self, column, self.groups[position])
        return _bytes(cells[row - self.starts[position]])

    def largest_group(self, column: str) -> int:
        """Bytes of the column in its largest row group, in memory."""
        if self.parquet is None:
            return 0
        top = [index for index in range(self.parquet.num_columns) if _is_part(self.parquet, index, column)]
        sizes = (
            sum(self.parquet.row_group(group).column(index).total_uncompressed_size for index in top)
            for group in self.groups
        )
        return max(sizes, default=0)


def _is_part(metadata: pq.FileMetaData, index: int, column: str) -> bool:
    return str(metadata.schema.column(index).path).split(".", 1)[0] == column


class _RowGroups:
    """The row groups that were read last, of all files of this process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Stamp, str, int], pa.Array] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, table: _Table, column: str, group: int) -> pa.Array:
        """Read a column of a row group, once for all threads that want it."""
        key = (table.path, table.stamp, column, group)
        with self._lock:
            if (found := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return found
            with pq.ParquetFile(table.path, metadata=table.parquet) as file:
                cells = file.read_row_group(group, columns=[column]).column(0).combine_chunks()
            self._kept[key] = cells
            while len(self._kept) > 1 and sum(each.nbytes for each in self._kept.values()) > _KEPT:
                self._kept.popitem(last=False)
            return cells


_GROUPS = _RowGroups()
_TABLES: dict[str, _Table] = {}
_LOCK = threading.Lock()


def _open(location: str) -> _Table:
    path = local_path(location)
    stamp = Stamp.of_file(Path(path))
    if stamp is None:
        raise DataError(f"{path}: no such file")
    found = _TABLES.get(path)
    if found is None or found.stamp != stamp:
        with _LOCK:
            found = _TABLES.get(path)
            if found is None or found.stamp != stamp:
                found = _TABLES[path] = _opened(path, stamp)
    return found


def _opened(path: str, stamp: Stamp) -> _Table:
    try:
        if path.lower().endswith(SUFFIXES["parquet"]):
            with pq.ParquetFile(path) as file:
                metadata, schema = file.metadata, file.schema_arrow
            counts = np.array([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)], int)
            starts, groups = (np.cumsum(counts) - counts)[counts > 0], np.flatnonzero(counts)
            found = _Table(
                path, stamp, schema, metadata.num_rows, metadata, tuple(starts.tolist()), tuple(groups.tolist())
            )
        else:
            table = _mapped(path)
            found = _Table(path, stamp, table.schema, table.num_rows, mapped=table)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged, or not a file of its kind: {error}") from error
    try:
        features = json.loads((found.schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return found
    return replace(found, features=features if isinstance(features, dict) else {})


def _mapped(path: str) -> pa.Table:
    file = pa.memory_map(path)
    try:
        return pa.ipc.open_file(file).read_all()
    except pa.ArrowInvalid:  # the stream format, which ``datasets`` writes
        file.seek(0)
        return pa.ipc.open_stream(file).read_all()


def _bytes(cell: pa.Scalar) -> bytes | None:
    value = cell.as_py()
    return value.get("bytes") if isinstance(value, dict) else value


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _candidates(table: _Table) -> list[str]:
    """The columns that have images: described as such, or whose first value begins like one."""
    binary = [
        each.name
        for each in table.schema
        if _is_binary(each.type)
        or (pa.types.is_struct(each.type) and any(part.name == "bytes" and _is_binary(part.type) for part in each.type))
    ]
    return [name for name in binary if _is_described(table, name) or begins_like_image(table.first(name) or b"")]


def _is_described(table: _Table, name: str) -> bool:
    described = table.features.get(name)
    return isinstance(described, dict) and described.get("_type") == "Image"


_CHOSEN: dict[tuple[str, Stamp], str] = {}


def _image_column(table: _Table, chosen: str | None) -> str:
    if chosen is not None:
        if chosen not in table.schema.names:
            raise DataError(
                f"{table.path} has no column {chosen!r} (--id-column); it has {', '.join(table.schema.names)}"
            )
        return chosen
    key = table.path, table.stamp
    if key not in _CHOSEN:
        found = _candidates(table)
        if len(found) > 1:
            raise DataError(
                f"{table.path}: the columns {' and '.join(map(repr, found))} have images: choose with --id-column"
            )
        if not found:
            raise DataError(f"{table.path} has no column of images: it has {', '.join(table.schema.names)}")
        _CHOSEN[key] = found[0]
    return _CHOSEN[key]


def _other_columns(table: _Table, image: str) -> tuple[TableFile, list[str]]:
    """The columns beside the images as strings, and those that are described as labels."""
    images = {image, *(each.name for each in table.schema if _is_binary(each.type) or pa.types.is_struct(each.type))}
    cells = columns_of(Path(table.path), table.read([name for name in table.schema.names if name not in images]))
    labels = []
    columns = dict(cells.columns)
    for name, described in table.features.items():
        names = (
            described.get("names") if isinstance(described, dict) and described.get("_type") == "ClassLabel" else None
        )
        if name in columns and isinstance(names, list):
            columns[name] = _class_names(table.path, name, columns[name], names)
            labels.append(name)
    return replace(cells, columns=columns), labels


def _class_names(path: str, column: str, cells: Sequence[str | None], names: Sequence[str]) -> list[str | None]:
    found = {cell: None if cell in (None, "-1") else int(cell) for cell in set(cells)}  # -1: without a label
    if wrong := [number for number in found.values() if number is not None and not 0 <= number < len(names)]:
        raise DataError(f"{path}: the column {column!r} has the label {wrong[0]}, but {len(names)} names of classes")
    by_cell = {cell: None if number is None else str(names[number]) for cell, number in found.items()}
    return [by_cell[cell] for cell in cells]


def _concatenated(root: Path, parts: Sequence[tuple[int, TableFile]]) -> TableFile:
    """The columns of all files, one below the other."""
    names = dict.fromkeys(name for _, part in parts for name in part.columns)
    columns: Columns = {
        name: [cell for rows, part in parts for cell in part.columns.get(name) or [None] * rows] for name in names
    }
    lists = dict.fromkeys(name for _, part in parts for name in part.lists)
    return TableFile(root, columns, tuple(lists), parts[0][1].not_text if parts else ())


def _with_label_column(root: str, options: ReadOptions, labels: Sequence[str], cells: TableFile) -> ReadOptions:
    """The options with the column that the files describe as one of labels, where none is named."""
    if not cells.columns:
        return replace(options, table=False)
    if options.columns.get("label_column") is not None or not labels:
        return options
    if len(labels) > 1:
        raise DataError(f"{root}: the columns {' and '.join(map(repr, labels))} are labels: choose with --label-column")
    return replace(options, columns={**options.columns, "label_column": labels[0]})
