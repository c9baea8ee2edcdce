"""Calibration error against a plain implementation and a model that is calibrated by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.evaluate import calibration


def plain_ece(confidence, hits, bins):
    """Guo et al. 2017, formula 3, one bin at a time."""
    total = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return total


@given(st.integers(1, 100), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_ece_matches_the_formula_of_the_paper(images, bins, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.01, 1, images)
    hits = rng.random(images) < 0.5
    found = calibration.expected_calibration_error(confidence, hits, np.ones((1, images)), bins=bins)
    assert found == pytest.approx([plain_ece(confidence, hits, bins)])


@given(st.integers(1, 100), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_every_image_is_in_one_bin(images, bins, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.choice([0.0, 0.1, 0.2, 0.5, 0.55, 1.0], images)
    hits = rng.random(images) < 0.5
    rows = calibration.reliability(confidence, hits, bins=bins)
    assert sum(row.images for row in rows) == images
    assert sum(row.images * row.accuracy for row in rows) == pytest.approx(hits.sum())
    assert all(row.low - 1e-9 <= row.confidence <= row.high + 1e-9 for row in rows)
    assert [row.low for row in rows] == sorted({row.low for row in rows})


def test_a_bin_includes_its_upper_edge():
    rows = calibration.reliability(np.array([0.5, 1.0]), np.array([True, True]), bins=2)
    assert [(row.low, row.images) for row in rows] == [(0.0, 1), (0.5, 1)]


def test_the_interval_of_a_calibrated_model_includes_zero():
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.3, 1, 400)
    found = calibration.calibration_error(confidence, rng.random(400) < confidence, bins=15)
    assert found.low == 0.0
    assert 0 < found.value < found.high < 0.1


def test_the_interval_of_an_overconfident_model_excludes_zero():
    rng = np.random.default_rng(3)
    found = calibration.calibration_error(np.full(400, 0.95), rng.random(400) < 0.7, bins=15)
    assert 0.15 < found.low < found.value < found.high < 0.35
