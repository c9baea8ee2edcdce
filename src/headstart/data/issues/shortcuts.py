"""Numbers beside the content of images that predict the label: a network may learn them instead of the class.

Geirhos et al., Shortcut learning in deep neural networks, Nature Machine Intelligence 2, 2020.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from headstart.data.groups import group_numbers
from headstart.data.issues.base import LOOK, CheckedImages, Issue
from headstart.data.manifest import Manifest
from headstart.data.uri import display_name
from headstart.evaluate.intervals import bootstrap, wilson
from headstart.evaluate.schema import Interval

__all__ = ["MIN_GAIN", "find_shortcuts", "predict_by"]

MIN_GAIN = 0.2
"""How far from chance (0) to perfect (1) the lower bound of the balanced accuracy must be for a shortcut to be told."""

_FOLDS = 5
_FEWEST = 10  # images of a class
_MOST = 6000  # images that are looked at, drawn at random
_ONE_CLASS = 0.5  # lower bounds of recall and precision from which on a class can be told by a number
_COLOR, _BORDER = "the mean color", "the border"
_MEANINGS = {_COLOR: " (it may be a property of the classes)", _BORDER: " (it may show the objects themselves)"}


def find_shortcuts(checked: CheckedImages) -> Iterator[Issue]:
    """The numbers from which the labels can be told far better than by chance."""
    usable = checked.manifest.usable
    if checked.statistics is None:
        return
    rows = _chosen(usable, np.isfinite(checked.statistics["brightness"]))
    if not len(rows):
        return
    images = usable.select(rows)
    classes = images.classes
    targets, groups, chance = images.targets(classes), group_numbers(images), 1 / len(classes)
    for what, values in _groups(checked, rows).items():
        predicted = predict_by(values, targets, groups)
        if predicted is None:
            continue
        accuracy = _balanced_accuracy(predicted == targets, targets, groups)
        gain = (accuracy.low - chance) / (1 - chance)
        meaning = _MEANINGS.get(what, "")
        if gain >= MIN_GAIN:
            evidence = (
                f"{what} alone predicts the label with a balanced accuracy of {accuracy.value:.0%} ({accuracy.low:.0%} "
                f"to {accuracy.high:.0%}), chance is {chance:.1%}{meaning}"
            )
            yield Issue("shortcut", None, float(np.clip(gain, 0, 1)), evidence, LOOK)
        elif len(classes) > 2:
            for name, recall, precision in _single_classes(predicted, targets, classes):
                evidence = (
                    f"{what} alone tells {name!r} from the other classes, with a recall of {recall.value:.0%} and a "
                    f"precision of {precision.value:.0%}{meaning}"
                )
                yield Issue("shortcut", None, min(recall.low, precision.low), evidence, LOOK)


def predict_by(
    values: NDArray[np.float64], targets: NDArray[np.int64], groups: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Classes (N,) that trees predict from a few numbers (N, D) of images in the other folds of five.

    :param groups: what no fold may divide, (N,).
    :returns: None if all images have the same numbers, or there are fewer than five groups.
    """
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if not np.ptp(values, axis=0).any() or len(np.unique(groups)) < _FOLDS:
        return None
    predicted = np.empty(len(targets), np.int64)
    single = len(np.unique(groups)) == len(groups)
    folds = (StratifiedKFold if single else StratifiedGroupKFold)(_FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(values, targets, None if single else groups):
        trees = ExtraTreesClassifier(40, min_samples_leaf=3, max_features=None, class_weight="balanced", random_state=0)
        predicted[test] = trees.fit(values[train], targets[train]).predict(values[test])
    return predicted


def _chosen(usable: Manifest, measured: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of the classes with enough images, at most ``_MOST``; none if there is only one such class."""
    labels = usable.labels
    rows = np.flatnonzero([known and label is not None for label, known in zip(labels, measured, strict=True)])
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:_MOST])
    counts = Counter(labels[row] for row in rows)
    rows = rows[[counts[labels[row]] >= _FEWEST for row in rows]] if len(rows) else rows
    return rows if len({labels[row] for row in rows}) > 1 else rows[:0]


def _groups(checked: CheckedImages, rows: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """The numbers of the images, (N, D), by what they are."""
    images = checked.manifest.usable.select(rows)
    width, height, size = (
        np.log(np.maximum(np.array(images.table[name].to_pylist(), float), 1)) for name in ("width", "height", "bytes")
    )
    statistics = {name: each[rows].astype(float) for name, each in (checked.statistics or {}).items()}

    def together(*names: str) -> NDArray[np.float64]:
        return np.stack([statistics[name] for name in names], 1)

    formats = [None] * len(checked.manifest.usable) if checked.formats is None else checked.formats
    kinds = [
        f"{formats[row]} {PurePath(display_name(uri)).suffix.lower()}"
        for row, uri in zip(rows.tolist(), images.uris, strict=True)
    ]
    names = sorted(set(kinds))
    sides = [f"frame_{side}" for side in ("top", "bottom", "left", "right")]
    return {
        "the size in pixels": np.stack([width, height], 1),
        "the aspect ratio": (width - height)[:, None],
        "the file type": np.array([[kind == name for name in names] for kind in kinds], float),
        "the size of the file": size[:, None],
        _COLOR: together("red", "green", "blue"),
        _BORDER: together("border_red", "border_green", "border_blue", "border_spread", *sides),
    }


def _balanced_accuracy(hits: NDArray[np.bool_], targets: NDArray[np.int64], groups: NDArray[np.int64]) -> Interval:
    """The mean recall of the classes, with its interval."""
    of_class = np.eye(int(targets.max()) + 1)[targets]

    def recall(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        count = weights @ of_class
        found = (weights * hits) @ of_class
        present = count > 0
        return np.asarray(np.where(present, found / np.maximum(count, 1), 0).sum(1) / present.sum(1))

    return bootstrap(recall, len(targets), groups=groups, resamples=200)


def _single_classes(
    predicted: NDArray[np.int64], targets: NDArray[np.int64], classes: tuple[str, ...]
) -> Iterator[tuple[str, Interval, Interval]]:
    """The classes that are told well, with recall and precision."""
    for number, name in enumerate(classes):
        own, told = targets == number, predicted == number
        hits = int((own & told).sum())
        if hits:
            recall, precision = wilson(hits, int(own.sum())), wilson(hits, int(told.sum()))
            if min(recall.low, precision.low) >= _ONE_CLASS:
                yield name, recall, precision
