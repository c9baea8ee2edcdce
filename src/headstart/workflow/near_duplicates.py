"""Near-duplicates among images whose features are in the store, with thresholds from copies made of some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart import paths
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
from headstart.data.uri import display_name
from headstart.data.vectors import normalized
from headstart.errors import DataError, ImageProblem
from headstart.events import Events
from headstart.execution import open_executor
from headstart.features.scratch import scratch_array
from headstart.train.heads.cross_validation import fold_masks
from headstart.workflow.dataset import SPLITS, Dataset, keep_together
from headstart.workflow.extraction import FeatureExtractor

__all__ = ["MIN_IMAGES", "group_near_duplicates", "near_duplicates", "stored_vectors"]

MIN_IMAGES = 20
"""With fewer, thresholds cannot be found, and a look at the images is quicker."""

SAMPLE = 30
"""Images of which copies are made, five of each. With 100, thresholds are nearly the same, and it takes much longer."""

MOST_BY_CHANCE = 0.2
"""Share of the pairs of images drawn from the whole set that may agree like copies, as frames of five videos would."""


def near_duplicates(
    extractor: FeatureExtractor, images: Manifest, *, every_pixel: bool = True, events: Events
) -> NearDuplicates | None:
    """The near-duplicates among usable, inspected images whose features are in the store.

    None where there are fewer than 20 different images of at least 32 pixels a side, or more than 100,000, where what
    is stored is not one vector per image, or where the images are so simple that those of different things agree.

    The features of the copies by which thresholds are found are stored as well, so that they are computed once.

    :param every_pixel: whether to find out which pairs are identical.
    """
    if len(extractor.cut.feature_shape) != 1 or len(comparable_rows(images)) < MIN_IMAGES:
        return None
    if len(images) > MAX_IMAGES:
        events.warn(f"near-duplicates are not looked for among more than {MAX_IMAGES:,} images")
        return None
    thresholds = _calibrated(extractor, images, events=events)
    if thresholds is None:
        return None
    extractor.release()
    settings = extractor.settings
    return find_near_duplicates(
        images,
        stored_vectors(extractor, images),
        thresholds,
        max_pixels=settings.max_pixels,
        value_ranges=extractor.backbone.spec.value_ranges,
        every_pixel=every_pixel,
        workers=settings.workers,
        events=events,
    )


def stored_vectors(extractor: FeatureExtractor, images: Manifest) -> NDArray[np.floating]:
    """The last features of each image as they are stored, (N, D), without the pooled stages."""
    rows = extractor.table.rows(images.table["hash"])
    width, step = extractor.cut.feature_shape[0], 4096
    folder = paths.root(extractor.settings.cache_dir)
    vectors = scratch_array((len(rows), width), rows.table.space.dtype, folder)
    for start in range(0, len(rows), step):  # with all stages at once they would take twice as much
        vectors[start : start + step] = rows.take(np.arange(start, min(start + step, len(rows))))[:, :width]
    return vectors


def group_near_duplicates(extractor: FeatureExtractor, dataset: Dataset, *, events: Events) -> Dataset:
    """The data set with near-duplicates on one side of the split; without any, the data set as it is.

    Where splits are given, near-duplicates of images of another split are told. All images in a split must have
    features in the store. Nothing is done where the settings say so, or the split is by the order of the rows.
    """
    settings = extractor.settings
    if settings.near_duplicates != "group" or settings.split != "random":
        return dataset
    rows = dataset.rows(SPLITS)
    near = near_duplicates(extractor, dataset.manifest.select(rows), every_pixel=False, events=events)
    if near is None or not near.pairs:
        return dataset
    alike = np.arange(len(dataset.manifest))
    alike[rows] = rows[near.numbers()]
    groups = near.groups()
    events.notice(
        f"{sum(map(len, groups)):,} images are near-duplicates in {len(groups):,} groups of up to "
        f"{max(map(len, groups)):,}: no split and no fold divides a group (--near-duplicates ignore)"
    )
    try:
        together = keep_together(dataset, alike, settings)
        if together.cross_validated:
            fold_masks(together.targets("train"), 2, settings.seed, groups=together.fold_groups("train"))
        dataset = together
    except DataError as error:
        events.warn(f"near-duplicates are divided by the split, since with none divided {error}")
    pairs = [(int(rows[one]), int(rows[other])) for one, other in (p.rows for p in near.pairs)]
    return replace(dataset, near_leaks=frozenset(_tell_divided(dataset, pairs, events)))


def _tell_divided(dataset: Dataset, pairs: list[tuple[int, int]], events: Events) -> set[int]:
    """Warn of images that are evaluated while a near-duplicate is trained on, as given splits may have it.

    :returns: their rows.
    """
    uris, splits = dataset.manifest.uris, dataset.manifest.splits
    told: set[int] = set()
    for split, others in (("validation", ("train",)), ("test", ("train", "validation"))):
        found = {
            row: other
            for pair in pairs
            for row, other in (pair, pair[::-1])
            if splits[row] == split and splits[other] in others
        }
        if found:
            row, other = next(iter(found.items()))
            events.warn(
                f"{len(found):,} of the {len(dataset.split(split)):,} {split} images are near-duplicates of images in "
                f"the {' or '.join(others)} split, for example {display_name(uris[row])} of "
                f"{display_name(uris[other])}: the figures are too good (headstart check lists them)"
            )
            told.update(found)
    return told


def _calibrated(extractor: FeatureExtractor, images: Manifest, *, events: Events) -> Thresholds | None:
    """The thresholds that copies of some images reach with them.

    None if different images reach them as well, or if none of the images can be read any more.

    The images are drawn by their content: the same at every fit, whatever the order of the rows.
    """
    hashes = images.hashes
    chosen = sorted(comparable_rows(images).tolist(), key=lambda row: str(hashes[row]))[:SAMPLE]
    spec, limit = extractor.backbone.spec, extractor.settings.max_pixels
    copy = partial(_copies, side=min_source_side(spec), max_pixels=limit, extractor=extractor)
    with open_executor(len(chosen), workers=extractor.settings.workers, kind="threads") as executor:
        made = list(executor.map(copy, [images.source(row) for row in chosen]))
    originals = [row for row, each in zip(chosen, made, strict=True) for _ in each.files]
    if not originals:
        return None
    files = [file for each in made for file in each.files]
    copies = inspect_all(Manifest.from_arrays(files), max_pixels=limit)
    _in_this_process(extractor).compute(copies, views=(0,), events=Events())
    first, second = (normalized(stored_vectors(extractor, each)) for each in (images.select(originals), copies))
    agreements = np.array([agreement for each in made for agreement in each.agreements], np.float32)
    thresholds = Thresholds.from_copies(np.einsum("nd,nd->n", first, second), agreements)
    thumbnails = [each.original for each in made if each.original is not None]
    by_chance = [compare(one, other).correlation >= thresholds.agreement for one, other in combinations(thumbnails, 2)]
    if by_chance and np.mean(by_chance) > MOST_BY_CHANCE:
        events.notice("near-duplicates are not looked for: images of this set are too much alike to tell them apart")
        return None
    return thresholds


def _in_this_process(extractor: FeatureExtractor) -> FeatureExtractor:
    """Without a cluster, whose workers cannot read images in the memory of this process."""
    if extractor.settings.cluster is None:
        return extractor  # with its engine, which may be open
    return replace(extractor, settings=replace(extractor.settings, cluster=None))


@dataclass(frozen=True)
class _Copies:
    """Altered copies of an image, each with the agreement of its pixels with those of the image."""

    original: Thumbnail | None = None  # None: it cannot be read any more
    files: tuple[bytes, ...] = ()
    agreements: tuple[float, ...] = ()


def _copies(image: ImageReference, *, side: int, max_pixels: int, extractor: FeatureExtractor) -> _Copies:
    ranges = extractor.backbone.spec.value_ranges
    try:
        with decoded(image, max_pixels=max_pixels, min_side=side, value_ranges=ranges) as pixels:
            # Of a camera's photograph, what the network sees is the same at this size.
            scale = min(1.0, side / min(pixels.size))
            size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
            files = altered_copies(pixels.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))
        original = Thumbnail(gray_thumbnail(image, max_pixels=max_pixels, value_ranges=ranges))
    except ImageProblem:  # it has vanished since it was inspected
        return _Copies()
    found = (compare(Thumbnail(gray_thumbnail(file, max_pixels=max_pixels)), original) for file in files)
    return _Copies(original, tuple(files), tuple(each.correlation for each in found))
