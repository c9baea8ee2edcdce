"""Image sources: files, archives, tables with images, arrays in memory, and those that :func:`register_source` adds."""

from __future__ import annotations

from headstart.data.sources.archives import ARCHIVES
from headstart.data.sources.arrays import ArraySource
from headstart.data.sources.base import (
    FoundImage,
    ImageReference,
    ImageSource,
    Stamp,
    image_uri,
    reference,
    register_source,
    source_of,
)
from headstart.data.sources.image_columns import IMAGE_COLUMNS
from headstart.data.sources.local import LocalFiles

__all__ = [
    "FoundImage",
    "ImageReference",
    "ImageSource",
    "Stamp",
    "image_uri",
    "reference",
    "register_source",
    "source_of",
]

register_source(LocalFiles())
register_source(ArraySource())
for archives in ARCHIVES:
    register_source(archives)
for columns in IMAGE_COLUMNS:
    register_source(columns)
