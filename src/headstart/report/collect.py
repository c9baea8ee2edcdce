"""What the sections of a page are computed from: a run, and the images that are drawn at random to be shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from headstart.artifacts.run_folder import Predictions, Run
from headstart.data.manifest import Manifest
from headstart.data.spec import InputSpec
from headstart.data.value_range import ValueRange, choose_ranges
from headstart.evaluate.schema import Evaluation, RunInfo
from headstart.report.thumbnails import Thumbnails

__all__ = [
    "ReportData",
    "collect",
    "example_rows",
    "most_confident_errors",
    "random_rows",
    "sample",
    "value_ranges",
]

SAMPLES, RANDOM, ERRORS = 24, 6, 6


@dataclass(frozen=True, eq=False)
class ReportData:
    """A run with the images to show."""

    run: Run
    samples: tuple[int, ...]  # rows of `usable`, sorted by label
    random: tuple[int, ...]  # rows of `predictions`
    thumbnails: Thumbnails = field(default_factory=Thumbnails)

    @property
    def evaluation(self) -> Evaluation:
        """The evaluation of the run."""
        return self.run.evaluation

    @property
    def predictions(self) -> Predictions:
        """The predictions of the run."""
        return self.run.predictions

    @cached_property
    def usable(self) -> Manifest:
        """The images of the run without a problem."""
        return self.run.manifest.usable


def collect(run: Run, *, seed: int = 0) -> ReportData:
    """Draw the images to show; the same seed draws the same images."""
    rng = np.random.default_rng(seed)
    samples = sample(run.manifest.usable.labels, most=SAMPLES, rng=rng)
    thumbnails = Thumbnails(value_ranges(run.info, run.manifest))
    return ReportData(run, samples=tuple(samples), random=tuple(random_rows(run.predictions)), thumbnails=thumbnails)


def value_ranges(info: RunInfo, manifest: Manifest) -> tuple[ValueRange, ...]:
    """Black and white of the images of a run that are not 8-bit: as it was given, or as the images are."""
    given = InputSpec().with_value_range(info.settings.get("value_range")).value_ranges
    return given or choose_ranges(manifest.usable.values).ranges


def example_rows(predictions: Predictions) -> list[int]:
    """Return the rows that are shown with their probabilities: random ones, and the most confident errors."""
    return list(dict.fromkeys([*random_rows(predictions), *most_confident_errors(predictions)]))


def random_rows(predictions: Predictions) -> list[int]:
    """Draw the example predictions: the same ones each time, at random, so that they show not only the best."""
    return np.random.default_rng(0).permutation(len(predictions.uris))[:RANDOM].tolist()  # type: ignore[no-any-return]


def most_confident_errors(predictions: Predictions, *, most: int = ERRORS) -> list[int]:
    """Return the rows of wrong predictions, highest confidence first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.targets)
    order = np.argsort(-predictions.probabilities.max(axis=1)[wrong], kind="stable")
    return wrong[order][:most].tolist()  # type: ignore[no-any-return]


def sample(labels: Sequence[str | None], *, most: int, rng: np.random.Generator) -> list[int]:
    """Draw rows of labeled images: one per class before any second one, and so on; sorted by label.

    >>> labels = ["cat", "cat", "cat", "dog", None, "owl"]
    >>> [labels[row] for row in sample(labels, most=4, rng=np.random.default_rng(0))]
    ['cat', 'cat', 'dog', 'owl']
    """
    by_class: dict[str, list[int]] = defaultdict(list)
    for row in rng.permutation(len(labels)).tolist():
        label = labels[row]
        if label is not None:
            by_class[label].append(row)
    # The first of every class, then the second of every class, ...: shuffled within each round by the permutation.
    rounds = [(number, row) for rows in by_class.values() for number, row in enumerate(rows)]
    drawn = [row for _, row in sorted(rounds, key=lambda item: item[0])[:most]]
    return sorted(drawn, key=lambda row: (str(labels[row]), row))
