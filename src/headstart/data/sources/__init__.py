"""Image sources: files here and elsewhere, archives, tables with images, arrays, and those that are registered."""

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
from headstart.data.sources.frames import FrameSource
from headstart.data.sources.image_columns import IMAGE_COLUMNS
from headstart.data.sources.local import LocalFiles
from headstart.data.sources.named import NAMED
from headstart.data.sources.projects import Projects
from headstart.data.sources.remote_files import REMOTE

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
register_source(Projects())
register_source(FrameSource())
for _archives in ARCHIVES:
    register_source(_archives)
for _columns in IMAGE_COLUMNS:
    register_source(_columns)
for _named in NAMED:
    register_source(_named)
for _remote in REMOTE:
    register_source(_remote)
