"""JPEG files decoded and resized on a device, where its decoder proved to read them as Pillow does.

The decoder is torchvision's: nvJPEG on an NVIDIA GPU, with the GPU's own JPEG engines where it has them (A100, H100 and
later); on a processor libjpeg, with which the tests run the same path without a GPU.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from headstart.data.jpeg_header import JpegLayout, plain_layout
from headstart.data.resampling import can_resize, copied, evaluation_views
from headstart.data.spec import InputSpec

__all__ = ["DECODERS", "DeviceDecoder", "Filling", "decode_files", "may_be_filled"]

DECODERS = {"nvjpeg": "cuda", "torchvision": "cpu"}
"""The device of each decoder beside "pillow"."""

MAX_PIXELS = 1 << 25
"""Of an image that is decoded on the device; with four bytes per color, one twice as large takes a gigabyte there."""

MIN_SIDE = 16
"""Pixels of the largest block of a JPEG; smaller images are not worth their own kind of work."""

_MAX_MEAN_DIFFERENCE = 3.0
"""Of a test image, from Pillow: more is another color space, or another image. Decoders differ in how they enlarge the
color of 4:2:0 and in the last bit of each value, by 1 in the mean."""

_FLAT = 3  # largest difference of brightness within a block that a decoder filled because its data are missing
_GRAY = 124, 132  # its brightness, if it is gray


class Filling(Enum):
    """What a decoder writes where the data of a file end early."""

    GRAY = "gray"  # the brightness of no data, as libjpeg does; or it refuses the file
    FLAT = "flat"  # some other one color
    UNKNOWN = "unknown"  # anything, such as what was in memory before


class _Trust(NamedTuple):
    """What was found out about a decoder."""

    samplings: frozenset[tuple[int, ...]]  # that it reads as Pillow does
    filling: Filling  # of blocks that are missing from the data


class DeviceDecoder:
    """Makes evaluation views of JPEG files on a device. Its calls come from one thread.

    :param decoder: "nvjpeg", or "torchvision" on a processor.
    """

    def __init__(self, decoder: str, spec: InputSpec) -> None:
        self.device = torch.device(DECODERS[decoder])
        self._spec = spec
        # torchvision's decoder writes in a stream of its own, which waits for none of ours. Memory that it writes to
        # must not be what our stream still reads. So images have the memory of a stream in which nothing else happens,
        # and those decoded last are kept until they are resized.
        self._stream, self._decoding = (_new_stream(self.device) for _ in range(2))
        self._trust: _Trust | None = None
        self._last: tuple[Sequence[Tensor], torch.cuda.Event] | None = None  # and when they are resized

    @property
    def trust(self) -> _Trust:
        """What the decoder reads as Pillow does, found out once per process."""
        if self._trust is None:
            self._trust = _tried(self.device.type)
        return self._trust

    def layout(self, content: bytes, max_pixels: int) -> JpegLayout | None:
        """The layout of a file that this decoder takes; None for any other. Safe to call from several threads."""
        found = plain_layout(content)
        if found is None or found.sampling not in self.trust.samplings:
            return None
        pixels, size = found.width * found.height, (found.width, found.height)
        if pixels > min(max_pixels, MAX_PIXELS) or min(size) < MIN_SIDE or not can_resize(size, self._spec):
            return None
        return found

    def views(self, files: Sequence[bytes], corners: bool = False) -> tuple[Tensor, NDArray[np.uint8] | None]:
        """Decode and resize files that :meth:`layout` takes: uint8 (N, height, width, 3) on the device.

        The work may still be under way: :meth:`handed_over` makes the caller's stream wait for it.

        :param corners: also return the last 16×16 pixels of each image, (N, 3, 16, 16).
        :raises RuntimeError: the decoder refuses a file.
        """
        with _within(self._decoding):
            decoded = decode_files(files, self.device)
        with _within(self._stream):
            last = None
            if corners:
                last = torch.stack([image[:, -MIN_SIDE:, -MIN_SIDE:] for image in decoded]).cpu().numpy()
            made = evaluation_views(decoded, self._spec)
            if self._stream is not None:
                if self._last is not None:
                    self._last[1].synchronize()
                self._last = decoded, self._stream.record_event()
            return made, last

    def flipped(self, views: Tensor) -> Tensor:
        """Views (N, height, width, 3), flipped left-right."""
        with _within(self._stream):
            return views.flip(2)

    def to_device(self, images: NDArray[np.uint8]) -> Tensor:
        """Copy views that were made on the host, (N, height, width, 3)."""
        with _within(self._stream):
            return copied(torch.from_numpy(images), self.device)

    def arranged(self, parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
        """The views ``order`` of all parts, joined."""
        with _within(self._stream):
            joined = parts[0] if len(parts) == 1 else torch.cat(list(parts))
            if list(order) == list(range(len(joined))):
                return joined
            return joined[copied(torch.tensor(order), self.device)]

    def finished(self) -> Any:
        """An event after all work so far; None on a processor."""
        return None if self._stream is None else self._stream.record_event()

    @staticmethod
    def handed_over(images: Tensor, event: Any) -> Tensor:
        """Let the stream of the calling thread wait for the images, and use their memory."""
        if event is not None:
            stream = torch.cuda.current_stream()
            event.wait(stream)
            images.record_stream(stream)
        return images


def _new_stream(device: torch.device) -> torch.cuda.Stream | None:
    if device.type != "cuda":
        return None
    return torch.cuda.Stream()  # type: ignore[no-untyped-call, no-any-return, unused-ignore]


@contextmanager
def _within(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Work in a stream, without gradients."""
    with torch.inference_mode():
        if stream is None:
            yield
        else:
            with torch.cuda.stream(stream):
                yield


def decode_files(files: Sequence[bytes], device: torch.device) -> list[Tensor]:
    """Decode JPEG files on a device: uint8 (3, H, W) each.

    :raises RuntimeError: the decoder refuses a file; which one it does not say.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    _ignore_warnings()
    contents = [torch.frombuffer(file, dtype=torch.uint8) for file in files]
    decoded: list[Tensor] = decode_jpeg(contents, mode=ImageReadMode.RGB, device=device)
    return decoded


def may_be_filled(corner: NDArray[np.uint8], layout: JpegLayout, filling: Filling) -> bool:
    """Whether the end of an image looks like a block that a decoder filled.

    Brightness alone is compared, in the last 4×4 pixels of the last block: color is interpolated from the next one.

    :param corner: its last 16×16 pixels, (3, 16, 16).
    """
    rows, columns = min(4, (layout.height - 1) % 8 + 1), min(4, (layout.width - 1) % 8 + 1)
    block = corner[:, -rows:, -columns:].astype(np.float32)
    brightness = 0.299 * block[0] + 0.587 * block[1] + 0.114 * block[2]
    low, high = brightness.min(), brightness.max()
    if filling is Filling.GRAY:
        return bool(low >= _GRAY[0] and high <= _GRAY[1])
    return bool(high - low <= _FLAT)


def _ignore_warnings() -> None:
    """torchvision announces TorchCodec, and torch that bytes must not be written to, which nobody does."""
    for category, message in ((DeprecationWarning, ".*TorchCodec"), (UserWarning, "The given buffer is not writable")):
        if not any(each[2] is category and getattr(each[1], "pattern", "") == message for each in warnings.filters):
            warnings.filterwarnings("ignore", category=category, message=message)


@lru_cache
def _tried(device: str) -> _Trust:
    """Decode images of each kind on the device, and compare them with Pillow's."""
    target = torch.device(device)
    trusted = set()
    for mode, subsampling in (("L", 0), ("RGB", 0), ("RGB", 1), ("RGB", 2)):
        content = _test_image(mode, subsampling)
        layout = plain_layout(content)
        try:
            (decoded,) = decode_files([content], target)
        except RuntimeError:
            continue
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float32)
        actual = decoded.permute(1, 2, 0).cpu().numpy()
        if actual.shape == expected.shape and np.abs(actual - expected).mean() <= _MAX_MEAN_DIFFERENCE and layout:
            trusted.add(layout.sampling)
    return _Trust(frozenset(trusted), _filling(target))


def _test_image(mode: str, subsampling: int) -> bytes:
    """A JPEG file of colors that change slowly, with one quarter of noise."""
    down, across = np.mgrid[0:96, 0:128].astype(np.float32)
    colors = np.stack([across * 2, down * 2.6, 255 - across], axis=2)
    noise = np.random.default_rng(0).normal(0, 20, (48, 64, 1))
    colors[48:, 64:] += noise
    image = Image.fromarray(colors.clip(0, 255).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, subsampling=subsampling)
    return file.getvalue()


def _filling(device: torch.device) -> Filling:
    """What the decoder makes of a file whose data end early, in memory that held something else before."""
    found = Filling.GRAY
    for subsampling in (0, 2):
        content = _test_image("RGB", subsampling)
        short = content[: len(content) * 2 // 3].rstrip(b"\xff") + b"\xff\xd9"
        layout = plain_layout(short)
        noise = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8, device=device)
        if device.type == "cuda":
            torch.cuda.synchronize()
        del noise  # the next image is likely to be written there
        try:
            (decoded,) = decode_files([short], device)
        except RuntimeError:
            continue
        corner = decoded[:, -MIN_SIDE:, -MIN_SIDE:].cpu().numpy()
        if layout is None or not may_be_filled(corner, layout, Filling.FLAT):
            return Filling.UNKNOWN
        if not may_be_filled(corner, layout, Filling.GRAY):
            found = Filling.FLAT
    return found
