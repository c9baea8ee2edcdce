"""Where files are kept on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from headstart.errors import SettingsError

__all__ = [
    "checkpoints",
    "features",
    "gray_thumbnails",
    "imported",
    "inspections",
    "pixel_statistics",
    "prepared",
    "remote",
    "root",
    "runs",
    "weights",
]


def root(cache_dir: str | None = None) -> Path:
    """The cache folder: ``cache_dir``, else ``HEADSTART_CACHE``, else the cache folder of the platform.

    For a user without a home folder, as containers may have, the last is a folder for temporary files.

    :raises SettingsError: it is an address, ``~`` means nothing, or another user has made that folder.
    """
    if chosen := cache_dir or os.environ.get("HEADSTART_CACHE"):
        if "://" in chosen:
            raise SettingsError(
                f"cache folder {chosen}: must be a folder of this machine or of a shared file system, since its files "
                "are locked and replaced; images can be read from such an address, and the workers of a cluster need "
                "the cache folder under the same path"
            )
        try:
            return Path(chosen).expanduser()
        except RuntimeError:
            raise SettingsError(f"cache folder {chosen}: the user has no home folder; give the whole path") from None
    try:
        folder = user_cache_path("headstart")
    except RuntimeError:  # of new versions of platformdirs; others return a path that begins with ~
        return _without_home()
    return folder if folder.is_absolute() else _without_home()


def _without_home() -> Path:
    user = os.getuid()
    folder = Path(tempfile.gettempdir(), f"headstart-{user}")
    if os.path.lexists(folder) and folder.lstat().st_uid != user:
        raise SettingsError(
            f"the user has no home folder, and {folder} is of another user: name a cache folder with --cache-dir or "
            "HEADSTART_CACHE"
        )
    return folder


def weights() -> Path:
    """The folder of weights that users provide, ``<model>.safetensors``."""
    return root() / "weights"


def features(cache_dir: str | None = None) -> Path:
    """The folder of the feature store."""
    return root(cache_dir) / "features"


def remote(cache_dir: str | None = None) -> Path:
    """The folder of copies of files of other machines."""
    return root(cache_dir) / "remote"


def runs(cache_dir: str | None = None) -> Path:
    """The folder of copies of classifiers at addresses."""
    return root(cache_dir) / "runs"


def checkpoints(cache_dir: str | None = None) -> Path:
    """The folder of checkpoints of unfinished trainings."""
    return root(cache_dir) / "checkpoints"


def inspections(cache_dir: str | None = None) -> Path:
    """The file with the results of earlier inspections of images."""
    return root(cache_dir) / "inspections.parquet"


def pixel_statistics(cache_dir: str | None = None) -> Path:
    """The file with the numbers of the pixels of images."""
    return root(cache_dir) / "pixel_statistics.parquet"


def gray_thumbnails(cache_dir: str | None = None) -> Path:
    """The file with small gray copies of images."""
    return root(cache_dir) / "gray_thumbnails.parquet"


def imported(cache_dir: str | None = None) -> Path:
    """The folder of networks that were read from files of other frameworks."""
    return root(cache_dir) / "imported"


def prepared(cache_dir: str | None = None) -> Path:
    """The folder of networks that were converted for the inference engine."""
    return root(cache_dir) / "prepared"
