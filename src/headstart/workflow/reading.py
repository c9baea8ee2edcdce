"""Read images into a manifest, and inspect them once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from headstart import paths
from headstart.config import EngineSettings, FitSettings, ReadSettings
from headstart.data.corrections import apply_corrections
from headstart.data.inspection import check_problem_share, inspect_all
from headstart.data.inspection_cache import InspectionCache
from headstart.data.manifest import Manifest
from headstart.data.sources.read import read_images
from headstart.errors import AmbiguousFolders, DataError
from headstart.events import DataDescribed, Events
from headstart.workflow.value_ranges import given_ranges

__all__ = ["inspect_images", "inspect_without_limit", "read", "read_all", "require_labels"]


def read(photos: str | Path, settings: ReadSettings | None = None, *, events: Events | None = None) -> Manifest:
    """Read a folder of images, with its table of labels if there is one, as a manifest.

    What it was taken to be is emitted as :class:`headstart.events.DataDescribed`.

    :raises DataError: there are no images, or a table cannot be used.
    """
    values = (settings or ReadSettings()).values()
    corrections = values.pop("corrections")
    manifest = read_images(photos, **values)
    return _described(manifest if corrections is None else apply_corrections(manifest, Path(corrections)), events)


def read_all(
    images: Sequence[str | Path], settings: ReadSettings | None = None, *, events: Events | None = None
) -> Manifest:
    """Read files and folders of images as one manifest; with a table of labels, a single folder.

    :raises DataError: there are no images, or a table is given with more than one folder.
    """
    if settings is not None and settings.labels is not None:
        if len(images) != 1:
            raise DataError(f"--labels {settings.labels} must be used with one folder of images, got {len(images)}")
        return read(images[0], settings, events=events)
    # labels=False: an old table of predictions next to the images does not list them.
    manifests = [_described(_read_for_prediction(image), events) for image in images]
    return manifests[0] if len(manifests) == 1 else Manifest(pa.concat_tables([each.table for each in manifests]))


def _read_for_prediction(images: str | Path) -> Manifest:
    try:
        return read_images(images, labels=False)
    except AmbiguousFolders:  # nobody needs the labels
        return read_images(images, labels=False, folder_levels="none")


def _described(manifest: Manifest, events: Events | None) -> Manifest:
    if events is not None and manifest.description is not None:
        events.emit(DataDescribed(manifest.description))
    return manifest


def require_labels(manifest: Manifest) -> Manifest:
    """The images that have a label.

    :raises DataError: no image has one.
    """
    labeled = manifest.select(manifest.table["label"].is_valid().to_numpy())
    if not len(labeled):
        raise DataError("no image has a label: give one subfolder per class, or a table of labels (--labels TABLE)")
    return labeled


def inspect_images(manifest: Manifest, settings: EngineSettings, *, events: Events) -> Manifest:
    """Inspect every image once, and check that enough of them can be used.

    A fit does not read again what it, or another fit with the same cache, inspected before, unless it has changed.

    :raises TooManyProblems: the share of unusable images is above ``max_problems``.
    """
    inspected = inspect_without_limit(manifest, settings, events=events)
    check_problem_share(inspected, max_share=settings.max_problems)
    if unusable := len(inspected.unusable):
        events.notice(f"{unusable:,} of {len(inspected):,} images cannot be used and are set aside")
    return inspected


def inspect_without_limit(manifest: Manifest, settings: EngineSettings, *, events: Events) -> Manifest:
    """Inspect every image once, however many have a problem; the cache is that of the settings, if they have one."""
    cache = InspectionCache(paths.inspections(settings.cache_dir)) if isinstance(settings, FitSettings) else None
    return inspect_all(
        manifest,
        max_pixels=settings.max_pixels,
        value_ranges=given_ranges(settings),
        workers=settings.workers,
        cache=cache,
        events=events,
    )
