"""Small gray copies of a sample of the images of every class, in which what all of them have at one place is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from headstart.data.content_cache import content_keys, read_known, rows_to_compute
from headstart.data.decode import MAX_PIXELS, decode
from headstart.data.image_map import map_images
from headstart.data.manifest import Manifest
from headstart.data.parquet import write_parquet
from headstart.data.sources.base import ImageReference
from headstart.data.value_range import ValueRange
from headstart.errors import ImageProblem
from headstart.events import Events

__all__ = ["SIDE", "GrayThumbnails", "compute_thumbnails", "sample_of_classes"]

SIDE = 64
"""Width and height in pixels; the image is stretched to a square, so that places are shares of its sides."""

_PER_CLASS, _IN_ALL = 40, 3000  # images of a sample
_KEPT = 10_000  # thumbnails in the cache, of 4 KB each
_SCHEMA = pa.schema(
    # Bytes, not a list of numbers: Parquet reads those by way of four times as large ones.
    [("key", pa.string()), ("pixels", pa.binary())],
    metadata={b"version": b"2", b"pillow": PIL.__version__.encode()},
)


@dataclass(frozen=True)
class GrayThumbnails:
    """The thumbnails of some images."""

    rows: NDArray[np.int64]  # (n,) positions among the usable images
    pixels: NDArray[np.uint8]  # (n, SIDE, SIDE), brightness


def sample_of_classes(manifest: Manifest) -> NDArray[np.int64]:
    """Rows of at most 40 images of each class, and of about 3,000 in all: the same ones each time, by their content.

    >>> manifest = Manifest.from_rows([f"/{n}.jpg" for n in range(50)], labels=["cat"] * 45 + ["dog"] * 5)
    >>> len(sample_of_classes(manifest))
    45
    """
    names, contents = np.array(manifest.labels, object), [str(each) for each in manifest.hashes]
    most = min(_PER_CLASS, -(-_IN_ALL // max(len(manifest.classes), 1)))
    chosen: list[int] = []
    for name in manifest.classes:
        # Hashes are as good as random numbers, and do not change where images are added.
        chosen += sorted(np.flatnonzero(names == name).tolist(), key=lambda row: (contents[row], row))[:most]
    return np.sort(np.array(chosen, np.int64))


def compute_thumbnails(
    manifest: Manifest,
    rows: NDArray[np.int64],
    *,
    max_pixels: int = MAX_PIXELS,
    value_ranges: Sequence[ValueRange] = (),
    workers: int | None = None,
    cache: Path | None = None,
    events: Events | None = None,
) -> GrayThumbnails:
    """Compute the thumbnails of some of the images; those that cannot be decoded are left out.

    :param cache: a Parquet file with the thumbnails of images by their content; others are added to it, and of more
        than 10,000 the oldest leave it. One that cannot be read counts as empty.
    """
    images = manifest.select(rows)
    keys, known = content_keys(images, value_ranges), read_known(cache, _SCHEMA)
    if missing := rows_to_compute(keys, known):
        look = partial(_look, max_pixels=max_pixels, value_ranges=value_ranges)
        made = map_images(look, images, list(missing.values()), stage="looking", workers=workers, events=events)
        new = _table({key: each for key, each in zip(missing, made, strict=True) if each is not None})
        known = pa.concat_tables([known, new])
        if cache is not None and len(new):
            with suppress(OSError):  # the next check only takes longer
                write_parquet(cache, known.slice(max(0, len(known) - _KEPT)))
    places = pc.index_in(pa.array(keys, pa.string()), value_set=known["key"])
    found = np.flatnonzero(pc.is_valid(places).to_numpy(zero_copy_only=False))
    pixels = np.frombuffer(b"".join(known["pixels"].take(places.drop_null()).to_pylist()), np.uint8)
    return GrayThumbnails(np.asarray(rows, np.int64)[found], pixels.reshape(-1, SIDE, SIDE))


def _table(made: Mapping[str, NDArray[np.uint8]]) -> pa.Table:
    values = pa.array([each.tobytes() for each in made.values()], _SCHEMA.field("pixels").type)
    return pa.table([pa.array(made, pa.string()), values], schema=_SCHEMA)


def _look(image: ImageReference, *, max_pixels: int, value_ranges: Sequence[ValueRange]) -> NDArray[np.uint8] | None:
    try:
        decoded = decode(image, max_pixels=max_pixels, min_side=4 * SIDE, value_ranges=value_ranges)
    except ImageProblem:  # it has changed since it was inspected
        return None
    return np.asarray(decoded.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
