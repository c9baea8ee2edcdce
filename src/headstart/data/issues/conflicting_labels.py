"""The same image under two labels."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.data.duplicates import find_contradictions
from headstart.data.issues.base import LOOK, CheckedImages, Issue

__all__ = ["find_conflicting_labels"]


def find_conflicting_labels(checked: CheckedImages) -> Iterator[Issue]:
    """The images whose content also has another label: one of the two is wrong, and no one can tell which."""
    manifest = checked.manifest
    for row, reason in find_contradictions(manifest):
        yield Issue("conflicting-labels", manifest.uris[row], 1.0, reason, LOOK)
