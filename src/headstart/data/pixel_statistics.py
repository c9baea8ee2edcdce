"""Simple numbers of the pixels and the file of every image, by which odd ones are found; computed once and cached.

Images are reduced to at most 256 pixels on the longer side, and never enlarged. Brightness is that of ITU-R BT.601
(Pillow's mode L), black 0 and white 1.

=================  =====================================================================================================
brightness         mean
contrast           standard deviation
low, high          5th and 95th percentile
sharpness          variance of the Laplacian of the brightness in units of 1/255: Pech-Pacheco et al., Diatom
                   autofocusing in brightfield microscopy: a comparative study, ICPR 2000
red, green, blue   mean color
border_red, ...    mean color of the outer 5 % of each side (green, blue likewise), and the standard deviation in it
border_spread
frame_top, ...     share of the rows (columns) from each side on that are of one color; bottom, left, right likewise
orientation        EXIF orientation of the file, 1 to 8; 1 is upright
frames             frames of an animation, pages of a TIFF or frames of a DICOM file, of which the first is measured
=================  =====================================================================================================
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
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
from headstart.data.decode import MAX_PIXELS, decode, read_content
from headstart.data.image_map import map_images
from headstart.data.manifest import Manifest
from headstart.data.opening import open_image
from headstart.data.parquet import write_parquet
from headstart.data.pixels import exif_orientation
from headstart.data.sources.base import ImageReference
from headstart.data.tiff_pages import page_offsets
from headstart.data.value_range import ValueRange
from headstart.errors import ImageProblem
from headstart.events import Events

__all__ = ["STATISTICS", "PixelStatistics", "compute_statistics", "measure"]

STATISTICS = (
    *("brightness", "contrast", "low", "high", "sharpness", "red", "green", "blue"),
    *("border_red", "border_green", "border_blue", "border_spread"),
    *("frame_top", "frame_bottom", "frame_left", "frame_right", "orientation", "frames"),
)
"""The names of the numbers, in the order of the columns."""

_VERSION = b"1"  # raised when a number is computed in another way
_SCHEMA = pa.schema(
    [("key", pa.string()), ("format", pa.string()), *((name, pa.float32()) for name in STATISTICS)],
    metadata={b"version": _VERSION, b"pillow": PIL.__version__.encode()},
)
_SIDE = 256
_BORDER = 0.05
_ONE_COLOR = 3  # standard deviation, of 255, below which the pixels of a row are of one color
_SMALLEST = 3  # pixels that a Laplacian needs
_WITH_FRAMES = ("GIF", "WEBP", "PNG", "AVIF", "HEIF", "DICOM")  # others have layers or previews
_LEVELS = np.arange(256) / 255


@dataclass(frozen=True)
class PixelStatistics:
    """The numbers of N images."""

    values: dict[str, NDArray[np.float32]]  # each (N,), by the names in STATISTICS; nan: the image cannot be decoded
    formats: tuple[str | None, ...]  # Pillow's name of each file's format, as "JPEG"; None: an array, or unknown


def measure(image: Image.Image) -> list[float]:
    """Return the numbers in ``STATISTICS`` but the last two of an RGB image.

    >>> values = dict(zip(STATISTICS, measure(Image.new("RGB", (40, 30), (255, 0, 0))), strict=False))
    >>> values["red"], values["contrast"], values["sharpness"], values["frame_top"]
    (1.0, 0.0, 0.0, 1.0)
    """
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    gray = image.convert("L")
    pixels, shades = np.asarray(image), np.asarray(gray).astype(np.int16)
    height, width = shades.shape
    # Histograms: over pixels, NumPy takes several times as long.
    counts = np.array(gray.histogram(), np.float64) / shades.size
    brightness = float(counts @ _LEVELS)
    contrast = math.sqrt(max(0.0, float(counts @ (_LEVELS - brightness) ** 2)))
    low, high = np.searchsorted(counts.cumsum(), (0.05, 0.95)) / 255
    colors = np.array(image.histogram(), np.float64).reshape(3, 256) @ _LEVELS / shades.size
    across, down = max(1, round(_BORDER * width)), max(1, round(_BORDER * height))
    strips = (pixels[:down], pixels[-down:], pixels[:, :across], pixels[:, -across:])
    border = np.concatenate([strip.reshape(-1, 3) for strip in strips]).astype(np.float32) / 255
    columns = pixels.transpose(1, 0, 2)
    frames = [_leading(lines) for lines in (pixels, pixels[::-1], columns, columns[::-1])]
    statistics = (brightness, contrast, low, high, _sharpness(shades), *colors, *border.mean(0), border.std(0).mean())
    return [float(each) for each in (*statistics, *frames)]


def _sharpness(shades: NDArray[np.int16]) -> float:
    """The variance of the Laplacian without the outermost pixels."""
    if min(shades.shape) < _SMALLEST:
        return 0.0
    inner = shades[1:-1, 1:-1]
    found = 4 * inner - shades[:-2, 1:-1] - shades[2:, 1:-1] - shades[1:-1, :-2] - shades[1:-1, 2:]
    flat = found.ravel().astype(np.float32)
    mean = float(flat.mean())
    return float(flat @ flat) / len(flat) - mean**2


def compute_statistics(
    manifest: Manifest,
    *,
    max_pixels: int = MAX_PIXELS,
    value_ranges: Sequence[ValueRange] = (),
    workers: int | None = None,
    cache: Path | None = None,
    events: Events | None = None,
) -> PixelStatistics:
    """Compute the numbers of inspected images, in their order.

    :param cache: a Parquet file with the numbers of images by their content; others are added to it. One that cannot
        be read counts as empty.
    """
    keys, known = content_keys(manifest, value_ranges), read_known(cache, _SCHEMA)
    if missing := rows_to_compute(keys, known):
        look = partial(_look, max_pixels=max_pixels, value_ranges=value_ranges)
        rows = map_images(look, manifest, list(missing.values()), stage="measuring", workers=workers, events=events)
        new = pa.table(
            [
                pa.array(list(missing), pa.string()),
                pa.array([each[0] for each in rows], pa.string()),
                *(pa.array([each[1][number] for each in rows], pa.float32()) for number in range(len(STATISTICS))),
            ],
            schema=_SCHEMA,
        )
        known = pa.concat_tables([known, new])
        if cache is not None:
            with suppress(OSError):  # the next check only takes longer
                decoded = pc.invert(pc.is_nan(known["brightness"]))
                write_parquet(cache, known.filter(decoded))
    found = known.take(pc.index_in(pa.array(keys, pa.string()), value_set=known["key"]))
    values = {name: found[name].to_numpy().astype(np.float32) for name in STATISTICS}
    return PixelStatistics(values, tuple(found["format"].to_pylist()))


_Measured = tuple[str | None, list[float]]


def _look(image: ImageReference, *, max_pixels: int, value_ranges: Sequence[ValueRange]) -> _Measured:
    try:
        content = read_content(image)
        source = content if isinstance(content, bytes) else image
        values = measure(decode(source, max_pixels=max_pixels, min_side=_SIDE, value_ranges=value_ranges))
    except ImageProblem:  # it has changed since it was inspected
        return None, [float("nan")] * len(STATISTICS)
    name, turn, frames = _header(content) if isinstance(content, bytes) else (None, 1, 1)
    return name, [*values, float(turn), float(frames)]


def _header(content: bytes) -> tuple[str | None, int, int]:
    """Pillow's name of the format, the EXIF orientation, and the number of frames."""
    with suppress(Exception), warnings.catch_warnings():  # decoders raise anything; the numbers are there already
        warnings.simplefilter("ignore")
        with open_image(io.BytesIO(content), content[:256], "") as image:
            turn = exif_orientation(image, header_only=True)
            if image.format == "TIFF":
                return image.format, turn, max(1, len(page_offsets(io.BytesIO(content))))
            return image.format, turn, getattr(image, "n_frames", 1) if image.format in _WITH_FRAMES else 1
    return None, 1, 1


def _leading(lines: NDArray[np.uint8]) -> float:
    """The share of lines (L, P, 3), from the first one on, that are of one color."""
    for number, line in enumerate(lines):
        if np.any(line.std(0) >= _ONE_COLOR):
            return number / len(lines)
    return 1.0
