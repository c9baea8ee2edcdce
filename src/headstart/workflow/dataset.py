"""From images to a data set to learn from: inspected, split, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headstart.config import FitSettings
from headstart.data.duplicates import find_contradictions, find_shared
from headstart.data.groups import divided_groups, group_numbers, grouped
from headstart.data.inspection import check_problem_share
from headstart.data.manifest import Manifest
from headstart.data.splitting import DEFAULT_VALIDATION_SHARE, assign_split, split_by_order
from headstart.data.uri import display_name
from headstart.data.value_range import ValueRange
from headstart.errors import DataError
from headstart.events import Events
from headstart.workflow.reading import inspect_images, require_labels
from headstart.workflow.value_ranges import tell

__all__ = ["MIN_IMAGES_PER_CLASS", "SPLITS", "Dataset", "keep_together", "prepare_dataset"]

SPLITS = ("train", "validation", "test")

MIN_IMAGES_PER_CLASS = 30  # with fewer, a validation split would waste them: the head is cross-validated
DEFAULT_TEST_SHARE = 0.1
MIN_TEST_IMAGES = 1000  # with fewer, a test split tells little, and training misses its images more


@dataclass(frozen=True)
class Dataset:
    """Inspected images with their splits, and the classes to learn."""

    manifest: Manifest
    classes: tuple[str, ...]
    cross_validated: bool  # too few images for a validation split
    value_ranges: tuple[ValueRange, ...] = ()  # black and white of pixels that are not 8-bit
    leaked: Manifest | None = None  # images of the test split that are also trained on; they are in no split now
    undivided: Manifest | None = None  # before splits were assigned: with those that were given, if any
    alike: NDArray[np.int64] | None = None  # numbers of sets of near-duplicates, for each row; None: not known
    near_leaks: frozenset[int] = frozenset()  # evaluated rows with a near-duplicate in a split that is trained on

    @property
    def selection_split(self) -> str:
        """The split on which trials are compared; with cross-validation, "train" by out-of-fold predictions."""
        return "train" if self.cross_validated else "validation"

    def split(self, name: str) -> Manifest:
        """The usable images of a split."""
        return self.manifest.select(self.rows([name]))

    def targets(self, name: str) -> NDArray[np.int64]:
        """The class indices of the usable images of a split, (N,)."""
        return self.split(name).targets(self.classes)

    def groups(self, name: str) -> NDArray[np.int64] | None:
        """Numbers of the groups of the usable images of a split, (N,); None if none of them belongs to a group."""
        return grouped(self.split(name))

    def fold_groups(self, name: str) -> NDArray[np.int64] | None:
        """What folds of a split must not divide, (N,): groups, and images of the same content or nearly so.

        None if no image belongs to another one.
        """
        numbers = group_numbers(self.split(name), None if self.alike is None else self.alike[self.rows([name])])
        return numbers if len(np.unique(numbers)) < len(numbers) else None

    def counts(self) -> dict[str, int]:
        """The number of usable images per split."""
        return {name: len(self.rows([name])) for name in SPLITS}

    def rows(self, splits: Iterable[str]) -> NDArray[np.int64]:
        """Rows of the manifest with the usable images of these splits, ascending."""
        table = self.manifest.table
        wanted = pc.is_in(table["split"], value_set=pa.array([*splits], pa.string()))
        return np.flatnonzero(pc.and_(wanted, table["problem"].is_null()).to_numpy())

    def without(self, problems: Iterable[tuple[int, str]], *, max_problems: float) -> Dataset:
        """The data set after more images have become unusable.

        :param problems: (row of the manifest, reason) of each.
        :raises DataError: too many images are unusable now, or no image of a class or of the selection split is left.
        """
        reasons = self.manifest.problems
        for row, reason in problems:
            reasons[row] = reason
        left = replace(self, manifest=self.manifest.with_column("problem", reasons))
        check_problem_share(left.manifest, max_share=max_problems)
        remaining = set(left.split("train").classes)
        lost = [name for name in self.classes if name not in remaining]
        if lost:
            raise DataError(
                f"all training images of class {lost[0]} vanished or changed during extraction; start again"
            )
        if not len(left.split(self.selection_split)):
            raise DataError("all validation images vanished or changed during extraction; start again")
        return left


def prepare_dataset(
    manifest: Manifest,
    settings: FitSettings,
    *,
    solvable: bool,
    events: Events,
    class_order: Sequence[str] | None = None,
) -> Dataset:
    """Inspect the images, assign them to splits, and check that a classifier can be learned from them.

    :param class_order: all labels, in the order that the classes shall have; by default that of the settings.
    :param solvable: whether the head is one linear layer; any other head is trained, and needs a validation split to
        choose the epoch.
    :raises DataError: the images or labels cannot be used as they are.
    """
    labeled = require_labels(manifest)
    if unlabeled := len(manifest) - len(labeled):
        events.warn(f"{unlabeled:,} images have no label and are left out")
    inspected_images = _without_contradictions(inspect_images(labeled, settings, events=events), settings, events)
    assigned, cross_validated = _assign_splits(inspected_images, settings, solvable=solvable)
    assigned, leaked = _without_leaks(assigned, events)
    _tell_divided_groups(assigned, settings, events)
    classes = assigned.usable.in_split("train").classes
    if class_order is None and settings.class_order == "appearance":
        class_order = [label for label in dict.fromkeys(assigned.labels) if label is not None]
    if class_order is not None:
        known = set(classes)
        classes = tuple(name for name in class_order if name in known)
    ranges = tell(inspected_images, settings, events=events)
    dataset = Dataset(assigned, classes, cross_validated, ranges, leaked, inspected_images)
    check_splits(dataset)
    return dataset


def keep_together(dataset: Dataset, alike: NDArray[np.int64], settings: FitSettings) -> Dataset:
    """The data set with splits drawn anew, so that none of them divides near-duplicates; given splits stay.

    :param alike: the number of the set of near-duplicates that each image belongs to, (N,) of the manifest's rows.
    :raises DataError: such a split cannot be learned from, for example since all images of the set are alike.
    """
    assert dataset.undivided is not None
    manifest = dataset.undivided.with_column("problem", dataset.manifest.problems)
    # What is decided by the number of images stays as it was decided, and what there is to tell has been told.
    assigned, _ = _assign_splits(manifest, settings, solvable=dataset.cross_validated, alike=alike)
    assigned, leaked = _without_leaks(assigned, Events())
    divided = replace(dataset, manifest=assigned, leaked=leaked, alike=alike)
    check_splits(divided)
    return divided


def check_splits(dataset: Dataset) -> None:
    """Check that there are two classes to learn, images to select by, and no class without training images.

    :raises DataError: there are not.
    """
    classes = dataset.classes
    if "" in classes:
        raise DataError("a label is an empty text: name the class, or give these images no label")
    if len(classes) < 2:
        found = f"1 class, {classes[0]!r}" if classes else "none"
        raise DataError(f"a classifier needs training images of at least 2 classes, got {found}")
    if not len(dataset.split(dataset.selection_split)):
        raise DataError(
            "no image is left for validation: give at least two images per class, or a larger --validation-share"
        )
    for name in ("validation", "test"):
        unknown = sorted(set(dataset.split(name).classes) - set(classes))
        if unknown:
            raise DataError(
                f"the {name} split has classes without training images: {', '.join(unknown[:3])}; "
                "add training images of each"
            )


def _without_contradictions(manifest: Manifest, settings: FitSettings, events: Events) -> Manifest:
    """Set aside the images whose content has two labels in the splits that are learned from; no one can tell which is
    right.

    :raises TooManyProblems: there are too many.
    """
    learned = np.flatnonzero(pc.not_equal(manifest.table["split"], "test").fill_null(True).to_numpy())
    found = find_contradictions(manifest.select(learned))
    if not found:
        return manifest
    reasons = list(manifest.problems)
    for row, reason in found:
        reasons[learned[row]] = reason
    events.warn(f"{len(found):,} images are set aside because the same image has another label: {found[0][1]}")
    left = manifest.with_column("problem", reasons)
    check_problem_share(left, max_share=settings.max_problems)
    return left


def _without_leaks(manifest: Manifest, events: Events) -> tuple[Manifest, Manifest | None]:
    """Take images out of validation and test that are also in a split they must be independent of.

    :returns: the manifest, in which they are in no split, and those of the test split.
    :raises DataError: no image of a split is left.
    """
    leaked: Manifest | None = None
    for split, others in (("validation", ("train",)), ("test", ("train", "validation"))):
        rows = find_shared(manifest, split, others)
        if not len(rows):
            continue
        count = len(manifest.usable.in_split(split))
        if len(rows) == count:
            raise DataError(f"every {split} image is also in the {' or '.join(others)} split: give other images")
        events.warn(
            f"{len(rows):,} of the {count:,} {split} images are also in the {' or '.join(others)} split and are left "
            f"out of the evaluation, for example {display_name(str(manifest.table['uri'][int(rows[0])]))}"
        )
        leaked = manifest.select(rows) if split == "test" else leaked
        taken = np.zeros(len(manifest), bool)
        taken[rows] = True
        nowhere = pa.scalar(None, pa.string())
        manifest = manifest.with_column("split", pc.if_else(pa.array(taken), nowhere, manifest.table["split"]))
    return manifest, leaked


def _tell_divided_groups(manifest: Manifest, settings: FitSettings, events: Events) -> None:
    """Warn where a given split, or one by order, divides groups."""
    found = divided_groups(manifest)
    if not found:
        return
    group, splits = found[0]
    way = "--split random" if settings.split == "last" else "--split-column none or --folder-levels any/class"
    events.warn(
        f"{len(found):,} groups are divided between splits, for example {group!r} between {' and '.join(splits)}: the "
        f"figures are too good for images of other groups ({way} draws a split that divides none)"
    )


def _assign_splits(
    manifest: Manifest, settings: FitSettings, *, solvable: bool, alike: NDArray[np.int64] | None = None
) -> tuple[Manifest, bool]:
    """The manifest with its splits, by the given shares or those that suit its size; whether to cross-validate."""
    usable = manifest.usable
    test = settings.test_share
    if test is None:
        test = DEFAULT_TEST_SHARE if DEFAULT_TEST_SHARE * len(usable) >= MIN_TEST_IMAGES else 0.0
    head_first = settings.train in ("auto", "head") and settings.split == "random" and solvable
    splits = usable.table["split"]
    learnable = len(usable) - (pc.sum(pc.equal(splits, "test")).as_py() or 0)
    few = learnable < MIN_IMAGES_PER_CLASS * max(len(usable.classes), 1) and head_first
    if settings.validation_share is None and few and "validation" not in splits.unique().to_pylist():
        test = settings.test_share or 0.0
        if test:
            manifest = assign_split(manifest, validation_share=0.0, test_share=test, seed=settings.seed, alike=alike)
        left = pc.and_(manifest.table["split"].is_null(), manifest.table["problem"].is_null())
        return manifest.with_column("split", pc.if_else(left, "train", manifest.table["split"])), True
    validation = DEFAULT_VALIDATION_SHARE if settings.validation_share is None else settings.validation_share
    if settings.split == "random":
        shares = {"validation_share": validation, "test_share": test}
        return assign_split(manifest, **shares, seed=settings.seed, alike=alike), False
    return split_by_order(manifest, validation_share=validation, test_share=test), False
