"""Copies of an image as they come about in practice: what is a near-duplicate, by example."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageEnhance, ImageOps

__all__ = ["ALTERATIONS", "altered_copies"]

_QUALITY = 60  # of a JPEG that was saved once more
_SAVED = 90  # of the other copies
_CROP = 0.9  # of each side
_SCALE = 0.5
_BRIGHTER = 1.2


def _cropped(image: Image.Image) -> Image.Image:
    width, height = (max(1, round(side * _CROP)) for side in image.size)
    # Not centered: half of the margin from each side would be the easiest of all crops.
    left, top = (image.width - width) // 4, (image.height - height) * 3 // 4
    return image.crop((left, top, left + width, top + height))


def _resized(image: Image.Image) -> Image.Image:
    width, height = (max(1, round(side * _SCALE)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


ALTERATIONS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "re-encoded": lambda image: image,
    "resized": _resized,
    "cropped": _cropped,
    "mirrored": ImageOps.mirror,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(_BRIGHTER),
}
"""Saved again as JPEG of quality 60, at half the size, cropped to 90 % of each side, mirrored, or 20 % brighter."""


def altered_copies(image: Image.Image) -> list[bytes]:
    """Return one JPEG file for each of the ALTERATIONS.

    >>> copies = altered_copies(Image.new("RGB", (40, 20)))
    >>> [Image.open(io.BytesIO(each)).size for each in copies]
    [(40, 20), (20, 10), (36, 18), (40, 20), (40, 20)]
    """
    files = []
    for name, alter in ALTERATIONS.items():
        file = io.BytesIO()
        alter(image).save(file, "JPEG", quality=_QUALITY if name == "re-encoded" else _SAVED)
        files.append(file.getvalue())
    return files
