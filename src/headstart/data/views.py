"""Images as arrays of the network's input size, decoded ahead of the consumer."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.data.decode import content_hash, decoded
from headstart.data.manifest import Manifest
from headstart.data.sources.base import Content, ImageReference
from headstart.data.sources.prefetch import prefetched
from headstart.data.spec import InputSpec
from headstart.data.transforms import make_view, min_source_side
from headstart.errors import ImageProblem
from headstart.execution import open_executor
from headstart.execution.memory import trim_heap

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ViewItem", "Views", "are_large", "read_item", "read_views", "view_items", "views_of"]

_CHUNK = 8  # views per task: few enough to start soon, enough to make the hand-over cheap
_LARGE = 4_000_000  # pixels of an image; decoding it takes far longer than the Python code around it


@dataclass
class Views:
    """Views of those images of a manifest that could be read, and the images that could not."""

    rows: list[int] = field(default_factory=list)  # of the manifest, one per view
    numbers: list[int] = field(default_factory=list)  # of the views
    images: list[NDArray[np.uint8]] = field(default_factory=list)  # (height, width, 3) each
    problems: list[tuple[int, str]] = field(default_factory=list)  # row, reason
    pixels: Tensor | None = None  # instead of ``images``: (views, height, width, 3), uint8, on a device

    def stacked(self) -> NDArray[np.uint8] | Tensor:
        """All views, (views, height, width, 3): an array, or a tensor on the device where they were made."""
        return np.stack(self.images) if self.pixels is None else self.pixels

    def extend(self, other: Views) -> None:
        """Append the views and problems of another."""
        self.rows += other.rows
        self.numbers += other.numbers
        self.images += other.images
        self.problems += other.problems

    def split(self, count: int) -> tuple[Views, Views]:
        """Return the first ``count`` views with all problems, and the rest."""
        return (
            Views(self.rows[:count], self.numbers[:count], self.images[:count], self.problems),
            Views(self.rows[count:], self.numbers[count:], self.images[count:]),
        )


def read_views(
    manifest: Manifest,
    rows: Sequence[int],
    spec: InputSpec,
    *,
    batch_size: int,
    max_pixels: int,
    workers: int | None = None,
    views: Sequence[int] | Mapping[int, Sequence[int]] = (0,),
    kind: str | None = None,
) -> Generator[Views, None, None]:
    """Decode the images in these rows once each, and yield their views in order, in batches.

    Few more views are in memory than one batch and the tasks of the workers; close the generator to stop early. An
    image whose content does not match the manifest's hash becomes a problem: it changed after it was inspected, and
    what is computed from it must not be stored under the hash of the old content.

    :param batch_size: views per batch; the last has fewer. The views of one image may fall into two batches.
    :param views: numbers of :func:`headstart.data.transforms.make_view`, of all images or by row.
    :param kind: of the workers, as for :func:`headstart.execution.open_executor`.
    """
    wanted = views if isinstance(views, Mapping) else dict.fromkeys(rows, views)
    per_image = max(map(len, wanted.values()), default=1)
    images = max(1, _CHUNK // per_image)  # per task
    gathered = Views()
    large = are_large(manifest, rows)
    kind = kind or ("threads" if large else None)
    with open_executor(len(rows), workers=workers, kind=kind) as executor:
        ahead = executor.workers + 2 * -(-batch_size // (images * per_image))
        make = partial(_make_views, spec=spec, max_pixels=max_pixels)
        for made in executor.map(make, view_items(manifest, rows, wanted, images), ahead=ahead):
            gathered.extend(made)
            while len(gathered.rows) >= batch_size:
                batch, gathered = gathered.split(batch_size)
                yield batch
        if gathered.rows or gathered.problems:
            yield gathered
    if large:
        trim_heap()


class ViewItem(NamedTuple):
    """An image to read, and the views to make of it."""

    row: int
    image: ImageReference
    numbers: tuple[int, ...]
    expected: str | None  # the hash of its content


def view_items(
    manifest: Manifest, rows: Sequence[int], wanted: Mapping[int, Sequence[int]], images: int
) -> Iterator[list[ViewItem]]:
    """Divide the rows into tasks of some images each; those of other machines are fetched before."""
    hashes = manifest.table["hash"]
    tasks = (
        [
            ViewItem(row, manifest.source(row), tuple(wanted[row]), hashes[row].as_py())
            for row in rows[start : start + images]
        ]
        for start in range(0, len(rows), images)
    )
    return prefetched(tasks, lambda task: [item.image for item in task])


def _make_views(items: Sequence[ViewItem], *, spec: InputSpec, max_pixels: int) -> Views:
    made = Views()
    for item in items:
        made.extend(_read(item, spec, max_pixels))
    return made


def _read(item: ViewItem, spec: InputSpec, max_pixels: int) -> Views:
    try:
        made = views_of(item, *read_item(item), spec, max_pixels)
    except ImageProblem as problem:
        return Views(problems=[(item.row, problem.reason)])
    return Views([item.row] * len(made), list(item.numbers), made)


def read_item(item: ViewItem) -> tuple[Content, str]:
    """Read an image, and return it with the hash of its content; empty if nothing needs it.

    :raises ImageProblem: it cannot be read, or is not the image that was inspected.
    """
    content = item.image.read()
    # The evaluation view of an image that was not inspected needs no hash: prediction is faster without.
    key = content_hash(content) if item.expected is not None or max(item.numbers) > 0 else ""
    if item.expected not in (None, key):
        raise ImageProblem(item.image.uri, "it changed after it was inspected")
    return content, key


def views_of(item: ViewItem, content: Content, key: str, spec: InputSpec, max_pixels: int) -> list[NDArray[np.uint8]]:
    """Decode an image once, and make its views.

    :raises ImageProblem: it cannot be decoded.
    """
    with decoded(
        content, max_pixels=max_pixels, min_side=min_source_side(spec), value_ranges=spec.value_ranges
    ) as pixels:
        return [make_view(pixels, spec, number, key) for number in item.numbers]


def are_large(manifest: Manifest, rows: Sequence[int]) -> bool:
    """Whether the images are so large that decoding them takes all the time, and threads do as well as processes.

    The threads of a process share its budget of memory (:mod:`headstart.data.budget`), which processes do not.
    """
    table = manifest.table.select(["width", "height"]).take(pa.array(rows, pa.int64()))
    pixels = pc.mean(pc.multiply(table["width"].cast(pa.int64()), table["height"].cast(pa.int64()))).as_py()
    return pixels is not None and pixels > _LARGE
