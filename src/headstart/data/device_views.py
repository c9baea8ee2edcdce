"""Views whose files are decoded and resized on a device: the counterpart of :func:`headstart.data.views.read_views`.

Readers prepare the files (:mod:`headstart.data.device_files`), in other processes where there are many: threads that
read would hold back those that keep the device busy, since all wait for Python's lock. A thread of its own decodes and
resizes, a few batches ahead of the consumer. What it hands over is complete.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from headstart.data import device_decoder
from headstart.data.decode import content_hash
from headstart.data.device_decoder import DeviceDecoder, joined
from headstart.data.device_files import FileReader, ReadImage
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import Views, are_large, view_items
from headstart.execution import available_cores, default_kind, open_executor

__all__ = ["read_device_views"]

_CHUNK = 16  # images per task of a thread
_CHUNK_OF_PROCESS = 64  # handing over a task and its result takes longer
_READERS = 8
"""Threads, at most, by default: reading and hashing leave Python's lock for so short a time that more of them wait."""

_AHEAD = 3  # pieces of work for the device that are under way
_PIXELS_AT_ONCE = 1 << 26  # that are decoded and resized together; each takes about 20 bytes on the device for the time


def read_device_views(
    manifest: Manifest,
    rows: Sequence[int],
    spec: InputSpec,
    *,
    batch_size: int,
    max_pixels: int,
    workers: int | None = None,
    views: Sequence[int] | Mapping[int, Sequence[int]] = (0,),
    decoder: str = "nvjpeg",
) -> Generator[Views, None, None]:
    """Like :func:`headstart.data.views.read_views`, with the pixels of each batch as one tensor on a device.

    The same images become problems, for the same reasons. Pixels differ from Pillow's as decoders do: by a few levels
    where 4:2:0 color is enlarged, else by one. Those of an image do not depend on the others of its batch. A large JPEG
    is decoded whole, and not at reduced size.

    :param decoder: one of :data:`headstart.data.device_decoder.DECODERS`.
    """
    device = DeviceDecoder(decoder, spec)
    reader = FileReader(spec, device.trusted, max_pixels, device_decoder.MAX_PIXELS)
    wanted = views if isinstance(views, Mapping) else dict.fromkeys(rows, views)
    large = are_large(manifest, rows)
    readers = workers or available_cores()
    kind = "threads" if large else default_kind(len(rows), readers)
    if kind == "threads" and not workers:
        readers = min(readers, _READERS)
    chunk = 1 if large else _CHUNK if kind == "threads" else _CHUNK_OF_PROCESS
    with (
        open_executor(len(rows), workers=readers, kind=kind) as pool,
        open_executor(1, workers=1, kind="threads") as thread,
    ):
        tasks = view_items(manifest, rows, wanted, chunk)
        images = chain.from_iterable(pool.map(reader, tasks, ahead=readers + 2 * -(-batch_size // chunk)))
        make = partial(_make, device=device, reader=reader)
        batch = _Batch()
        for made in thread.map(make, _pieces(images, batch_size), ahead=_AHEAD):
            batch.made.append(made)
            if made.ends_batch:
                yield from batch.close(device)
                batch = _Batch()
        yield from batch.close(device)


class _Piece(NamedTuple):
    """What the device makes at once: a batch, or a part of one whose images are large."""

    images: list[ReadImage]
    ends_batch: bool


def _pieces(images: Iterable[ReadImage], batch_size: int) -> Iterator[_Piece]:
    """Divide the views into batches of one size, and these where they would need too much memory."""
    gathered: list[ReadImage] = []
    missing, pixels = batch_size, 0
    for image in images:
        numbers = () if image.problem is not None else image.item.numbers
        if pixels and pixels + image.pixels > _PIXELS_AT_ONCE:
            yield _Piece(gathered, False)
            gathered, pixels = [], 0
        if not numbers:
            gathered.append(image)
        while numbers:
            now, numbers = numbers[:missing], numbers[missing:]
            gathered.append(image._replace(item=image.item._replace(numbers=now)))
            missing, pixels = missing - len(now), pixels + image.pixels
            if not missing:
                yield _Piece(gathered, True)
                gathered, missing, pixels = [], batch_size, 0
    if gathered:
        yield _Piece(gathered, True)


@dataclass
class _Made:
    """The views of a piece, complete on the device."""

    views: Views
    ends_batch: bool


def _make(piece: _Piece, *, device: DeviceDecoder, reader: FileReader) -> _Made:
    images, decoded = _decoded(piece.images, device, reader)
    parts: list[Tensor] = [] if decoded is None else [decoded]
    files = 0 if decoded is None else len(decoded)
    order: list[int] = []
    arrays: list[NDArray[np.uint8]] = []
    made = Views()
    file = -1
    for image in images:
        file += image.content is not None
        if image.problem is not None:
            made.problems.append((image.item.row, image.problem))
            continue
        for number in image.item.numbers:
            made.rows.append(image.item.row)
            made.numbers.append(number)
            array = image.arrays.get(number)
            if array is not None:
                arrays.append(array)
            # First the files, then the same flipped (if any are), then the arrays.
            order.append(file + files * (number < 0) if array is None else 2 * files + len(arrays) - 1)
    if decoded is not None and (arrays or min(made.numbers, default=0) < 0):
        parts.append(device.flipped(decoded))
    if arrays:
        parts.append(device.to_device(np.stack(arrays)))
    if made.rows:
        made.pixels = device.arranged(parts, order)
    device.finish()
    return _Made(made, piece.ends_batch)


def _decoded(
    images: Sequence[ReadImage], device: DeviceDecoder, reader: FileReader
) -> tuple[list[ReadImage], Tensor | None]:
    """Decode the files among the images; those that the device refuses go to the host.

    :returns: the images, and the views of those that still have a content.
    """
    contents = {place: image.content for place, image in enumerate(images) if image.content is not None}
    parts, refused = _views(list(contents.values()), device)
    left = list(images)
    for number, (place, content) in enumerate(contents.items()):
        if number in refused:
            left[place] = reader.decoded(images[place].item, content, content_hash(content))
    return left, device.joined(parts) if parts else None


def _views(contents: Sequence[bytes], device: DeviceDecoder) -> tuple[list[Tensor], set[int]]:
    """The views of files, in parts, without those of the files that the decoder refuses; and the numbers of these.

    It does not say which of several it refuses, so each is then decoded alone.
    """
    if not contents:
        return [], set()
    try:
        return [device.views(contents)], set()
    except RuntimeError:
        if len(contents) == 1:
            return [], {0}
    parts: list[Tensor] = []
    refused = set()
    for number, content in enumerate(contents):
        made, failed = _views([content], device)
        parts += made
        if failed:
            refused.add(number)
    return parts, refused


@dataclass
class _Batch:
    """The pieces of a batch."""

    made: list[_Made] = field(default_factory=list)

    def close(self, device: DeviceDecoder) -> Iterator[Views]:
        """Yield the batch, unless nothing is in it."""
        batch, parts = Views(), []
        for each in self.made:
            batch.extend(each.views)
            if each.views.pixels is not None:
                parts.append(device.handed_over(each.views.pixels))
        if parts:
            batch.pixels = joined(parts)
        if batch.rows or batch.problems:
            yield batch
