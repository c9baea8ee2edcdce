"""Every error that headstart raises on purpose.

HeadstartError
├── SettingsError          a setting is unknown or has an invalid value
├── DataError              the images or their labels cannot be used as they are
│   ├── AmbiguousFolders   the names of folders can be read in two ways
│   ├── DownloadError      a published file cannot be fetched, or differs from what was published
│   ├── ImageProblem       one image cannot be read; a run skips it and continues
│   └── TooManyProblems    more images are unreadable than the settings allow
├── ModelError             a network cannot be built or used as requested
│   ├── WeightsNotFound    its weights are not available; the message names the file to provide
│   └── CutError           it cannot be cut where the requested training starts
├── OutputError            a result cannot be written to its place; the message says where it is instead
├── StoreError             the feature store is damaged or cannot be used
├── ClusterError           a cluster cannot be reached, or failed; the message says what is kept
├── ProjectError           a labelling project is missing, damaged or in use, or a change to it is not possible
└── RunError               a run folder or a saved classifier is missing or damaged
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "AmbiguousFolders",
    "ClusterError",
    "CutError",
    "DataError",
    "DownloadError",
    "HeadstartError",
    "ImageProblem",
    "ModelError",
    "OutputError",
    "ProjectError",
    "RunError",
    "SettingsError",
    "StoreError",
    "TooManyProblems",
    "WeightsNotFound",
    "did_you_mean",
]


class HeadstartError(Exception):
    """Base class: ``except HeadstartError`` catches everything that headstart raises on purpose."""


class SettingsError(HeadstartError, ValueError):
    """One or more settings are invalid; the message lists all of them, one per line."""

    def __init__(self, mistakes: str | Sequence[str]) -> None:
        self.mistakes = (mistakes,) if isinstance(mistakes, str) else tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


class DataError(HeadstartError, ValueError):
    """The images or their labels cannot be used as they are."""


class AmbiguousFolders(DataError):  # noqa: N818
    """The names of folders can be read in two ways; the message states both, with the options that choose."""


class DownloadError(DataError):
    """A published file cannot be fetched, or differs from what was published."""


class ImageProblem(DataError):  # noqa: N818 - named as the column of the manifest
    """One image cannot be read: ``uri`` is the image, ``reason`` is why."""

    def __init__(self, uri: str, reason: str) -> None:
        self.uri = uri
        self.reason = reason
        super().__init__(f"{uri}: {reason}")

    def __reduce__(self) -> tuple[type[ImageProblem], tuple[str, str]]:
        return ImageProblem, (self.uri, self.reason)  # pickle would call it with the message alone


class TooManyProblems(DataError):  # noqa: N818
    """More images are unreadable than the settings allow."""


class ModelError(HeadstartError):
    """A network cannot be built or used as requested."""


class WeightsNotFound(ModelError):  # noqa: N818
    """The weights are not available and cannot be fetched."""


class CutError(ModelError):
    """The network cannot be cut where the requested training starts."""


class OutputError(HeadstartError):
    """A result cannot be written to its place, for example because the disk is full."""


class StoreError(HeadstartError):
    """The feature store is damaged or cannot be used."""


class ClusterError(HeadstartError, RuntimeError):
    """A cluster cannot be reached, or failed; the message says what is kept, and how to go on."""


class ProjectError(HeadstartError):
    """A labelling project is missing, damaged or in use, or a change to it is not possible."""


class RunError(HeadstartError):
    """A run folder or a saved classifier is missing or damaged."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the closest one that is, or nothing.

    >>> did_you_mean("lbfsg", ["lbfgs"]), did_you_mean("adam", ["lbfgs"])
    ('; did you mean lbfgs?', '')
    """
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
