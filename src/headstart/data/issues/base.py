"""What may be wrong with images and labels: what an issue is, and what a detector is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from headstart.data.gray_thumbnails import GrayThumbnails
from headstart.data.manifest import Manifest
from headstart.data.near_duplicates import NearDuplicates
from headstart.data.uri import printable

__all__ = ["DROP", "GROUP", "LOOK", "RELABEL", "CheckedImages", "Detector", "Issue", "OutOfFold", "ranked"]

DROP, RELABEL, GROUP, LOOK = "drop", "relabel", "group", "look"
"""What an issue suggests: to leave the image out, to give it another label, to keep it in one split with related
images, or to look at it."""


@dataclass(frozen=True)
class Issue:
    """Something that may be wrong with an image, or with the whole set."""

    kind: str  # as "near-duplicate"; docs/howto/check.md lists them
    uri: str | None  # None: the whole set
    score: float  # in [0, 1]: the larger, the surer; comparable within one kind alone
    evidence: str  # a sentence with the numbers that it rests on
    suggestion: str  # DROP, RELABEL, GROUP or LOOK
    label: str | None = None  # with RELABEL: the likelier label
    related: tuple[str, ...] = ()  # URIs of the images that it is about besides this one, the most telling first

    def __post_init__(self) -> None:
        """Make the evidence, which may name files, a text that every table and page can have."""
        object.__setattr__(self, "evidence", printable(self.evidence))


@dataclass(frozen=True)
class OutOfFold:
    """What a head says of labeled images that it was not fitted to, by cross-validation."""

    rows: NDArray[np.int64]  # (L,) positions among the usable images
    classes: tuple[str, ...]
    targets: NDArray[np.int64]  # (L,) positions of their labels in the classes
    probabilities: NDArray[np.float32]  # (L, C)


@dataclass(frozen=True)
class CheckedImages:
    """What detectors look at. Arrays have a row for each image that can be used, in the order of the manifest."""

    manifest: Manifest  # inspected; with the images that cannot be used, too
    statistics: dict[str, NDArray[np.float32]] | None = None  # of the pixels (data/pixel_statistics.py)
    formats: tuple[str | None, ...] | None = None  # Pillow's names of the files' formats, N; None: not computed
    vectors: NDArray[np.float32] | None = None  # last features of the network, (N, D); None: not computed
    out_of_fold: OutOfFold | None = None  # None: there are no labels, or too few
    near_duplicates: NearDuplicates | None = None  # None: not computed, or too few images
    thumbnails: GrayThumbnails | None = None  # of a sample of each class; None: not computed


Detector: TypeAlias = Callable[[CheckedImages], Iterable[Issue]]
"""Finds issues of one or a few kinds; finds none where what it needs was not computed."""


def ranked(issues: Sequence[Issue], kinds: Sequence[str]) -> list[Issue]:
    """Sort issues by kind, in the order of ``kinds``, and within a kind by falling score.

    >>> first, second = (Issue("tiny", f"/{name}.jpg", score, "", LOOK) for name, score in (("a", 0.5), ("b", 0.9)))
    >>> [issue.uri for issue in ranked([first, second], ["tiny"])]
    ['/b.jpg', '/a.jpg']
    """
    position = {kind: number for number, kind in enumerate(kinds)}
    return sorted(issues, key=lambda issue: (position.get(issue.kind, len(position)), -issue.score, issue.uri or ""))
