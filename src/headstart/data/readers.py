"""The ways to read views, by the decoder of their evaluation views."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Protocol

from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.views import Views, read_views

__all__ = ["ViewReader", "choose_decoder", "view_reader"]


class ViewReader(Protocol):
    """A function that reads views in batches; see :func:`headstart.data.views.read_views`."""

    def __call__(
        self,
        manifest: Manifest,
        rows: Sequence[int],
        spec: InputSpec,
        *,
        batch_size: int,
        max_pixels: int,
        workers: int | None = None,
        views: Sequence[int] | Mapping[int, Sequence[int]] = (0,),
    ) -> Generator[Views, None, None]:
        """Decode the images in these rows, and yield their views in order, in batches."""


def choose_decoder(device: str) -> str:
    """Return the decoder of the views whose features are computed by torch on this device: "nvjpeg" or "pillow".

    >>> choose_decoder("cpu")
    'pillow'
    """
    if device != "cuda":
        return "pillow"
    import torchvision

    built_for_cuda = getattr(torchvision.version, "cuda", None) is not None
    return "nvjpeg" if built_for_cuda and hasattr(torchvision.io, "decode_jpeg") else "pillow"


def view_reader(decoder: str) -> ViewReader:
    """Return the function that reads with a decoder.

    :param decoder: "pillow", or a decoder of :data:`headstart.data.device_decoder.DECODERS`.
    """
    if decoder == "pillow":
        return read_views
    from functools import partial

    from headstart.data.device_views import read_device_views  # which imports torch

    return partial(read_device_views, decoder=decoder)
