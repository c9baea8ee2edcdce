"""What may be wrong with images and labels, one file per detector. A new one is a function and a line in this file."""

from __future__ import annotations

from headstart.data.issues.base import CheckedImages, Detector, Issue, OutOfFold, ranked
from headstart.data.issues.conflicting_labels import find_conflicting_labels
from headstart.data.issues.unreadable import find_unreadable
from headstart.data.issues.wrong_labels import find_wrong_labels

__all__ = ["DESCRIPTIONS", "DETECTORS", "KINDS", "CheckedImages", "Detector", "Issue", "OutOfFold", "find_issues"]

DESCRIPTIONS = {
    "drift": ("Drift", "The images differ from those that the classifier was evaluated on."),
    "foreign": ("Foreign images", "They look like none of the classes of the run; the most foreign stand first."),
    "conflicting-labels": ("Conflicting labels", "The same image has two labels: one of them is wrong."),
    "unreadable": ("Unreadable", "Files that cannot be used as images; a fit sets them aside."),
    "wrong-label": (
        "Likely wrong labels",
        "A head that was fitted to the other images finds another class at least ten times as probable as the label.",
    ),
}
"""Title and meaning of each kind of issue, in the order in which they are told."""

KINDS = tuple(DESCRIPTIONS)

DETECTORS: tuple[Detector, ...] = (
    find_conflicting_labels,
    find_unreadable,
    find_wrong_labels,
)


def find_issues(checked: CheckedImages) -> list[Issue]:
    """Run every detector; the issues of a kind stand together, the surest first."""
    return ranked([issue for detector in DETECTORS for issue in detector(checked)], KINDS)
