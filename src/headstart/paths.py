"""Where files are kept on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["features", "inspections", "prepared", "root", "weights"]


def root(cache_dir: str | None = None) -> Path:
    """The cache folder: ``cache_dir``, else ``HEADSTART_CACHE``, else the cache folder of the platform."""
    chosen = cache_dir or os.environ.get("HEADSTART_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("headstart")


def weights() -> Path:
    """The folder of weights that users provide, ``<model>.safetensors``."""
    return root() / "weights"


def features(cache_dir: str | None = None) -> Path:
    """The folder of the feature store."""
    return root(cache_dir) / "features"


def inspections(cache_dir: str | None = None) -> Path:
    """The file with the results of earlier inspections of images."""
    return root(cache_dir) / "inspections.parquet"


def prepared(cache_dir: str | None = None) -> Path:
    """The folder of networks that were converted for the inference engine."""
    return root(cache_dir) / "prepared"
