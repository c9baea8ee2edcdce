"""Networks in 8-bit integers: faster where the processor lacks bfloat16, and slightly less accurate.

NNCF quantizes a trained network: weights are rounded, and the output of each layer is rounded within the range that it
has for some images, which are the user's own. benchmarks/speed/int8.py measures the loss of accuracy.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import read_views
from headstart.errors import SettingsError
from headstart.extras import require_extra
from headstart.models.openvino_library import nncf

__all__ = ["BATCH_SIZE", "MAX_IMAGES", "Calibration", "choose_calibration", "quantize", "require_nncf"]

BATCH_SIZE = 32
"""Images per batch of calibration: constant, so that the ranges do not depend on the batch size of inference."""

MAX_IMAGES = 256
"""Largest number of calibration images; the default of NNCF is 300."""


@dataclass(frozen=True)
class Calibration:
    """The images that set the ranges. Other images yield another network, so that their digest is part of the name."""

    name: str
    images: Callable[[], NDArray[np.uint8]]  # returns (N, H, W, 3)


def require_nncf() -> None:
    """Check that NNCF is installed.

    :raises SettingsError: it is not; the message says how to install it.
    """
    require_extra("int8", ["nncf"], what="--precision int8", otherwise=", or choose another --precision")


def choose_calibration(
    manifest: Manifest, spec: InputSpec, *, max_pixels: int, workers: int | None = None
) -> Calibration:
    """Choose up to 256 of the images; labels are ignored.

    If the images are inspected, the choice does not depend on their order or split. A fit with another seed, which
    splits them differently, then finds the features that are already stored.

    :raises SettingsError: fewer than 32 images can be read.
    """
    usable = manifest.usable
    hashes = [image or "" for image in usable.hashes]
    rows = sorted(range(len(usable)), key=hashes.__getitem__)[:MAX_IMAGES]
    inspected = all(hashes)
    if not inspected:
        rows = np.unique(np.linspace(0, len(usable) - 1, min(MAX_IMAGES, len(usable))).astype(int)).tolist()

    def images() -> NDArray[np.uint8]:
        batches = read_views(usable, rows, spec, batch_size=BATCH_SIZE, max_pixels=max_pixels, workers=workers)
        read = [image for batch in batches for image in batch.images]
        _require_images(len(read))
        return np.stack(read)

    _require_images(len(rows))
    if inspected:
        return Calibration(_name(*(hashes[row].encode() for row in rows)), images)
    pixels = images()
    return Calibration(_name(pixels.tobytes()), lambda: pixels)


def _require_images(count: int) -> None:
    if count < BATCH_SIZE:
        raise SettingsError(
            f"--precision int8 needs at least {BATCH_SIZE} readable images for calibration, got {count}; "
            "choose another --precision"
        )


def _name(*content: bytes) -> str:
    return f"int8-{hashlib.blake2b(b''.join(content), digest_size=8).hexdigest()}"


def quantize(model: Any, images: NDArray[np.uint8]) -> Any:
    """Quantize an OpenVINO model whose batch size is 32 and whose input is uint8 (32, H, W, 3).

    :param images: (N, H, W, 3), at least 32; the rest after the last full batch is ignored.
    """
    library = nncf()
    library.set_log_level(logging.ERROR)
    starts = range(0, len(images) - BATCH_SIZE + 1, BATCH_SIZE)
    batches = [images[start : start + BATCH_SIZE] for start in starts]
    with redirect_stdout(io.StringIO()):  # its progress bars would end up among our results
        return library.quantize(model, library.Dataset(batches), subset_size=len(batches))
