"""Decoding in two lanes: large images wait for each other, and the others do not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import numpy as np
from numpy.typing import NDArray

from headstart.data.decode import decoded, header_size
from headstart.data.spec import InputSpec
from headstart.data.transforms import make_view, min_source_side
from headstart.errors import ImageProblem
from headstart.execution import available_cores
from headstart.serve.problems import Refusal

__all__ = ["DecodedView", "Decoder", "LargeImage", "Share", "decoding_work"]

_LARGE = 4_000_000
"""The work from which an image is large: a PNG of 4 megapixels or a JPEG of 14, which take a sixth of a second."""

_CORES_PER_LARGE = 4  # one thread for large images on so many cores
_WAITING = 2  # as much work as so many images of the largest size may wait per thread for large images

_JPEG, _START_OF_SCAN = b"\xff\xd8", b"\xff\xda"
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")


@dataclass(frozen=True)
class DecodedView:
    """A decoded image, or the reason why there is none."""

    view: NDArray[np.uint8] | None  # (H, W, 3)
    problem: str | None = None
    too_large: bool = False


@dataclass(frozen=True)
class LargeImage:
    """An image that was looked at, but not decoded yet."""

    content: bytes
    work: int


@dataclass
class Share:
    """What one request has in the lane of large images."""

    work: int = 0


class Decoder:
    """Decodes images and makes their views in threads. All methods but those of the threads are for one event loop."""

    def __init__(self, spec: InputSpec, *, max_pixels: int) -> None:
        cores = available_cores()
        threads = max(1, cores // _CORES_PER_LARGE)
        self._spec, self._max_pixels = spec, max_pixels
        self._ordinary = ThreadPoolExecutor(max(2, cores), thread_name_prefix="headstart-decode")
        self._large = ThreadPoolExecutor(threads, thread_name_prefix="headstart-decode-large")
        self._limit = _WAITING * threads * max_pixels
        self._waiting = 0  # work in the lane of large images

    def close(self) -> None:
        """Finish what is being decoded, and end the threads."""
        for pool in (self._ordinary, self._large):
            pool.shutdown(wait=True, cancel_futures=True)

    async def decode(self, content: bytes) -> DecodedView | LargeImage:
        """Look at an image, and decode it unless it is large."""
        return await asyncio.wrap_future(self._ordinary.submit(self._begin, content))

    async def decode_large(self, image: LargeImage, share: Share) -> DecodedView:
        """Decode a large image once its turn has come.

        :param share: that of its request.
        :raises Refusal: too much work of other requests waits already.
        """
        with self._admitted(image.work, share):
            return await asyncio.wrap_future(self._large.submit(self._decode, image.content))

    @contextmanager
    def _admitted(self, work: int, share: Share) -> Iterator[None]:
        # As with the other limits, what one request asks for is done if no other waits: it would never be otherwise.
        if self._waiting > share.work and self._waiting + work > self._limit:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many large images are waiting: try again later")
        self._waiting += work
        share.work += work
        try:
            yield
        finally:
            self._waiting -= work
            share.work -= work

    def _begin(self, content: bytes) -> DecodedView | LargeImage:
        try:
            width, height = header_size(content)
        except ImageProblem as problem:
            return DecodedView(None, problem.reason)
        if width * height > self._max_pixels:
            reason = f"{width} × {height} pixels are more than the {self._max_pixels:,} that this server accepts"
            return DecodedView(None, reason, too_large=True)
        work = decoding_work(content, width * height)
        if content.startswith(_JPEG) and work > self._max_pixels:
            scans = content.count(_START_OF_SCAN)
            reason = f"{width} × {height} pixels in {scans:,} scans take longer to decode than this server allows"
            return DecodedView(None, reason, too_large=True)
        return self._decode(content) if work < _LARGE else LargeImage(content, work)

    def _decode(self, content: bytes) -> DecodedView:
        spec = self._spec
        try:
            with decoded(
                content,
                max_pixels=self._max_pixels,
                min_side=min_source_side(spec),
                value_ranges=spec.value_ranges,
            ) as image:
                return DecodedView(make_view(image, spec, 0, ""))
        except ImageProblem as problem:
            return DecodedView(None, problem.reason)


def decoding_work(content: bytes, pixels: int) -> int:
    """How long an image takes to decode, in pixels of a PNG file, each of which takes some 40 nanoseconds.

    A JPEG is decoded at a part of its size, but each of its scans passes over all of the image, and there may be
    thousands of them in a few kilobytes. JPEG 2000 takes several times as long as the others.

    >>> decoding_work(b"\\x89PNG", 1000), decoding_work(b"\\xff\\xd8 \\xff\\xda", 32_000)
    (1000, 9000)
    """
    if content.startswith(_JPEG):
        return pixels * (8 + content.count(_START_OF_SCAN)) // 32
    return 8 * pixels if content.startswith(_JPEG_2000) else pixels
