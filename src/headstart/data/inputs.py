"""What the Python interface takes as images, and how it becomes a manifest."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.manifest import Manifest
from headstart.data.pixels import apply_orientation, exif_orientation, to_rgb
from headstart.data.sources import image_uri
from headstart.data.sources.base import Content
from headstart.data.sources.in_memory import (
    bunch_images,
    files_of_dataset,
    is_torch_dataset,
    labels_of_dataset,
    pairs_of_dataset,
)
from headstart.errors import DataError, ImageProblem

if TYPE_CHECKING:
    import torch

__all__ = ["AnyImage", "Images", "image_content", "images_as_manifest"]

AnyImage: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | torch.Tensor"
"""A path, a URI, the bytes of a file, a PIL image, an array (H, W) or (H, W, C), or a tensor (C, H, W) or (H, W)."""

Images: TypeAlias = "AnyImage | Iterable[AnyImage] | Manifest"
"""An image, a batch of arrays (N, H, W) or (N, H, W, C) or tensors (N, C, H, W), several images, a manifest, a data
set of torch with pairs (image, class), or scikit-learn's ``Bunch`` of images."""

CHANNELS = (1, 3, 4)
_TAKEN = (
    "a path, a URI, bytes, a PIL image, an array (H, W) or (H, W, C), a torch tensor (C, H, W), a batch of arrays or "
    "tensors, a list of these, a data set of pairs (image, class), or a manifest"
)
_DOWNLOADS = re.compile(r"https?://", re.IGNORECASE)


def images_as_manifest(images: Images) -> Manifest:
    """Make a manifest of an image, a batch, several images, a data set, or a manifest, which is returned as it is.

    That of a data set of torch or scikit-learn has its labels.

    The channels of an array are its last axis, as in NumPy's world; those of a tensor are the axis before height and
    width, as in torchvision's, unless only the last axis can be the channels. A shape that could be read in two ways is
    refused.

    :raises TypeError: an image is something else.
    :raises DataError: the shape of an array or tensor fits no image and no batch, or more than one.

    >>> images_as_manifest(["/photos/a.jpg", np.zeros((8, 8, 3))]).uris
    ['/photos/a.jpg', 'array:0']
    >>> [len(images_as_manifest(np.zeros(shape))) for shape in ((8, 8), (8, 8, 3), (5, 8, 8), (5, 8, 8, 3))]
    [1, 1, 5, 5]
    """
    if isinstance(images, Manifest):
        return images
    if (read := _of_dataset(images)) is not None:
        return read
    uris: list[str] = []
    contents: list[Content] = []
    for image in _each(images):
        found = _uri_or_content(image)
        if isinstance(found, str):
            uris.append(found)
        else:
            uris.append(f"array:{len(contents)}")
            contents.append(found)
    return Manifest.from_rows(uris, arrays=contents)


def image_content(image: Any) -> Content:
    """Return the bytes or pixels of one image in memory.

    :raises TypeError: it is no image.
    """
    found = _uri_or_content(image)
    if isinstance(found, str):
        raise TypeError(_refusal(image))
    return found


def _of_dataset(images: Any) -> Manifest | None:
    """The manifest of a data set with its labels; None if it is something else.

    Of torchvision's ``ImageFolder``, the files are read, without its transforms.
    """
    if isinstance(images, Mapping):
        found = bunch_images(images)
        return None if found is None else Manifest.from_arrays(*found)
    if not is_torch_dataset(images):
        return None
    if (files := files_of_dataset(images)) is not None:
        return Manifest.from_rows([image_uri(Path(file)) for file in files], labels=labels_of_dataset(images))
    pairs = pairs_of_dataset(images)
    return Manifest.from_arrays([image_content(image) for image, _ in pairs], [label for _, label in pairs])


def _each(images: Any) -> Iterable[Any]:
    """The single images."""
    if isinstance(images, str | os.PathLike | bytes | bytearray | memoryview | Image.Image):
        return [images]
    if _is_tensor(images):
        return _split_array(_channels_last(images))
    if hasattr(images, "to_numpy"):  # a column of a table; iterating over the table itself would give its column names
        images = images.to_numpy()
    if isinstance(images, np.ndarray):
        return _split_array(images) if images.dtype.kind in "biuf" else _split_objects(images)
    is_file = hasattr(images, "read")  # iterating over it would give its lines
    if is_file or isinstance(images, Mapping | Set) or not isinstance(images, Iterable):
        raise TypeError(_refusal(images))
    return images


def _uri_or_content(image: Any) -> str | Content:
    """What stands in a manifest: the URI of a file, or the image itself."""
    if isinstance(image, str | os.PathLike):
        if isinstance(image, str) and _DOWNLOADS.match(image):
            raise DataError(f"{image}: headstart does not download images; pass the path of a file, or its bytes")
        return image_uri(image if isinstance(image, str) else Path(image))
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, Image.Image):
        return _pixels(image)
    if _is_tensor(image):
        found = _split_array(_channels_last(image))
        if len(found) != 1:
            raise DataError(f"a tensor in a list must be one image, got the shape {tuple(image.shape)}")
        return found[0]
    if isinstance(image, np.ndarray):
        return image  # an array that is no image becomes a problem of its own when it is decoded
    raise TypeError(_refusal(image))


def _split_array(array: NDArray[Any]) -> list[NDArray[Any]]:
    """The images of an array whose channels, if it has any, are last.

    :raises DataError: it is neither an image nor a batch, or could be either.
    """
    shape = array.shape
    if array.ndim == 2 or (array.ndim == 3 and shape[2] in CHANNELS):
        return [array]
    if array.ndim == 3 and shape[0] in CHANNELS[1:]:
        raise DataError(
            f"an array of the shape {shape} can be {shape[0]} gray images (N, H, W), or one image with its channels "
            "first: pass list(array) for the former, np.moveaxis(array, 0, -1) for the latter"
        )
    if array.ndim == 3 or (array.ndim == 4 and shape[3] in CHANNELS):
        return list(array)
    if shape == (0,):
        return []
    first = array.ndim == 4 and shape[1] in CHANNELS
    hint = "; its channels are not last: pass np.moveaxis(array, 1, -1)" if first else ""
    raise DataError(
        "an array must be an image, (H, W) or (H, W, C), or a batch, (N, H, W) or (N, H, W, C), with 1, 3 or 4 "
        f"channels, got the shape {shape}{hint}"
    )


def _split_objects(array: NDArray[Any]) -> list[Any]:
    """The elements of an array of paths or images; a column of a table, (N, 1), is taken as well."""
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1):
        raise DataError(f"an array of paths or images must have one axis, got the shape {array.shape}")
    found: list[Any] = array.ravel().tolist()
    return found


def _channels_last(tensor: torch.Tensor) -> NDArray[Any]:
    """A tensor as an array, with its channels last.

    :raises DataError: either axis could be the channels.
    """
    values = tensor.detach().cpu()
    # NumPy has no bfloat16.
    array: NDArray[Any] = (values.float() if values.is_floating_point() else values).numpy()
    if array.ndim not in (3, 4) or array.shape[-3] not in CHANNELS:
        return array
    if array.shape[-1] in CHANNELS:
        raise DataError(
            f"a tensor of the shape {array.shape} can have its channels first, as in torchvision, or last: pass "
            "tensor.movedim(-3, -1).numpy() for the former, tensor.numpy() for the latter"
        )
    return np.moveaxis(array, -3, -1)


def _pixels(image: Image.Image) -> NDArray[Any]:
    """The pixels of a PIL image, upright, as those of its file would be."""
    try:
        image.load()
        turn = 1 if image.format == "TIFF" else exif_orientation(image)  # Pillow applies that of a TIFF while it loads
        if not image.mode.startswith(("I", "F")):
            return np.array(apply_orientation(to_rgb(image), turn))
        values = np.array(apply_orientation(image, turn))
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageProblem(f"PIL image {getattr(image, 'filename', '')}".rstrip(), f"damaged: {error}") from error
    is_16_bit = values.dtype.kind in "iu" and values.min() >= 0 and values.max() < 1 << 16
    return values.astype(np.uint16) if is_16_bit else values


def _is_tensor(image: Any) -> bool:
    """Whether it is a tensor; where torch is not imported, there is none."""
    loaded = sys.modules.get("torch")
    return loaded is not None and isinstance(image, loaded.Tensor)


def _refusal(image: object) -> str:
    return f"images must be {_TAKEN}; got {type(image).__name__}"
