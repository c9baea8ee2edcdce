from __future__ import annotations

import csv

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from headstart.evaluate import evaluate, per_class_csv, worst_classes
from headstart.evaluate.schema import Evaluation

NAMES = ["ant", "bee, wasp", "cat", "dog"]


def evaluated(*decisions: tuple[int, int, int]) -> Evaluation:
    """Evaluate decisions, given as (true, predicted, count)."""
    targets = np.concatenate([[true] * count for true, _, count in decisions])
    predicted = np.concatenate([[chosen] * count for _, chosen, count in decisions])
    return evaluate(targets, np.eye(4)[predicted] * 0.96 + 0.01, NAMES)


def test_worst_classes_are_sorted_by_recall_and_upper_bound() -> None:
    found = worst_classes(evaluated((0, 0, 1), (0, 1, 1), (1, 1, 4), (1, 0, 3), (1, 2, 1), (2, 2, 5)))
    assert [row.name for row in found] == ["bee, wasp", "ant"]  # both 50 %; dog has no images, cat no errors
    assert found[0].confused_with == (("ant", 3), ("cat", 1))
    assert (found[0].images, found[0].recall.value) == (8, 0.5)
    assert len(worst_classes(evaluated((0, 1, 1), (1, 0, 1), (2, 0, 1)), most=2)) == 2
    assert worst_classes(evaluated((0, 0, 2), (1, 1, 2))) == ()


def test_per_class_csv_matches_scikit_learn() -> None:
    decisions = ((0, 0, 3), (0, 2, 1), (1, 1, 4), (2, 0, 3), (2, 3, 2))
    header, *rows = csv.reader(per_class_csv(evaluated(*decisions)).splitlines())
    assert [row[0] for row in rows] == NAMES
    true = np.concatenate([[one] * count for one, _, count in decisions])
    taken = np.concatenate([[other] * count for _, other, count in decisions])
    precision, recall, f1, images = precision_recall_fscore_support(true, taken, labels=range(4), zero_division=0)
    for row, *known in zip(rows, images, recall, precision, f1, strict=True):
        cells = dict(zip(header, row, strict=True))
        values = [float(cells[name] or 0) for name in ("images", "recall", "precision", "f1")]
        assert values == pytest.approx(known, abs=1e-6)
    assert rows[2][-2:] == ["ant", "3"]
    assert rows[1][-2:] == ["", ""]
    assert rows[3][3:6] == ["", "", ""]


def test_no_cell_of_the_csv_is_a_formula() -> None:
    evaluation = evaluate([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]], ["+1", "=1+1"])
    first, second = list(csv.reader(per_class_csv(evaluation).splitlines()))[1:]
    assert (first[0], first[-2], second[0]) == ("+1", "'=1+1", "'=1+1")
