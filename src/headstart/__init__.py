"""Transfer learning for image classification in which what is frozen is computed once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "FitSettings",
    "HeadstartError",
    "ImageClassifier",
    "InputSpec",
    "Manifest",
    "load",
    "read_images",
]

_HOME = {
    "Classifier": "headstart.classifier",
    "FitSettings": "headstart.settings",
    "HeadstartError": "headstart.errors",
    "ImageClassifier": "headstart.estimator",
    "InputSpec": "headstart.data.spec",
    "Manifest": "headstart.data.manifest",
    "load": "headstart.classifier",
    "read_images": "headstart.data.sources",
}

if TYPE_CHECKING:
    from headstart.classifier import Classifier, load
    from headstart.data.manifest import Manifest
    from headstart.data.sources import read_images
    from headstart.data.spec import InputSpec
    from headstart.errors import HeadstartError
    from headstart.estimator import ImageClassifier
    from headstart.settings import FitSettings


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: the command line must answer before torch is loaded (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
