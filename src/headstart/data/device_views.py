"""Views whose files are decoded and resized on a device: the counterpart of :func:`headstart.data.views.read_views`.

Threads read the files, compare their hashes and look at their headers. What the device's decoder does not take (other
formats, progressive or rotated files, training views) is decoded by Pillow in these threads, and joins the same
batches. A thread of its own keeps the device busy meanwhile, a few batches ahead of the consumer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from headstart.data import jpeg
from headstart.data.decode import content_hash
from headstart.data.device_decoder import DeviceDecoder, Filling, may_be_filled
from headstart.data.jpeg_header import JpegLayout
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import ViewItem, Views, are_large, read_item, view_items, views_of
from headstart.errors import ImageProblem
from headstart.execution import Executor, available_cores, open_executor

__all__ = ["read_device_views"]

_CHUNK = 16  # images per task of a reader
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
    assert device.trust  # found out before the threads ask for it
    wanted = views if isinstance(views, Mapping) else dict.fromkeys(rows, views)
    readers = workers or min(available_cores(), _READERS)
    with (
        open_executor(len(rows), workers=readers, kind="threads") as pool,
        open_executor(1, workers=1, kind="threads") as thread,
    ):
        host = _Host(spec, max_pixels, pool)
        chunk = 1 if are_large(manifest, rows) else _CHUNK
        tasks = view_items(manifest, rows, wanted, chunk)
        prepare = partial(_prepare, device=device, host=host)
        ahead = readers + 2 * -(-batch_size // _CHUNK)
        entries = chain.from_iterable(pool.map(prepare, tasks, ahead=ahead))
        pieces = _pieces(entries, batch_size)
        batch = _Batch()
        for made in thread.map(partial(_make, device=device, host=host), pieces, ahead=_AHEAD):
            batch.add(made)
            if batch.ends:
                if batch.views or batch.problems:
                    yield batch.close(device)
                batch = _Batch()
        if batch.views or batch.problems:
            yield batch.close(device)


class _Entry(NamedTuple):
    """An image that was read: its views that were made on the host, the file for the device, or a problem."""

    item: ViewItem
    arrays: Mapping[int, NDArray[np.uint8]]  # by the number of the view
    problem: str | None = None
    content: bytes | None = None
    layout: JpegLayout | None = None  # of the content

    @property
    def pixels(self) -> int:
        return self.layout.width * self.layout.height if self.layout else 0


@dataclass(frozen=True)
class _Host:
    """What Pillow does: the views of files that the device does not take."""

    spec: InputSpec
    max_pixels: int
    pool: Executor

    def entry(self, item: ViewItem, content: Any, key: str) -> _Entry:
        """An image with all of its views."""
        try:
            made = views_of(item, content, key, self.spec, self.max_pixels)
        except ImageProblem as problem:
            return _Entry(item, {}, problem.reason)
        return _Entry(item, dict(zip(item.numbers, made, strict=True)))

    def lack_data(self, files: Sequence[bytes]) -> list[bool]:
        """Whether the data of each file end before its last block."""
        return list(self.pool.map(jpeg.lacks_data, files))


def _prepare(items: Sequence[ViewItem], *, device: DeviceDecoder, host: _Host) -> list[_Entry]:
    return [_read(item, device, host) for item in items]


def _read(item: ViewItem, device: DeviceDecoder, host: _Host) -> _Entry:
    try:
        content, key = read_item(item)
    except ImageProblem as problem:
        return _Entry(item, {}, problem.reason)
    augmented = tuple(number for number in item.numbers if number > 0)
    layout = None
    if isinstance(content, bytes) and len(augmented) < len(item.numbers):
        layout = device.layout(content, host.max_pixels)
    if layout is None or not isinstance(content, bytes):
        return host.entry(item, content, key)
    arrays: Mapping[int, NDArray[np.uint8]] = {}
    if augmented:
        made = host.entry(item._replace(numbers=augmented), content, key)
        if made.problem is not None:
            return made
        arrays = made.arrays
    return _Entry(item, arrays, None, content, layout)


class _Piece(NamedTuple):
    """What the device makes at once: a batch, or a part of one whose images are large."""

    entries: list[_Entry]
    ends_batch: bool


def _pieces(entries: Iterable[_Entry], batch_size: int) -> Iterator[_Piece]:
    """Divide the views into batches of one size, and these where they would need too much memory."""
    gathered: list[_Entry] = []
    missing, pixels = batch_size, 0
    for entry in entries:
        numbers = () if entry.problem is not None else entry.item.numbers
        if pixels and pixels + entry.pixels > _PIXELS_AT_ONCE:
            yield _Piece(gathered, False)
            gathered, pixels = [], 0
        if not numbers:
            gathered.append(entry)
        while numbers:
            now, numbers = numbers[:missing], numbers[missing:]
            gathered.append(entry._replace(item=entry.item._replace(numbers=now)))
            missing, pixels = missing - len(now), pixels + entry.pixels
            if not missing:
                yield _Piece(gathered, True)
                gathered, missing, pixels = [], batch_size, 0
    if gathered:
        yield _Piece(gathered, True)


@dataclass
class _Made:
    """The views of a piece, on the device, and the event after which they are complete."""

    views: Views
    ends_batch: bool
    event: Any


def _make(piece: _Piece, *, device: DeviceDecoder, host: _Host) -> _Made:
    entries, decoded = _decoded(piece.entries, device, host)
    parts: list[Tensor] = [] if decoded is None else [decoded]
    files = 0 if decoded is None else len(decoded)
    order: list[int] = []
    arrays: list[NDArray[np.uint8]] = []
    made = Views()
    file = -1
    for entry in entries:
        file += entry.content is not None
        if entry.problem is not None:
            made.problems.append((entry.item.row, entry.problem))
            continue
        for number in entry.item.numbers:
            made.rows.append(entry.item.row)
            made.numbers.append(number)
            array = entry.arrays.get(number)
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
    return _Made(made, piece.ends_batch, device.finished())


def _decoded(entries: Sequence[_Entry], device: DeviceDecoder, host: _Host) -> tuple[list[_Entry], Tensor | None]:
    """Decode the files among the entries; those that the device fails on, or that lack data, go to the host.

    :returns: the entries, and the views of those that still have a content.
    """
    files = [number for number, entry in enumerate(entries) if entry.content is not None]
    if not files:
        return list(entries), None
    made, given_back = _decode([entries[number] for number in files], device, host)
    left, kept = list(entries), []
    for place, number in enumerate(files):
        item, content = left[number].item, left[number].content
        if place in given_back and content is not None:
            left[number] = host.entry(item, content, content_hash(content))
        else:
            kept.append(place)
    if not kept or made is None:
        return left, None
    return left, made if len(kept) == len(made) else device.arranged([made], kept)


def _decode(files: Sequence[_Entry], device: DeviceDecoder, host: _Host) -> tuple[Tensor | None, set[int]]:
    """The views of files, and the numbers of those whose views are not valid.

    An inspected file is complete. Of any other the last block is looked at, since a decoder may have filled it; where
    it is not known how, all files are looked at on the host.
    """
    contents = [entry.content or b"" for entry in files]
    unknown = [place for place, entry in enumerate(files) if entry.item.expected is None]
    filling = device.trust.filling
    look = bool(unknown) and filling is not Filling.UNKNOWN
    made, corners, failed = _views(contents, device, corners=look)
    doubtful = [place for place in unknown if place not in failed]
    if corners is not None:
        doubtful = [
            place
            for place in doubtful
            if (layout := files[place].layout) and may_be_filled(corners[place], layout, filling)
        ]
    lacking = host.lack_data([contents[place] for place in doubtful])
    return made, failed | {place for place, lacks in zip(doubtful, lacking, strict=True) if lacks}


def _views(
    contents: Sequence[bytes], device: DeviceDecoder, *, corners: bool
) -> tuple[Tensor | None, NDArray[np.uint8] | None, set[int]]:
    """As :meth:`DeviceDecoder.views`, with the numbers of the files that the decoder refuses.

    It does not say which of several it refuses, so each is then decoded alone.
    """
    try:
        return *device.views(contents, corners=corners), set()
    except RuntimeError:
        if len(contents) == 1:
            return None, None, {0}
    found = [_views([content], device, corners=corners) for content in contents]
    failed = {number for number, (made, _, _) in enumerate(found) if made is None}
    if len(failed) == len(contents):
        return None, None, failed
    example = next((made, corner) for made, corner, _ in found if made is not None)
    parts = [example[0] if made is None else made for made, _, _ in found]
    looks = [example[1] if corner is None else corner for _, corner, _ in found]
    joined = np.concatenate([look for look in looks if look is not None]) if corners else None
    return device.arranged(parts, range(len(parts))), joined, failed


@dataclass
class _Batch:
    """The pieces of a batch."""

    made: list[_Made] = field(default_factory=list)

    def add(self, made: _Made) -> None:
        self.made.append(made)

    @property
    def ends(self) -> bool:
        return self.made[-1].ends_batch

    @property
    def views(self) -> bool:
        return any(each.views.rows for each in self.made)

    @property
    def problems(self) -> bool:
        return any(each.views.problems for each in self.made)

    def close(self, device: DeviceDecoder) -> Views:
        joined, parts = Views(), []
        for each in self.made:
            joined.extend(each.views)
            if each.views.pixels is not None:
                parts.append(device.handed_over(each.views.pixels, each.event))
        joined.pixels = _joined(parts) if parts else None
        return joined


def _joined(parts: Sequence[Tensor]) -> Tensor:
    import torch

    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
