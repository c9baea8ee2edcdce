"""What may be wrong with images and labels, one file per detector.

A new one is a function and a line in this file, or outside of headstart a call of :func:`register_detector`.
"""

from __future__ import annotations

from headstart.data.issues import odd_images
from headstart.data.issues.base import CheckedImages, Detector, Issue, OutOfFold, ranked
from headstart.data.issues.borders import find_borders
from headstart.data.issues.class_names import find_class_names, find_few_images, find_imbalance
from headstart.data.issues.conflicting_labels import find_conflicting_labels
from headstart.data.issues.duplicates import find_duplicates
from headstart.data.issues.leaks import find_leaks
from headstart.data.issues.near_duplicates import find_conflicting_near_duplicates, find_near_duplicate_images
from headstart.data.issues.shortcuts import find_shortcuts
from headstart.data.issues.unreadable import find_unreadable
from headstart.data.issues.watermarks import find_watermarks
from headstart.data.issues.wrong_labels import find_wrong_labels

__all__ = ["DESCRIPTIONS", "CheckedImages", "Detector", "Issue", "OutOfFold", "find_issues", "register_detector"]

DESCRIPTIONS = {
    "drift": ("Drift", "The images differ from those that the classifier was evaluated on."),
    "foreign": ("Foreign images", "They look like none of the classes of the run; the most foreign stand first."),
    "conflicting-labels": (
        "Conflicting labels",
        "The same image, or a near-duplicate, has two labels: one of them is wrong.",
    ),
    "leak": (
        "Leaks between splits",
        "The same image, or a near-duplicate, is in another given split: figures are too good.",
    ),
    "unreadable": ("Unreadable", "Files that cannot be used as images; a fit sets them aside."),
    "wrong-label": (
        "Likely wrong labels",
        "A head that was fitted to the other images finds another class at least ten times as probable as the label.",
    ),
    "duplicate": ("Duplicates", "The same file or the same pixels under another name: nothing is lost without them."),
    "near-duplicate": (
        "Near-duplicates",
        "Copies that were resized, cropped, mirrored or saved again, or photographs of the same moment; a fit keeps "
        "them on one side of a random split.",
    ),
    "burst": ("Bursts", "Near-duplicates whose names differ little, as those of frames; a fit keeps them together."),
    "uniform": ("Of one color", "Images that show nothing: a lens cap, an empty page, a failed export."),
    "tiny": ("Tiny", "Images with far fewer pixels than the others, such as thumbnails."),
    "extreme-shape": ("Extreme shape", "Images that are far longer in one direction than the others."),
    "dark": ("Dark", "Nearly black images; the others of this set are not."),
    "bright": ("Bright", "Nearly white images; the others of this set are not."),
    "blurred": ("Blurred", "Images without edges at the size that a network sees."),
    "extension": ("Wrong extension", "Files whose content has another format than their name says."),
    "orientation": (
        "Turned by EXIF alone",
        "Images that are upright by a note in the file, which headstart heeds and other programs may not.",
    ),
    "frames": ("Several frames", "Animations, and files of several pages or slices, of which the first is the image."),
    "class-name": ("Similar class names", "Two names that may be one class."),
    "few-images": ("Few images", "Classes with one or two images."),
    "imbalance": ("Imbalance", "Some classes have far more images than others."),
    "border": ("Border of one class", "Most images of a class have a border that others do not have."),
    "watermark": (
        "Watermark of one class",
        "Most images of a class have the same edges at the same place, which others do not have.",
    ),
    "shortcut": (
        "Shortcuts",
        "Numbers beside the content from which the label can be told: a classifier may learn them instead.",
    ),
}
"""Title and meaning of each kind of issue, in the order in which they are told."""

_DETECTORS: list[Detector] = [
    find_conflicting_labels,
    find_conflicting_near_duplicates,
    find_leaks,
    find_unreadable,
    find_wrong_labels,
    find_duplicates,
    find_near_duplicate_images,
    odd_images.find_uniform,
    odd_images.find_tiny,
    odd_images.find_extreme_shapes,
    odd_images.find_dark,
    odd_images.find_bright,
    odd_images.find_blurred,
    odd_images.find_wrong_extensions,
    odd_images.find_turned,
    odd_images.find_frames,
    find_class_names,
    find_few_images,
    find_imbalance,
    find_borders,
    find_watermarks,
    find_shortcuts,
]


def register_detector(detector: Detector, kind: str, title: str, text: str) -> None:
    """Add a detector of a kind of its own, which is told after the others.

    A detector of a kind that is registered already is added to those that find issues of this kind.

    :param title: the heading on the page of a check, with ``text`` below it: what the kind means.
    """
    DESCRIPTIONS.setdefault(kind, (title, text))
    _DETECTORS.append(detector)


def find_issues(checked: CheckedImages) -> list[Issue]:
    """Run every detector; the issues of a kind stand together, the surest first."""
    return ranked([issue for detector in _DETECTORS for issue in detector(checked)], tuple(DESCRIPTIONS))
