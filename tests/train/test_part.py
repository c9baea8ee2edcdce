from __future__ import annotations

import numpy as np
import pytest

from headstart.train.part import Kept, Part


def test_kept_inputs_are_taken_in_the_asked_order_and_as_a_copy() -> None:
    kept = Kept(np.arange(12).reshape(4, 3))
    taken = kept.take([3, 0, 3])
    assert taken.tolist() == [[9, 10, 11], [0, 1, 2], [9, 10, 11]]
    taken[:] = 0
    assert kept.values.sum() == 66
    assert len(kept) == 4


def test_a_part_is_as_long_as_its_targets() -> None:
    assert len(Part(Kept(np.zeros((5, 2))), np.zeros(5, np.int64))) == 5


def test_views_have_a_row_for_each_image() -> None:
    inputs, targets = Kept(np.zeros((5, 2))), np.zeros(5, np.int64)
    assert len(Part(inputs, targets, (inputs, inputs))) == 5
    with pytest.raises(ValueError, match=r"must have a row for each image, got \[4, 5\] rows"):
        Part(inputs, targets, (inputs, Kept(np.zeros((4, 2)))))
