"""Whether two runs predict the same: the largest difference of their probabilities, and the trials they chose.

    python -m benchmarks.accuracy.same_predictions RUN OTHER [--tolerance 1e-6]

Compares ``predictions.parquet`` image by image and class by class, then the chosen trial and the metrics of
``evaluation.json``. Both layouts of a run are read: the first one, in which "ladder" lists trials by "rung", and the
current one, in which "trials" lists them by "name". The exit status is 1 where a probability or a metric differs by
more than the tolerance, or where images, splits, labels, classes or the chosen trial differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

METRICS = ("top1", "balanced_accuracy", "log_loss", "brier", "ece")


@dataclass(frozen=True)
class Run:
    """What is compared of a run."""

    images: dict[str, tuple[Any, ...]]  # URI -> (split, label)
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]  # (N, C), in the order of ``images``
    chosen: str  # trial
    metrics: dict[str, float]


def read(folder: Path) -> Run:
    """Read a run of either layout."""
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    table = pq.read_table(folder / "predictions.parquet")
    classes = tuple(json.loads((table.schema.metadata or {}).get(b"classes", b"null")) or evaluation["classes"])
    rows = zip(*(table[name].to_pylist() for name in ("uri", "split", "label")), strict=True)
    values = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Run(
        images={uri: (split, label) for uri, split, label in rows},
        classes=classes,
        probabilities=values.reshape(len(table), len(classes)),
        chosen=chosen_trial(evaluation),
        metrics={name: evaluation[name]["value"] for name in METRICS},
    )


def chosen_trial(evaluation: dict[str, Any]) -> str:
    """The name of the chosen trial."""
    trials = evaluation["trials"] if "trials" in evaluation else evaluation["ladder"]
    return next(str(trial.get("name", trial.get("rung"))) for trial in trials if trial["chosen"])


def differences(one: Run, other: Run, tolerance: float) -> list[str]:
    """Each difference beyond the tolerance in a line; none where the runs are the same."""
    found = []
    if one.classes != other.classes:
        found.append(f"classes: {len(one.classes)} and {len(other.classes)}, or in another order")
    if missing := one.images.keys() ^ other.images.keys():
        found.append(f"images: {len(missing)} are in one of the runs only, for example {min(missing)}")
    changed = [uri for uri in one.images.keys() & other.images.keys() if one.images[uri] != other.images[uri]]
    if changed:
        found.append(f"split or label: differs for {len(changed)} images, for example {min(changed)}")
    if one.chosen != other.chosen:
        found.append(f"chosen trial: {one.chosen} and {other.chosen}")
    found += [
        f"{name}: {one.metrics[name]:.9g} and {other.metrics[name]:.9g}"
        for name in METRICS
        if not abs(one.metrics[name] - other.metrics[name]) <= tolerance
    ]
    if one.classes == other.classes and not missing:
        largest, uri, label = largest_difference(one, other)
        if not largest <= tolerance:
            found.append(f"probabilities: differ by up to {largest:.3g}, for {uri} and the class {label}")
    return found


def aligned(one: Run, other: Run) -> NDArray[np.float32]:
    """The other run's probabilities in the order of this one's images."""
    row_of = {uri: row for row, uri in enumerate(other.images)}
    return other.probabilities[[row_of[uri] for uri in one.images]]


def largest_difference(one: Run, other: Run) -> tuple[float, str, str]:
    """The largest difference of a probability, with its image and class. NaN counts as infinite."""
    apart = np.abs(one.probabilities.astype(np.float64) - aligned(one, other))
    apart = np.nan_to_num(apart, nan=np.inf)
    row, column = np.unravel_index(apart.argmax(), apart.shape)
    return float(apart[row, column]), list(one.images)[row], one.classes[column]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-6, help="of a probability or a metric")
    given = parser.parse_args()
    one, other = read(given.run), read(given.other)
    print(f"{len(one.images)} and {len(other.images)} images of {len(one.classes)} and {len(other.classes)} classes")
    print(f"chosen trial: {one.chosen} and {other.chosen}")
    if one.classes == other.classes and one.images.keys() == other.images.keys():
        largest, uri, label = largest_difference(one, other)
        print(f"largest probability difference: {largest:.3g} ({uri}, {label})")
        agree = np.mean(one.probabilities.argmax(1) == aligned(one, other).argmax(1))
        print(f"same predicted class: {agree:.2%} of the images")
    found = differences(one, other, given.tolerance)
    for line in found:
        print(f"different: {line}")
    print("different" if found else f"the same, within {given.tolerance:g}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
