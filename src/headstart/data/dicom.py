"""DICOM files (pydicom): the values of a frame, with rescaling and window as the file states them."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.data.deep import DeepPixels, dtype_of

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DicomHeader", "UnsupportedDicomError", "read_header", "read_pixels", "single_frame"]

_FAR = 1e12  # beyond any value, in both directions: a window shows it as black or white


class UnsupportedDicomError(ValueError):
    """A sound file that is not read; the text says why, and what to do."""


class DicomHeader(NamedTuple):
    """What is known before the pixels are read."""

    size: tuple[int, int]  # width, height
    frames: int


def read_header(file: IO[bytes]) -> DicomHeader:
    """Read what comes before the pixels.

    :raises UnsupportedDicomError: a DICOM file without an image, such as a report or a directory.
    """
    import pydicom

    found = pydicom.dcmread(file, stop_before_pixels=True)
    if "Rows" not in found or "Columns" not in found:
        kind = found.file_meta.get("MediaStorageSOPClassUID")
        raise UnsupportedDicomError(f"a DICOM file without an image ({getattr(kind, 'name', 'of an unknown kind')})")
    return DicomHeader((int(found.Columns), int(found.Rows)), int(found.get("NumberOfFrames") or 1))


def read_pixels(file: IO[bytes]) -> npt.NDArray[np.uint8] | DeepPixels:
    """Read the first frame: 8 bits of a color or gray image, else values after rescaling (modality LUT).

    If the file has a window or VOI LUT, ``shown`` of the values is what it shows; of several, the first. MONOCHROME1 is
    inverted, so that bright is bright.

    :raises UnsupportedDicomError: a compression for which no decoder is installed.
    """
    import pydicom
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    found = pydicom.dcmread(file)
    try:
        values: npt.NDArray[Any] = pixel_array(found, index=0)
    except (RuntimeError, NotImplementedError) as error:
        syntax = found.file_meta.get("TransferSyntaxUID")
        if "plugins" in str(error) or syntax is None:  # each of those that are installed failed, and says why
            raise ValueError(" ".join(str(error).split())) from error
        text = f"a DICOM file compressed as {syntax.name}, for which pydicom has no decoder here"
        raise UnsupportedDicomError(
            f"{text}: install one (https://pydicom.github.io/pydicom/stable/guides/plugin_table.html)"
        ) from error
    kind = found.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        values = apply_color_lut(values, found)
    if values.ndim == 3:
        if values.dtype == np.uint8:
            return values
        return DeepPixels(values, dtype_of(values), (0.0, 65535.0) if kind == "PALETTE COLOR" else None)
    _take_frame_settings(found)
    inverted = kind == "MONOCHROME1" or found.get("PresentationLUTShape") == "INVERSE"
    rescaled = _smallest_type(apply_modality_lut(values, found), values)
    shown = _windowed(rescaled, found, inverted=inverted)
    if shown is None and rescaled.dtype == np.uint8:
        return 255 - rescaled if inverted else rescaled
    return DeepPixels(rescaled, dtype_of(rescaled), nodata=_padding(found), inverted=inverted, shown=shown)


def single_frame(content: bytes, number: int) -> bytes:
    """Return a file with one frame of a file that has several.

    :raises UnsupportedDicomError: its frames do not begin at whole bytes.
    """
    import pydicom
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.pixels.utils import get_expected_length

    found = pydicom.dcmread(io.BytesIO(content))
    count = int(found.get("NumberOfFrames") or 1)
    if found.file_meta.TransferSyntaxUID.is_compressed:
        frame = get_frame(found.PixelData, number, number_of_frames=count)
        pixels = encapsulate([frame], has_bot=False)
    else:
        length, rest = divmod(get_expected_length(found, "bytes"), count)
        if rest or found.BitsAllocated < 8:
            raise UnsupportedDicomError("frames of one bit per pixel are not read one by one")
        pixels = found.PixelData[number * length : (number + 1) * length]
        pixels += bytes(len(pixels) % 2)
    found.PixelData = pixels
    found.NumberOfFrames = 1
    if "PerFrameFunctionalGroupsSequence" in found:
        found.PerFrameFunctionalGroupsSequence = [found.PerFrameFunctionalGroupsSequence[number]]
    made = io.BytesIO()
    found.save_as(made, enforce_file_format=True)
    return made.getvalue()


def _take_frame_settings(found: Dataset) -> None:
    """Put what enhanced files state per frame, rescaling and window, where other files state it."""
    for place in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = found.get(place)
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in (groups[0].get(name) or ())[:1] if groups else ():
                found.update(item)


def _smallest_type(rescaled: npt.NDArray[Any], stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rescaled values as whole numbers where they are, and where these fit: pydicom makes them float64."""
    if rescaled.dtype.kind != "f":
        return rescaled
    kinds = (stored.dtype, np.dtype(np.uint16), np.dtype(np.int16))
    if np.array_equal(rescaled, np.floor(rescaled)):
        low, high = float(rescaled.min()), float(rescaled.max())
        for kind in kinds:
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return rescaled.astype(kind)
    return rescaled.astype(np.float32)


def _windowed(values: npt.NDArray[Any], found: Dataset, *, inverted: bool) -> npt.NDArray[np.uint8] | None:
    """What the file's own window or VOI LUT shows; None if it has none."""
    from pydicom.pixels.processing import apply_voi, apply_windowing

    if found.get("VOILUTSequence"):
        white = float((1 << int(found.VOILUTSequence[0].LUTDescriptor[2])) - 1)
        shown, black = apply_voi(values.astype(np.int64), found).astype(np.float64), 0.0
    elif found.get("WindowCenter") is not None and found.get("WindowWidth") is not None:
        floats = values.astype(np.float64)
        shown = apply_windowing(floats, found)
        black, white = (float(each) for each in apply_windowing(np.array([-_FAR, _FAR]), found))
    else:
        return None
    scaled = ((shown - black) * (255 / max(white - black, 1e-300))).clip(0, 255)
    pixels: npt.NDArray[np.uint8] = np.floor(scaled + 0.5).astype(np.uint8)
    return 255 - pixels if inverted else pixels


def _padding(found: Dataset) -> float | None:
    """The value of pixels that were not measured, after rescaling."""
    with suppress(AttributeError, TypeError, ValueError):
        return float(found.PixelPaddingValue) * float(found.get("RescaleSlope", 1)) + float(
            found.get("RescaleIntercept", 0)
        )
    return None
