"""Look at images and labels before training: what may be wrong with them, as tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart import paths
from headstart.config import FitSettings
from headstart.data.gray_thumbnails import compute_thumbnails, sample_of_classes
from headstart.data.issues import CheckedImages, Issue, find_issues
from headstart.data.issues.tables import write_issues
from headstart.data.manifest import Manifest
from headstart.data.pixel_statistics import compute_statistics
from headstart.data.value_range import ValueRange
from headstart.events import Events
from headstart.report.check_page import write_check
from headstart.workflow.reading import inspect_without_limit
from headstart.workflow.value_ranges import tell

if TYPE_CHECKING:
    from headstart.workflow.drift import Drift

__all__ = ["CheckResult", "check"]


@dataclass(frozen=True)
class CheckResult:
    """What a check found."""

    manifest: Manifest  # inspected
    issues: tuple[Issue, ...]  # those of a kind stand together, the surest first
    value_ranges: tuple[ValueRange, ...] = ()  # black and white of pixels that are not 8-bit
    drift: Drift | None = None  # from the images of a run, if they were compared with one

    def lines(self) -> list[str]:
        """The table for a terminal: the number of issues of each kind, with the surest of them."""
        images, classes = len(self.manifest), len(self.manifest.classes)
        lines = [f"{images:,} images, {classes:,} classes, {len(self.issues):,} issue{'s' * (len(self.issues) != 1)}"]
        counts = Counter(issue.kind for issue in self.issues)
        width = max((len(kind) for kind in counts), default=0)
        first = {issue.kind: issue for issue in reversed(self.issues)}
        if self.drift is not None:
            lines += self.drift.lines()
        return lines + [f"  {kind:{width}} {count:7,}  {first[kind].evidence}" for kind, count in counts.items()]

    def write(self, folder: Path) -> None:
        """Write ``manifest.parquet``, ``issues.csv``, ``issues.parquet`` and the page ``issues.html``."""
        self.manifest.write(folder / "manifest.parquet")
        write_issues(self.issues, folder)
        root = folder.name if self.manifest.description is None else self.manifest.description.root
        write_check(self.manifest, self.issues, folder / "issues.html", root=root, value_ranges=self.value_ranges)


def check(
    manifest: Manifest,
    settings: FitSettings,
    *,
    features: bool = True,
    against: Path | None = None,
    events: Events | None = None,
) -> CheckResult:
    """Inspect the images and find what may be wrong with them and their labels, however many have a problem.

    :param features: compute the features of the network, by which wrong labels and near-duplicates are found. They are
        stored, and a fit with the same settings uses them.
    :param against: a run folder, with whose images these are compared.
    :raises RunError: the run cannot be read, or the features of its images are not stored any more.
    :raises ModelError: the network or its weights are not available, or its head is not one linear layer.
    """
    events = events or Events()
    inspected = inspect_without_limit(manifest, settings, events=events)
    ranges = tell(inspected, settings, events=events)
    usable = inspected.usable
    measured = compute_statistics(
        usable,
        max_pixels=settings.max_pixels,
        value_ranges=ranges,
        workers=settings.workers,
        cache=paths.pixel_statistics(settings.cache_dir),
        events=events,
    )
    thumbnails = compute_thumbnails(
        usable,
        sample_of_classes(usable),
        max_pixels=settings.max_pixels,
        value_ranges=ranges,
        workers=settings.workers,
        cache=paths.gray_thumbnails(settings.cache_dir),
        events=events,
    )
    checked = CheckedImages(inspected, measured.values, measured.formats, thumbnails=thumbnails)
    if features and len(usable):
        # torch takes 0.8 GB and some seconds: it is imported where it is needed.
        from headstart.workflow.image_features import open_network, predict_out_of_fold
        from headstart.workflow.near_duplicates import near_duplicates

        network = open_network(usable, settings, value_ranges=ranges, events=events)
        vectors = np.asarray(network.features(usable, events=events), np.float32)
        near = near_duplicates(network.extractor, usable, events=events)
        alike = None if near is None else near.numbers()
        out_of_fold = predict_out_of_fold(usable, vectors, network, settings, alike=alike, events=events)
        checked = replace(checked, vectors=vectors, out_of_fold=out_of_fold, near_duplicates=near)
    drift = None
    if against is not None:
        from headstart.workflow.drift import measure_drift
        from headstart.workflow.predict import open_classifier, predict

        classifier = open_classifier(str(against))
        predictions = predict(classifier, usable, settings, cluster=settings.cluster, events=events)
        drift = measure_drift(against, classifier, predictions, settings, events=events)
    issues = tuple(find_issues(checked)) if drift is None else (*drift.issues(), *find_issues(checked))
    return CheckResult(inspected, issues, ranges, drift)
