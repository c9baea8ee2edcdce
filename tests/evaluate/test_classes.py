from __future__ import annotations

import csv
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from headstart.evaluate import class_table, evaluate, worst

NAMES = ["ant", "bee, wasp", "cat", "dog"]


def judged(*decisions: tuple[int, int, int]) -> dict[str, Any]:
    """(true, predicted, how many)"""
    targets = np.concatenate([[true] * count for true, _, count in decisions])
    predicted = np.concatenate([[taken] * count for _, taken, count in decisions])
    return evaluate(targets, np.eye(4)[predicted] * 0.96 + 0.01, NAMES)


def test_the_lowest_recall_comes_first_and_the_surer_of_equals() -> None:
    found = worst(judged((0, 0, 1), (0, 1, 1), (1, 1, 4), (1, 0, 3), (1, 2, 1), (2, 2, 5)))
    assert [row["class"] for row in found] == ["bee, wasp", "ant"]  # both 50 %; dog has no images, cat no mistakes
    assert found[0]["taken_for"] == [("ant", 3), ("cat", 1)]
    assert (found[0]["images"], found[0]["recall"]["value"]) == (8, 0.5)
    assert len(worst(judged((0, 1, 1), (1, 0, 1), (2, 0, 1)), most=2)) == 2
    assert worst(judged((0, 0, 2), (1, 1, 2))) == []


def test_the_table_has_what_scikit_learn_says() -> None:
    decisions = ((0, 0, 3), (0, 2, 1), (1, 1, 4), (2, 0, 3), (2, 3, 2))
    header, *rows = csv.reader(class_table(judged(*decisions)).splitlines())
    assert [row[0] for row in rows] == NAMES
    true = np.concatenate([[one] * count for one, _, count in decisions])
    taken = np.concatenate([[other] * count for _, other, count in decisions])
    precision, recall, f1, images = precision_recall_fscore_support(true, taken, labels=range(4), zero_division=0)
    for row, *known in zip(rows, images, recall, precision, f1, strict=True):
        cells = dict(zip(header, row, strict=True))
        told = [float(cells[name] or 0) for name in ("images", "recall", "precision", "f1")]
        assert told == pytest.approx(known, abs=1e-6)
    assert rows[2][-2:] == ["ant", "3"]
    assert rows[1][-2:] == ["", ""]
    assert rows[3][3:6] == ["", "", ""]
