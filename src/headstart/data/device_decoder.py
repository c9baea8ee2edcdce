"""JPEG files decoded and resized on a device, where its decoder proved to read them as Pillow does.

The decoder is torchvision's: nvJPEG on an NVIDIA GPU, with the GPU's own JPEG engines where it has them (A100, H100 and
later); on a processor libjpeg, with which the tests run the same path without a GPU.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from headstart.data.jpeg_header import plain_layout
from headstart.data.resampling import copied, evaluation_views
from headstart.data.spec import InputSpec

__all__ = ["DECODERS", "DeviceDecoder", "decode_files", "joined"]

DECODERS = {"nvjpeg": "cuda", "torchvision": "cpu"}
"""The device of each decoder beside "pillow"."""

MAX_PIXELS = 1 << 25
"""Of an image that is decoded on the device; with four bytes per color, one twice as large takes a gigabyte there."""

_MAX_MEAN_DIFFERENCE = 3.0
"""Of a test image, from Pillow: more is another color space, or another image. Decoders differ in how they enlarge the
color of 4:2:0 and in the last bit of each value, by 1 in the mean."""


class DeviceDecoder:
    """Makes evaluation views of JPEG files on a device. Its calls come from one thread.

    :param decoder: "nvjpeg", or "torchvision" on a processor.
    """

    def __init__(self, decoder: str, spec: InputSpec) -> None:
        self.device = torch.device(DECODERS[decoder])
        self._spec = spec
        self._stream = _new_stream(self.device)

    @property
    def trusted(self) -> frozenset[tuple[int, ...]]:
        """The ways to sample colors (see JpegLayout) that the decoder reads as Pillow does, tried once per process."""
        return _tried(self.device.type)

    def views(self, files: Sequence[bytes]) -> Tensor:
        """Decode and resize plain JPEG files: uint8 (N, height, width, 3) on the device.

        The work may still be under way, as in all that this class makes; :meth:`finish` waits for it.

        :raises RuntimeError: the decoder refuses a file.
        """
        with _within(self._stream):
            return evaluation_views(decode_files(files, self.device), self._spec)

    def flipped(self, views: Tensor) -> Tensor:
        """Views (N, height, width, 3), flipped left-right."""
        with _within(self._stream):
            return views.flip(2)

    def to_device(self, images: NDArray[np.uint8]) -> Tensor:
        """Copy views that were made on the host, (N, height, width, 3)."""
        with _within(self._stream):
            return copied(torch.from_numpy(images), self.device)

    def joined(self, parts: Sequence[Tensor]) -> Tensor:
        """The views of all parts."""
        with _within(self._stream):
            return joined(parts)

    def arranged(self, parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
        """The views ``order`` of all parts, joined."""
        with _within(self._stream):
            whole = joined(parts)
            if list(order) == list(range(len(whole))):
                return whole
            return whole[copied(torch.tensor(order), self.device)]

    def finish(self) -> None:
        """Wait until all work so far is done, so that any thread and any stream may use its results."""
        if self._stream is not None:
            self._stream.synchronize()

    @staticmethod
    def handed_over(images: Tensor) -> Tensor:
        """Let the stream of the calling thread use finished images: their memory is not used again before it is done.

        Memory belongs to the stream that it was made in, and only that one would be waited for.
        """
        if images.is_cuda:
            images.record_stream(torch.cuda.current_stream())
        return images


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Parts of a batch as one tensor."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


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
    """Decode JPEG files on a device: uint8 (3, H, W) each, complete when this returns.

    nvJPEG works in a stream of its own, which waits for no other. What it writes to is memory of the current stream, so
    nothing may be under way there before; and nothing may use the files or the images before it is done.

    :raises RuntimeError: the decoder refuses a file; which one it does not say.
    """
    from torchvision.io import ImageReadMode, decode_jpeg

    _ignore_warnings()
    contents = [torch.frombuffer(file, dtype=torch.uint8) for file in files]
    _wait(device)
    try:
        decoded: list[Tensor] = decode_jpeg(contents, mode=ImageReadMode.RGB, device=device)
    finally:
        _wait(device)
    return decoded


def _wait(device: torch.device) -> None:
    """Wait for the current stream, and with it for nvJPEG's, which torchvision makes it wait for."""
    if device.type == "cuda":
        torch.cuda.current_stream().synchronize()


def _ignore_warnings() -> None:
    """torchvision announces TorchCodec, and torch that bytes must not be written to, which nobody does."""
    for category, message in ((DeprecationWarning, ".*TorchCodec"), (UserWarning, "The given buffer is not writable")):
        if not any(each[2] is category and getattr(each[1], "pattern", "") == message for each in warnings.filters):
            warnings.filterwarnings("ignore", category=category, message=message)


@lru_cache
def _tried(device: str) -> frozenset[tuple[int, ...]]:
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
    return frozenset(trusted)


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
