"""Weights of Keras and TF Hub by name: fetched once from where they are published, and kept in the cache folder.

Neither publisher tells a checksum. That of the file is noted when it is first used, and compared at each later use.
"""

from __future__ import annotations

import re
from pathlib import Path

from headstart import places
from headstart.data.digests import file_digest
from headstart.data.download import download, fetch_model_from_kaggle
from headstart.errors import DownloadError, ModelError, WeightsNotFound
from headstart.files import write_text
from headstart.models.keras import ARCHITECTURES
from headstart.progress import Progress

__all__ = ["KERAS", "TFHUB", "as_published", "fetched", "is_handle", "kept_at"]

KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
"""Where ``keras.applications.MobileNetV2(weights="imagenet")`` fetches from."""

TFHUB = "https://tfhub.dev/"
"""Where modules of TF Hub are asked for; it answers from Kaggle, where they have moved."""

_HANDLE = re.compile(r"https?://tfhub\.dev/([\w.-]+(?:/[\w.-]+)+)")
_KAGGLE = re.compile(r"[\w.-]+/[\w.-]+/tensorFlow2/[\w.-]+(?:/\d+)?", re.IGNORECASE)
_BY_HAND = "by hand"


def is_handle(name: str) -> bool:
    """Whether the name is a handle of TF Hub, or one of Kaggle Models for TensorFlow 2.

    >>> is_handle("https://tfhub.dev/google/tf2-preview/mobilenet_v2/classification/2")
    True
    >>> is_handle("google/mobilenet-v2/tensorFlow2/100-224-classification"), is_handle("photos/red")
    (True, False)
    """
    return bool(_HANDLE.fullmatch(name) or _KAGGLE.fullmatch(name)) and not Path(name).exists()


def kept_at(name: str) -> Path:
    """Where the file of one of Keras's networks, or of a handle of TF Hub, is kept or may be put."""
    return places.weights() / _address(name)[1]


def as_published(name: str) -> bool:
    """Whether what the name loads is what was published: False for a file that somebody put there, used or not."""
    path = kept_at(name)
    return not path.exists() or (_note(path).exists() and _noted(path)[1] != _BY_HAND)


def fetched(name: str, *, progress: Progress | None = None) -> tuple[Path, str]:
    """The file (or Kaggle's folder) of one of Keras's networks or of a handle, and the address that it is from.

    :raises WeightsNotFound: it is not on this machine and cannot be fetched; the text says which file to put where.
    :raises ModelError: it is not what it was when it was first used.
    """
    if _KAGGLE.fullmatch(name):
        try:
            return fetch_model_from_kaggle(name, progress=progress), f"kaggle {name}"
        except DownloadError as failure:
            raise WeightsNotFound(str(failure)) from failure
    address, file = _address(name)
    path = places.weights() / file
    if not path.exists():
        try:
            download(address, path, progress=progress)
        except DownloadError as failure:
            given = "--weights FILE" if name in ARCHITECTURES else "--model FILE"
            raise WeightsNotFound(
                f"{name}: its weights are not on this machine, and could not be fetched ({failure}). On a machine with "
                f"a network, download {address}; then put it at {path}, or give its place: {given}"
            ) from failure
        write_text(_note(path), f"{file_digest(path)}  {address}\n")
    return path, _checked(path, address)


def _address(name: str) -> tuple[str, str]:
    """Where it is published, and what its file is called here."""
    if name in ARCHITECTURES:
        alpha = float(name.partition("-")[2] or 1)
        file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224.h5"
        return f"{KERAS}{file}", file
    handle = _HANDLE.fullmatch(name)
    if handle is None:
        raise ValueError(f"{name} is neither one of {', '.join(ARCHITECTURES)} nor a handle of TF Hub")
    return f"{TFHUB}{handle[1]}?tf-hub-format=compressed", f"tfhub.dev_{handle[1].replace('/', '_')}.tar.gz"


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _noted(path: Path) -> tuple[str, str]:
    digest, _, origin = _note(path).read_text(encoding="utf-8").strip().partition("  ")
    return digest, origin


def _checked(path: Path, address: str) -> str:
    """Compare with what was noted, or note it; returns where the file is from."""
    digest = file_digest(path)
    if not _note(path).exists():
        write_text(_note(path), f"{digest}  {_BY_HAND}\n")
        return str(path)
    noted, origin = _noted(path)
    if noted != digest:
        raise ModelError(
            f"{path}: its content is not what it was when it was first used (SHA-256 {digest}, then {noted}); delete "
            f"it and {_note(path).name} to have it fetched again"
        )
    return str(path) if origin == _BY_HAND else address
