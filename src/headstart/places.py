"""Where things are kept on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["features", "inspections", "prepared", "root", "weights"]


def root(store: str | None = None) -> Path:
    """The store's folder: what was asked for, else ``HEADSTART_CACHE``, else the platform's cache folder."""
    chosen = store or os.environ.get("HEADSTART_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("headstart")


def weights() -> Path:
    """Files of weights, ``<model>.safetensors``, that a person puts there by hand."""
    return root() / "weights"


def features(store: str | None = None) -> Path:
    """The feature store."""
    return root(store) / "features"


def inspections(store: str | None = None) -> Path:
    """What is known of files that were inspected before."""
    return root(store) / "inspections.parquet"


def prepared(store: str | None = None) -> Path:
    """Networks that were converted for the engine."""
    return root(store) / "prepared"
