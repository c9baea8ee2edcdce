"""Transfer learning for image classification in which what is frozen is computed once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "Evaluation",
    "Events",
    "FitSettings",
    "HeadstartError",
    "ImageClassifier",
    "InputSpec",
    "Manifest",
    "load",
    "read_images",
]

_MODULE_OF = {
    "Classifier": "headstart.artifacts.classifier",
    "Evaluation": "headstart.evaluate.schema",
    "Events": "headstart.events",
    "FitSettings": "headstart.config.settings",
    "HeadstartError": "headstart.errors",
    "ImageClassifier": "headstart.estimator",
    "InputSpec": "headstart.data.spec",
    "Manifest": "headstart.data.manifest",
    "load": "headstart.artifacts.classifier",
    "read_images": "headstart.data.sources.read",
}

if TYPE_CHECKING:
    from headstart.artifacts.classifier import Classifier, load
    from headstart.config import FitSettings
    from headstart.data.manifest import Manifest
    from headstart.data.sources.read import read_images
    from headstart.data.spec import InputSpec
    from headstart.errors import HeadstartError
    from headstart.estimator import ImageClassifier
    from headstart.evaluate.schema import Evaluation
    from headstart.events import Events


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): the command line must answer before torch is loaded."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
