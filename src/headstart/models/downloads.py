"""Published Keras and TF Hub weights by name: downloaded once and kept in the cache folder.

Neither publisher states a checksum. The file's own checksum is recorded at first use and verified at each later use.
"""

from __future__ import annotations

import re
from pathlib import Path

from headstart import paths
from headstart.data.digests import file_digest
from headstart.data.download import download, fetch_model_from_kaggle
from headstart.errors import DownloadError, ModelError, WeightsNotFound
from headstart.events import Events
from headstart.files import write_text
from headstart.models.importers.keras import ARCHITECTURES

__all__ = ["KERAS_URL", "TFHUB_URL", "fetch_published", "is_hub_handle", "is_published_file", "local_path"]

KERAS_URL = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
"""The folder that ``keras.applications.MobileNetV2(weights="imagenet")`` downloads from."""

TFHUB_URL = "https://tfhub.dev/"
"""The address of TF Hub modules; it redirects to Kaggle, where they have moved."""

_TFHUB_HANDLE = re.compile(r"https?://tfhub\.dev/([\w.-]+(?:/[\w.-]+)+)")
_KAGGLE_HANDLE = re.compile(r"[\w.-]+/[\w.-]+/tensorFlow2/[\w.-]+(?:/\d+)?", re.IGNORECASE)
_BY_HAND = "by hand"  # recorded as the source of files that were not downloaded here


def is_hub_handle(name: str) -> bool:
    """Whether the name is a TF Hub handle, or a handle of a TensorFlow 2 model on Kaggle Models.

    >>> is_hub_handle("https://tfhub.dev/google/tf2-preview/mobilenet_v2/classification/2")
    True
    >>> is_hub_handle("google/mobilenet-v2/tensorFlow2/100-224-classification"), is_hub_handle("photos/red")
    (True, False)
    """
    return bool(_TFHUB_HANDLE.fullmatch(name) or _KAGGLE_HANDLE.fullmatch(name)) and not Path(name).exists()


def local_path(name: str) -> Path:
    """The path where the file of a Keras model or TF Hub handle is kept, and where it can be placed by hand."""
    return paths.weights() / _url_and_file(name)[1]


def is_published_file(name: str) -> bool:
    """Whether ``name`` loads the published file: False if a file was placed by hand, used before or not."""
    path = local_path(name)
    return not path.exists() or (_record_path(path).exists() and _read_record(path)[1] != _BY_HAND)


def fetch_published(name: str, *, events: Events | None = None) -> tuple[Path, str]:
    """Return the local file (for Kaggle, the folder) of a Keras model or hub handle, and the address it came from.

    :raises WeightsNotFound: not on this machine and cannot be downloaded; the message says where to place the file.
    :raises ModelError: the file has changed since its first use.
    """
    if _KAGGLE_HANDLE.fullmatch(name):
        try:
            return fetch_model_from_kaggle(name, events=events), f"kaggle {name}"
        except DownloadError as failure:
            raise WeightsNotFound(str(failure)) from failure
    url, file = _url_and_file(name)
    path = paths.weights() / file
    if not path.exists():
        try:
            download(url, path, events=events)
        except DownloadError as failure:
            option = "--weights FILE" if name in ARCHITECTURES else "--model FILE"
            raise WeightsNotFound(
                f"{name}: its weights are not on this machine and cannot be downloaded ({failure}). On a machine with "
                f"network access, download {url}; then save it as {path}, or pass {option}"
            ) from failure
        write_text(_record_path(path), f"{file_digest(path)}  {url}\n")
    return path, _verify(path, url)


def _url_and_file(name: str) -> tuple[str, str]:
    """The published address, and the local file name."""
    if name in ARCHITECTURES:
        alpha = float(name.partition("-")[2] or 1)
        file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_224.h5"
        return f"{KERAS_URL}{file}", file
    handle = _TFHUB_HANDLE.fullmatch(name)
    if handle is None:
        raise ValueError(f"{name} is neither one of {', '.join(ARCHITECTURES)} nor a TF Hub handle")
    return f"{TFHUB_URL}{handle[1]}?tf-hub-format=compressed", f"tfhub.dev_{handle[1].replace('/', '_')}.tar.gz"


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _read_record(path: Path) -> tuple[str, str]:
    """The recorded SHA-256 and source of a file."""
    digest, _, source = _record_path(path).read_text(encoding="utf-8").strip().partition("  ")
    return digest, source


def _verify(path: Path, url: str) -> str:
    """Compare the file with its recorded checksum, or record it at first use; return the file's source."""
    digest = file_digest(path)
    if not _record_path(path).exists():
        write_text(_record_path(path), f"{digest}  {_BY_HAND}\n")
        return str(path)
    recorded, source = _read_record(path)
    if recorded != digest:
        raise ModelError(
            f"{path}: its content has changed since its first use (SHA-256 {digest}, was {recorded}); delete "
            f"it and {_record_path(path).name} to download it again"
        )
    return str(path) if source == _BY_HAND else url
