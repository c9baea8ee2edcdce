"""From images to a manifest that says which of them can be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from headstart import places
from headstart.data.checkup import inspect_all, refuse_if_too_many
from headstart.data.manifest import Manifest
from headstart.data.seen import Seen
from headstart.data.sources import read_images
from headstart.errors import DataError
from headstart.progress import Progress
from headstart.settings import EngineSettings, FitSettings, ReadSettings

__all__ = ["check", "inspected", "pictures", "read"]


def read(photos: str | Path, settings: ReadSettings | None = None) -> Manifest:
    """A folder, or a folder and a table, as a manifest."""
    settings = settings or ReadSettings()
    return read_images(
        photos,
        labels=settings.labels,
        id_column=settings.id_column,
        label_column=settings.label_column,
        split_column=settings.split_column,
    )


def pictures(images: Sequence[str | Path], settings: ReadSettings | None = None) -> Manifest:
    """Files and folders of pictures as one manifest; with a table of labels, one folder.

    :raises DataError: a table is given, and more than a folder.
    """
    if settings is not None and settings.labels is not None:
        if len(images) != 1:
            raise DataError(f"--labels {settings.labels} is of one folder of images, got {len(images)}")
        return read(images[0], settings)
    # labels=False: an old table of predictions beside them is no list of images.
    manifests = [read_images(image, labels=False) for image in images]
    return manifests[0] if len(manifests) == 1 else Manifest(pa.concat_tables([each.table for each in manifests]))


def inspected(manifest: Manifest, settings: EngineSettings, *, progress: Progress) -> Manifest:
    """Read every image once; refuse to go on when too many have a problem.

    A fit does not read again what it, or another fit with the same store, read before and what has not changed since.

    :raises TooManyProblems: more than the share ``max_problems``.
    """
    before = Seen(places.inspections(settings.store)) if isinstance(settings, FitSettings) else None
    seen = inspect_all(
        manifest, max_pixels=settings.max_pixels, workers=settings.workers, seen=before, progress=progress
    )
    refuse_if_too_many(seen, most=settings.max_problems)
    if len(seen.unusable):
        progress.say(f"{len(seen.unusable):,} of {len(seen):,} images cannot be used and are set aside")
    return seen


def check(manifest: Manifest, out: Path, settings: EngineSettings, *, progress: Progress | None = None) -> Manifest:
    """Inspect the images and write ``manifest.parquet`` and ``problems.csv``, whatever is found."""
    seen = inspect_all(manifest, max_pixels=settings.max_pixels, workers=settings.workers, progress=progress)
    seen.write(out / "manifest.parquet")
    seen.write_problems(out / "problems.csv")
    return seen
