"""Every error that headstart raises.

HeadstartError
├── SettingsError          a setting is unknown or has a value that it cannot have
├── DataError              the images or their labels cannot be used as they are
│   ├── DownloadError      a published file cannot be had, or is not what was published
│   ├── ImageProblem       one image cannot be read; the run sets it aside and goes on
│   └── TooManyProblems    so many images cannot be read that going on would mislead
├── ModelError             a network cannot be built or used as asked
│   ├── WeightsNotFound    its weights are not at hand; the text says which file to put where
│   └── CutError           it cannot be cut where the chosen training starts
├── StoreError             the feature store cannot be used as it is
└── RunError               a run folder or a saved classifier is missing or damaged
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CutError",
    "DataError",
    "DownloadError",
    "HeadstartError",
    "ImageProblem",
    "ModelError",
    "RunError",
    "SettingsError",
    "StoreError",
    "TooManyProblems",
    "WeightsNotFound",
]


class HeadstartError(Exception):
    """The root: ``except HeadstartError`` catches whatever headstart raises on purpose."""


class SettingsError(HeadstartError, ValueError):
    """One or more settings are wrong; the text names all of them at once, a line each."""

    def __init__(self, mistakes: str | Sequence[str]) -> None:
        self.mistakes = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class DataError(HeadstartError, ValueError):
    """The images or their labels cannot be used as they are."""


class DownloadError(DataError):
    """A published file cannot be had, or is not what was published."""


class ImageProblem(DataError):  # noqa: N818 - the manifest's column has this name
    """One image cannot be read."""

    def __init__(self, uri: str, reason: str) -> None:
        self.uri = uri
        self.reason = reason
        super().__init__(f"{uri}: {reason}")


class TooManyProblems(DataError):  # noqa: N818
    """More images cannot be read than the settings allow."""


class ModelError(HeadstartError):
    """A network cannot be built or used as asked."""


class WeightsNotFound(ModelError):  # noqa: N818
    """The weights are not at hand, and cannot be fetched."""


class CutError(ModelError):
    """The network cannot be cut where the chosen training starts."""


class StoreError(HeadstartError):
    """The feature store cannot be used as it is."""


class RunError(HeadstartError):
    """A run folder or a saved classifier is missing or damaged."""
