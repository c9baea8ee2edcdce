"""Thumbnails as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

from PIL import Image, ImageOps

from headstart.data.decode import decode
from headstart.data.sources.base import reference
from headstart.errors import ImageProblem
from headstart.execution import open_executor

__all__ = ["Thumbnail", "Thumbnails"]

SIDE = 160  # pixels of a thumbnail, which is shown at half that size: sharp on high-density screens
SMALL = 48  # smaller images are kept pixel by pixel


@dataclass(frozen=True)
class Thumbnail:
    """A square image as a data URI, or the reason why there is none."""

    data: str | None
    side: int = 0  # pixels
    reason: str = ""


class Thumbnails:
    """Thumbnails by the URI of their image, each made once.

    A section asks for all images that it shows with :meth:`load`, which makes them in parallel.
    """

    def __init__(self) -> None:
        self._made: dict[str, Thumbnail] = {}

    def load(self, uris: Iterable[str]) -> None:
        """Make the thumbnails of these images. An image that cannot be read gives a thumbnail with the reason."""
        missing = [uri for uri in dict.fromkeys(uris) if uri not in self._made]
        if missing:
            with open_executor(len(missing), kind="threads") as executor:
                self._made.update(zip(missing, executor.map(_thumbnail, missing), strict=True))

    def __getitem__(self, uri: str) -> Thumbnail:
        """Return the thumbnail of an image, and make it if needed."""
        self.load([uri])
        return self._made[uri]


def _thumbnail(uri: str) -> Thumbnail:
    try:
        image = decode(reference(uri))
    except ImageProblem as problem:
        return Thumbnail(None, reason=problem.reason)
    side = min(SIDE, *image.size)
    image = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    if side < SMALL:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=80, optimize=True)
    kind = "png" if side < SMALL else "jpeg"
    return Thumbnail(f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", side)
