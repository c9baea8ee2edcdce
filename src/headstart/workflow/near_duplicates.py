"""Near-duplicates among images whose features are in the store, with thresholds from copies made of some of them."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.alterations import altered_copies
from headstart.data.decode import decoded
from headstart.data.inspection import inspect_all
from headstart.data.manifest import Manifest
from headstart.data.near_duplicates import (
    MAX_IMAGES,
    NearDuplicates,
    Thresholds,
    comparable_rows,
    find_near_duplicates,
)
from headstart.data.pixel_agreement import Thumbnail, compare, gray_thumbnail
from headstart.data.sources.base import ImageReference
from headstart.data.transforms import min_source_side
from headstart.errors import ImageProblem
from headstart.events import Events
from headstart.execution import open_executor
from headstart.workflow.extraction import FeatureExtractor

__all__ = ["CHECK_SAMPLE", "MIN_IMAGES", "near_duplicates", "stored_vectors"]

MIN_IMAGES = 20
"""With fewer, thresholds cannot be found, and a look at the images is quicker."""

SAMPLE, CHECK_SAMPLE = 20, 100
"""Images of which a fit and a check make copies, five of each."""


def near_duplicates(
    extractor: FeatureExtractor, images: Manifest, *, events: Events, sample: int = SAMPLE
) -> NearDuplicates | None:
    """The near-duplicates among usable, inspected images whose features are in the store.

    None where there are fewer than 20 different images of at least 32 pixels a side, or more than 100,000, or where
    what is stored is not one vector per image.

    :param sample: images of which copies are made. Their features are stored as well, so that this happens once.
    """
    if len(extractor.cut.feature_shape) != 1 or len(comparable_rows(images)) < MIN_IMAGES:
        return None
    if len(images) > MAX_IMAGES:
        events.warn(f"near-duplicates are not looked for among more than {MAX_IMAGES:,} images")
        return None
    thresholds = _calibrated(extractor, images, sample=sample)
    if thresholds is None:
        return None
    settings = extractor.settings
    return find_near_duplicates(
        images,
        stored_vectors(extractor, images),
        thresholds,
        max_pixels=settings.max_pixels,
        value_ranges=extractor.backbone.spec.value_ranges,
        workers=settings.workers,
        events=events,
    )


def stored_vectors(extractor: FeatureExtractor, images: Manifest) -> NDArray[np.float32]:
    """The last features of each image as they are stored, (N, D), without the pooled stages."""
    rows = extractor.table.rows([str(each) for each in images.hashes])
    width, step = extractor.cut.feature_shape[0], 4096
    parts = [
        rows.take(np.arange(start, min(start + step, len(rows))))[:, :width] for start in range(0, len(rows), step)
    ]
    return np.concatenate(parts).astype(np.float32)


def _calibrated(extractor: FeatureExtractor, images: Manifest, *, sample: int) -> Thresholds | None:
    """The thresholds that copies of some images reach with them; None if none of these can be read any more.

    The images are drawn by their content: the same at every fit, whatever the order of the rows.
    """
    hashes = images.hashes
    chosen = sorted(comparable_rows(images).tolist(), key=lambda row: str(hashes[row]))[:sample]
    spec, limit = extractor.backbone.spec, extractor.settings.max_pixels
    copy = partial(_copies, side=min_source_side(spec), max_pixels=limit, extractor=extractor)
    with open_executor(len(chosen), workers=extractor.settings.workers, kind="threads") as executor:
        made = list(executor.map(copy, [images.source(row) for row in chosen]))
    originals = [row for row, copies in zip(chosen, made, strict=True) for _ in copies]
    if not originals:
        return None
    files = [file for copies in made for file, _ in copies]
    copies = inspect_all(Manifest.from_arrays(files), max_pixels=limit)
    extractor.compute(copies, views=(0,), events=Events())
    first, second = (_directions(stored_vectors(extractor, each)) for each in (images.select(originals), copies))
    agreements = np.array([agreement for each in made for _, agreement in each], np.float32)
    return Thresholds.from_copies(np.einsum("nd,nd->n", first, second), agreements)


def _copies(
    image: ImageReference, *, side: int, max_pixels: int, extractor: FeatureExtractor
) -> list[tuple[bytes, float]]:
    """Altered copies of an image, each with the agreement of its pixels with those of the image."""
    ranges = extractor.backbone.spec.value_ranges
    try:
        with decoded(image, max_pixels=max_pixels, min_side=side, value_ranges=ranges) as pixels:
            # Of a camera's photograph, what the network sees is the same at this size.
            scale = min(1.0, side / min(pixels.size))
            size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
            files = altered_copies(pixels.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))
        original = Thumbnail(gray_thumbnail(image, max_pixels=max_pixels, value_ranges=ranges))
    except ImageProblem:  # it has vanished since it was inspected
        return []
    found = (compare(Thumbnail(gray_thumbnail(file, max_pixels=max_pixels)), original) for file in files)
    return [(file, each.correlation) for file, each in zip(files, found, strict=True)]


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
