"""A network in 8-bit whole numbers: quicker where the processor lacks bfloat16, and a little less accurate.

NNCF makes it of a network that is trained: weights are rounded, and what each layer gives is rounded within the range
that it has for some pictures, which are the user's own. What it costs is measured in benchmarks/int8.py.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import read_views
from headstart.errors import SettingsError
from headstart.models.openvino_library import nncf

__all__ = ["BATCH", "MOST", "Calibration", "calibration", "quantize", "refuse_if_not_there"]

BATCH = 32
"""Pictures at a time while ranges are set: always as many, so that they do not hang on how the network is run."""

MOST = 256
"""Pictures that ranges are set by; NNCF's own default is 300."""


@dataclass(frozen=True)
class Calibration:
    """Pictures that the ranges are set by. With others another network comes out, which their name must tell."""

    name: str
    images: Callable[[], NDArray[np.uint8]]  # gives (N, H, W, 3)


def refuse_if_not_there() -> None:
    """Say how to get NNCF.

    :raises SettingsError: it is not installed.
    """
    if find_spec("nncf") is None:
        raise SettingsError('--precision int8 needs NNCF: run "pip install headstart[int8]", or leave --precision out')


def calibration(manifest: Manifest, spec: InputSpec, *, max_pixels: int, workers: int | None = None) -> Calibration:
    """Up to ``MOST`` of the images; of inspected ones the same in whatever order and parts they are.

    So a fit with another seed, which splits them otherwise, finds the features that are there. Labels are not looked
    at.

    :raises SettingsError: fewer than ``BATCH`` images can be read.
    """
    usable = manifest.usable
    hashes = [each or "" for each in usable.hashes]
    rows = sorted(range(len(usable)), key=hashes.__getitem__)[:MOST]
    inspected = all(hashes)
    if not inspected:
        rows = np.unique(np.linspace(0, len(usable) - 1, min(MOST, len(usable))).astype(int)).tolist()

    def images() -> NDArray[np.uint8]:
        views = read_views(usable, rows, spec, batch=BATCH, max_pixels=max_pixels, workers=workers)
        read = [image for some in views for image in some.images]
        _refuse_if_too_few(len(read))
        return np.stack(read)

    _refuse_if_too_few(len(rows))
    if inspected:
        return Calibration(_named(*(hashes[row].encode() for row in rows)), images)
    pixels = images()
    return Calibration(_named(pixels.tobytes()), lambda: pixels)


def _refuse_if_too_few(images: int) -> None:
    if images < BATCH:
        raise SettingsError(
            f"--precision int8 sets its ranges by the images it is given and needs {BATCH}; {images} can be read: "
            "leave --precision out"
        )


def _named(*content: bytes) -> str:
    return f"int8-{hashlib.blake2b(b''.join(content), digest_size=8).hexdigest()}"


def quantize(model: Any, images: NDArray[np.uint8]) -> Any:
    """OpenVINO's network for ``BATCH`` images at a time, uint8 (BATCH, H, W, 3), in 8-bit whole numbers.

    :param images: (N, H, W, 3), at least ``BATCH``; what is left after full batches is not looked at.
    """
    library = nncf()
    library.set_log_level(logging.ERROR)
    batches = [images[start : start + BATCH] for start in range(0, len(images) - BATCH + 1, BATCH)]
    with redirect_stdout(io.StringIO()):  # its bars go where our results do
        return library.quantize(model, library.Dataset(batches), subset_size=len(batches))
