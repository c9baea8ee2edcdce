from __future__ import annotations

import numpy as np
import pytest

from headstart.features.sources import FeatureDataset, InMemoryFeatures


def test_rows_are_copied_in_the_requested_order() -> None:
    features = InMemoryFeatures(np.arange(12).reshape(4, 3))
    taken = features.take([3, 0, 3])
    assert taken.tolist() == [[9, 10, 11], [0, 1, 2], [9, 10, 11]]
    taken[:] = 0
    assert features.values.sum() == 66
    assert len(features) == 4


def test_length_of_a_dataset() -> None:
    assert len(FeatureDataset(InMemoryFeatures(np.zeros((5, 2))), np.zeros(5, np.int64))) == 5


def test_views_need_one_row_per_image() -> None:
    inputs, targets = InMemoryFeatures(np.zeros((5, 2))), np.zeros(5, np.int64)
    assert len(FeatureDataset(inputs, targets, (inputs, inputs))) == 5
    with pytest.raises(ValueError, match=r"must have one row per image, got \[4, 5\] rows"):
        FeatureDataset(inputs, targets, (inputs, InMemoryFeatures(np.zeros((4, 2)))))
