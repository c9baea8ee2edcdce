"""Whether new images are like those that a classifier was fitted and evaluated on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.artifacts.classifier import Classifier
from headstart.config import EngineSettings
from headstart.data.issues.base import LOOK, Issue
from headstart.data.manifest import Manifest
from headstart.errors import DataError, RunError
from headstart.evaluate.two_sample import TwoSampleTest, mmd_test
from headstart.events import Events
from headstart.workflow.neighbors import StoredImages, read_stored_images
from headstart.workflow.predict import Predictions, Predictor

__all__ = ["SIGNIFICANT", "Drift", "measure_drift"]

SIGNIFICANT = 0.01
"""The p-value below which images are said to differ."""

_MIN_REFERENCE = 50  # images that were held out; with fewer, those that were trained on are compared with, too
_MIN_IMAGES = 10


@dataclass(frozen=True)
class Drift:
    """How new images differ from those of a run."""

    run: str
    reference: str  # the splits of the run that they were compared with
    test: TwoSampleTest
    images: int  # new ones that could be read
    foreign: tuple[tuple[str, float], ...]  # (URI, score), the most foreign first; those that look like no class
    expected: float | None  # share of images like those of the fit that would look like no class; None: not known

    @property
    def found(self) -> bool:
        """Whether the images differ from those of the run."""
        return self.test.p_value < SIGNIFICANT

    def lines(self) -> list[str]:
        """Sentences for a terminal."""
        first, second = self.test.sizes
        verdict = "differ from" if self.found else "do not differ detectably from"
        lines = [
            f"drift: these images {verdict} the {self.reference} images of {self.run} (p = {self.test.p_value:.3f}, "
            f"permutation test of the MMD of {second:,} and {first:,} images)"
        ]
        if self.expected is not None:
            lines.append(
                f"drift: {len(self.foreign):,} of {self.images:,} images ({len(self.foreign) / self.images:.1%}) look "
                f"like none of the classes; {self.expected:.0%} would be usual"
            )
        return lines

    def issues(self) -> list[Issue]:
        """Issues for the tables and the page of a check."""
        whole = [Issue("drift", None, 1 - self.test.p_value, self.lines()[0], LOOK)] if self.found else []
        return whole + [
            Issue("foreign", uri, score, f"it looks like none of the classes of {self.run}", LOOK)
            for uri, score in self.foreign
        ]


def measure_drift(
    run: Path,
    classifier: Predictor,
    predictions: Predictions,
    settings: EngineSettings | None = None,
    *,
    events: Events | None = None,
) -> Drift:
    """Compare images with those of a run: a two-sample test on features, and how many look like no class.

    The images of the run that were held out are the reference where there are enough of them, since a network that was
    fine-tuned on images sees these differently from new ones.

    :param classifier: that of the run.
    :param predictions: its predictions for the new images.
    :raises RunError: the features of the run's images are not stored any more.
    :raises DataError: fewer than ten images could be read.
    """
    if not isinstance(classifier, Classifier):
        raise RunError(f"{run}: drift is measured with the classifier of a run, not with an exported file")
    images = predictions.manifest.usable
    if len(images) < _MIN_IMAGES:
        raise DataError(f"drift can be measured with {_MIN_IMAGES} images or more, got {len(images)}")
    reference, splits = _reference(run, classifier)
    vectors = classifier.pipeline.embed(images, settings=settings, events=events)
    if vectors is None:
        raise RunError(f"{run}: the head of {classifier.model} is not given one vector per image")
    foreign: list[tuple[str, float]] = []
    if predictions.out_of_distribution is not None and predictions.ood_score is not None:
        uris, order = images.uris, np.argsort(-predictions.ood_score, kind="stable")
        order = order[predictions.out_of_distribution[order]]
        foreign = [(uris[row], 1 - place / (len(order) + 1)) for place, row in enumerate(order.tolist())]
    detector = classifier.ood_detector
    expected = None if detector is None else 1 - detector.inlier_rate
    return Drift(run.name, splits, mmd_test(reference.vectors, vectors), len(images), tuple(foreign), expected)


def _reference(run: Path, classifier: Classifier) -> tuple[StoredImages, str]:
    """The images of the run to compare with, and which they are."""
    held_out = Manifest.read(run / "manifest.parquet").usable
    counts = sum(split in ("validation", "test") for split in held_out.splits)
    if counts >= _MIN_REFERENCE:
        return read_stored_images(run, classifier, ("validation", "test")), "held-out"
    return read_stored_images(run, classifier, ("train", "validation", "test")), "training"
