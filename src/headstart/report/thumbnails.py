"""Thumbnails as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageOps

from headstart.data.decode import decoded
from headstart.data.sources.base import reference
from headstart.data.value_range import ValueRange
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

    :param value_ranges: black and white of pixels that are not 8-bit.
    """

    def __init__(self, value_ranges: Sequence[ValueRange] = ()) -> None:
        self._value_ranges = tuple(value_ranges)
        self._made: dict[str, Thumbnail] = {}

    def load(self, uris: Iterable[str]) -> None:
        """Make the thumbnails of these images. An image that cannot be read gives a thumbnail with the reason."""
        missing = [uri for uri in dict.fromkeys(uris) if uri not in self._made]
        if missing:
            with open_executor(len(missing), kind="threads") as executor:
                make = partial(_thumbnail, value_ranges=self._value_ranges)
                self._made.update(zip(missing, executor.map(make, missing), strict=True))

    def __getitem__(self, uri: str) -> Thumbnail:
        """Return the thumbnail of an image, and make it if needed."""
        self.load([uri])
        return self._made[uri]


def _thumbnail(uri: str, *, value_ranges: Sequence[ValueRange]) -> Thumbnail:
    try:
        # A JPEG of three times the size, from which the result is almost the same (data/transforms.py).
        with decoded(reference(uri), min_side=3 * SIDE, value_ranges=value_ranges) as image:
            side = min(SIDE, *image.size)
            small = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    except ImageProblem as problem:
        return Thumbnail(None, reason=problem.reason)
    buffer = io.BytesIO()
    if side < SMALL:
        small.save(buffer, "PNG", optimize=True)
    else:
        small.save(buffer, "JPEG", quality=80, optimize=True)
    kind = "png" if side < SMALL else "jpeg"
    return Thumbnail(f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", side)
